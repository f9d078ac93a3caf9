"""The provider's own session beside ours: how a run continues the conversation.

A handle is kept in the session's metadata, under ``provider_session.<provider>``, as
``{"id": str, "seq": int, "host"?: str, "run_id"?: str}``. ``seq`` is the last event of our log that
the provider's session knows of: what was said behind it, or on a branch that was left, only we
know. A handle with ``run_id`` was recorded while that run went on, so that the session is found
again however the run ended, a crash of this process included: what it says is known too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import InvalidArgument, MoorageError
from moorage.runtime.messages import Message

from .failures import ContinuationLost

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.transcript import Transcript

    from .settings import AgentSettings

KEY_PREFIX = "provider_session."
KEEP_SECONDS_MAX = 1.0
"""How long a run that is cancelled may take to record where its conversation is."""


@attrs.frozen
class ProviderHandle:
    """``provider``'s session ``id``, which knows our log up to ``seq``, and all that the run
    ``run_id`` says. ``host`` is where it lives, for a provider whose sessions are files of one
    machine."""

    provider: str
    id: str
    seq: int
    host: str | None = None
    run_id: str | None = None


@attrs.frozen
class Native:
    """Continue the provider's own session, and send only what is new."""

    handle: ProviderHandle


@attrs.frozen
class Replay:
    """Give the provider ``messages``, as our log has them, and then what is new. ``fallback`` says
    why the provider's own session is not continued, where there is one or should be."""

    messages: list[Message]
    fallback: str | None = None


@attrs.frozen
class Fresh:
    """Begin without a past."""


async def read_handle(context: RunContext, provider: str) -> ProviderHandle | None:
    """The handle that the session's metadata has for ``provider``; None if there is none that can
    be read."""
    value = (await context.session.info()).metadata.get(KEY_PREFIX + provider)
    if not isinstance(value, dict):
        return None
    id, seq = value.get("id"), value.get("seq")
    if type(id) is not str or type(seq) is not int:
        return None
    host, run_id = (_text(value.get(name)) for name in ("host", "run_id"))
    return ProviderHandle(provider, id, seq, host, run_id)


async def save_handle(
    context: RunContext,
    provider: str,
    id: str,
    *,
    host: str | None = None,
    goes_on: bool = False,
) -> ProviderHandle:
    """Record that the provider's session ``id`` knows everything that is in our log by now.

    Call it when the provider has said its last word of a run; or, with ``goes_on``, before its
    first, which says that it will know of what this run says too. Durable when it returns. Raises
    InvalidArgument for an id that is empty.
    """
    if type(id) is not str or not id:
        raise InvalidArgument(f"the id of a session of {provider} must be a text, not {id!r}")
    await context.flush()
    seq = (await context.session.info()).head_seq
    value: dict[str, Any] = {"id": id, "seq": seq}
    run_id = context.run_id if goes_on else None
    if host is not None:
        value["host"] = host
    if run_id is not None:
        value["run_id"] = run_id
    await context.session.configure(metadata_update={KEY_PREFIX + provider: value})
    return ProviderHandle(provider, id, seq, host, run_id)


async def keep_handle(
    context: RunContext, provider: str, id: str, *, host: str | None = None
) -> None:
    """Record that the provider's session ``id`` knows all of a run that fails or is cancelled.

    Not cancelled itself, and silent where it cannot be done in KEEP_SECONDS_MAX: what ends the run
    says more, and the next one can replay the log.
    """
    with (
        trio.CancelScope(shield=True),
        trio.move_on_after(KEEP_SECONDS_MAX),
        suppress(MoorageError),
    ):
        await save_handle(context, provider, id, host=host, goes_on=True)


async def forget_handle(context: RunContext, provider: str) -> None:
    """Remove the handle, because the provider does not know its session any more."""
    await context.session.configure(metadata_update={KEY_PREFIX + provider: None})


def choose_continuation(
    settings: AgentSettings,
    handle: ProviderHandle | None,
    transcript: Transcript,
    *,
    provider: str,
    run_id: str,
    host: str | None = None,
) -> Native | Replay | Fresh:
    """How the run is to continue, by ``settings.continuation`` (None is ``auto``).

    ``none`` begins afresh. ``replay`` gives the messages of the log. ``native`` continues the
    provider's own session. ``auto`` does that where it can and replays where it cannot. Without
    anything said before, every one of them begins afresh. ``run_id`` is the run in question: what
    it has recorded itself is replayed, and is no news to the provider. ``host`` is this machine, if
    handles have one.

    Raises ContinuationLost for ``native`` where there is no session that could be continued.
    """
    mode = settings.continuation or "auto"
    if mode == "none":
        return Fresh()
    messages = transcript.context(run_id)
    earlier = [message for message in messages if message.run_id != run_id]
    if mode == "replay":
        return Replay(messages) if messages else Fresh()
    lost = _lost(handle, transcript, provider, run_id, host)
    if lost is None and handle is not None:
        return Native(handle)
    if not earlier:
        return Replay(messages) if messages else Fresh()
    return without_native(settings, transcript, lost or "", provider=provider, run_id=run_id)


def without_native(
    settings: AgentSettings,
    transcript: Transcript,
    reason: str,
    *,
    provider: str,
    run_id: str,
) -> Replay | Fresh:
    """What to do where the provider's session cannot be continued, also if only the provider said
    so: ``reason`` completes the sentence. Raises ContinuationLost for ``native``."""
    return replay_of(settings, transcript.context(run_id), reason, provider=provider)


def replay_of(
    settings: AgentSettings, messages: list[Message], reason: str, *, provider: str
) -> Replay | Fresh:
    """As ``without_native``, with the ``messages`` that would be replayed."""
    if settings.continuation == "native":
        raise ContinuationLost(
            f"the session of {provider} cannot be continued: {reason}; use continuation='auto' or "
            "'replay' to go on with what the log has",
            provider=provider,
        )
    return Replay(messages, reason) if messages else Fresh()


async def report_fallback(
    context: RunContext, replay: Replay | Native | Fresh, provider: str
) -> None:
    """Emit ``error_recovered`` with the code ``continuation_fallback`` if this is one."""
    if isinstance(replay, Replay) and replay.fallback is not None:
        message = f"the log is replayed to {provider}: {replay.fallback}"
        await context.emit(
            "error_recovered",
            {"code": "continuation_fallback", "message": message},
            metadata={"provider": provider},
        )


def _lost(
    handle: ProviderHandle | None,
    transcript: Transcript,
    provider: str,
    run_id: str,
    host: str | None,
) -> str | None:
    """Why the provider's session cannot be continued, or None if it can."""
    if handle is None:
        return f"no session of {provider} is recorded"
    if host is not None and handle.host is not None and handle.host != host:
        return f"it is kept on {handle.host}, and this is {host}"
    if not transcript.is_active(min(handle.seq, transcript.seq)):
        return "it goes on from what was left by a restore or a clear"
    known = {run_id}
    if handle.run_id is not None:
        if transcript.branches[-1].first_seq > handle.seq + 1:
            return "a part of what it knows may have been left by a restore or a clear"
        if handle.run_id != run_id and handle.run_id in transcript.unfinished:
            return f"run {handle.run_id} is using it"
        known.add(handle.run_id)
    news = [
        message
        for message in transcript.messages()
        if message.seq > handle.seq and message.run_id not in known
    ]
    if news:
        return f"it does not know of {len(news)} messages since seq {handle.seq}"
    return None


def _text(value: object) -> str | None:
    return value if type(value) is str else None
