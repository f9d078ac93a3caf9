"""How a run of a provider's program begins: what is said, with which settings, after what.

The part that is the same for every program that keeps sessions of its own and takes one prompt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.agents import RunContext
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.messages import Message, content_blocks, input_messages
from moorage.runtime.runs import RunRequest
from moorage.runtime.transcript_pages import TranscriptCache

from .approvals import ApprovalDefault, check_approval_default
from .deltas import COALESCE_SECONDS, check_coalesce_seconds
from .failures import AgentFailure
from .hooks import Hooks
from .provider_sessions import (
    Fresh,
    Native,
    Replay,
    choose_continuation,
    read_handle,
    replay_of,
    report_fallback,
)
from .settings import AgentSettings, changes_to_record, resolve
from .text_prompts import TextPrompt, text_prompt

if TYPE_CHECKING:
    from .run_report import RunReport


def _hooks(value: Hooks | None) -> Hooks:
    return Hooks() if value is None else value


@attrs.frozen(kw_only=True)
class AgentParts:
    """What every agent of a program is made with, and the transcripts that its runs have read.
    Raises InvalidArgument for bad values."""

    provider: str
    settings: AgentSettings
    hooks: Hooks = attrs.field(default=None, converter=_hooks)
    approval_timeout_seconds: float | None = None
    approval_default: ApprovalDefault = "deny"
    coalesce_seconds: float = COALESCE_SECONDS
    transcripts: TranscriptCache = attrs.field(
        factory=TranscriptCache, init=False, eq=False, repr=False
    )

    def __attrs_post_init__(self) -> None:
        check_approval_default(self.approval_default)
        check_coalesce_seconds(self.coalesce_seconds)
        seconds = self.approval_timeout_seconds
        if seconds is not None and (type(seconds) not in (int, float) or not seconds > 0):
            raise InvalidArgument(
                f"approval_timeout_seconds must be None or a number above 0, not {seconds!r}"
            )


@attrs.frozen(kw_only=True)
class OpenedRun:
    """``said`` is what the model is asked now, ``settings`` are those that hold for this run, and
    ``continuation`` is what comes before. ``earlier`` and ``recorded`` are the messages and the
    settings that the log had when the run began."""

    parts: AgentParts
    request: RunRequest
    context: RunContext
    settings: AgentSettings
    said: list[Message]
    continuation: Native | Replay | Fresh
    earlier: list[Message]
    recorded: Mapping[str, Any]
    was_told: bool = False
    """Whether an earlier attempt of this run has told what is said."""

    @property
    def native_id(self) -> str | None:
        """The id of the provider's session to continue, or None if it begins a new one."""
        return self.continuation.handle.id if isinstance(self.continuation, Native) else None

    def prompt(self) -> TextPrompt:
        """What is sent: what is said now, behind the replay if there is one."""
        return text_prompt(self.replayed, self.said)

    @property
    def replayed(self) -> Sequence[Message]:
        """What the log had said, if it has to be told again."""
        return self.continuation.messages if isinstance(self.continuation, Replay) else ()

    def without_native(self, reason: str) -> OpenedRun:
        """The same run where the provider's session turned out to be lost: it begins a new one.
        Raises ContinuationLost if the settings do not allow that."""
        other = replay_of(self.settings, self.earlier, reason, provider=self.parts.provider)
        return attrs.evolve(self, continuation=other)

    async def tell_fallback(self) -> None:
        """Tell that the log is replayed in place of the provider's session, if that is so."""
        await report_fallback(self.context, self.continuation, self.parts.provider)

    async def tell_said(self, report: RunReport) -> None:
        """Tell the settings that changed, and what the model is asked."""
        for type, data in self.beginning():
            await report.emit(type, data)

    def beginning(self) -> list[tuple[str, dict[str, Any]]]:
        """Type and data of what ``tell_said`` tells."""
        changed = changes_to_record(self.settings, self.recorded, provider=self.parts.provider)
        events = [("conversation_configured", changed)] if changed else []
        for message in () if self.was_told else self.said:
            events.append(("message_sent", {"role": message.role, "content": message.content}))
        return events

    async def executed(self, run: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """The output that ``run()`` returns, with the hooks at start and end around it.

        An AgentFailure is told as ``error_occurred``, unless it says that it has been. A run that
        is cancelled does not wait for hooks.
        """
        hooks = self.parts.hooks
        await hooks.started(self.context, self.request)
        try:
            output = await run()
        except Exception as error:
            if isinstance(error, AgentFailure) and not error.told:
                about = {"provider": self.parts.provider}
                await self.context.emit("error_occurred", error.event(), metadata=about)
            await hooks.ended(self.context, self.request, error)
            raise
        await hooks.ended(self.context, self.request, output)
        return output


async def open_run(
    parts: AgentParts, request: RunRequest, context: RunContext, *, host: str | None = None
) -> OpenedRun:
    """Read the run's input and how its conversation went; let the hooks at the prompt do theirs.

    ``host`` is this machine, for a provider whose sessions are its files. Raises InvalidArgument
    for an input that asks nothing or has bad options, and ContinuationLost; then nothing was told.
    """
    said = input_messages(request.input)
    text_prompt((), said)
    handle = await read_handle(context, parts.provider)
    transcript = await parts.transcripts.read(context.session)
    # no waiting from here: other runs of the session read on in the same transcript
    recorded, earlier = transcript.settings, transcript.context(context.run_id)
    settings = resolve(parts.settings, request.input, recorded, provider=parts.provider)
    continuation = choose_continuation(
        settings,
        handle,
        transcript,
        provider=parts.provider,
        run_id=context.run_id,
        host=host,
    )
    return OpenedRun(
        parts=parts,
        request=request,
        context=context,
        settings=settings,
        said=[await _prompted(parts.hooks, context, message) for message in said],
        continuation=continuation,
        earlier=earlier,
        recorded=recorded,
        was_told=await _was_told(context),
    )


async def _was_told(context: RunContext) -> bool:
    if context.attempt == 1:
        return False
    types = {"message_sent"}
    return bool(await context.session.events(types=types, run_id=context.run_id, limit=1))


async def _prompted(hooks: Hooks, context: RunContext, message: Message) -> Message:
    if message.role != "user" or not hooks.prompt:
        return message
    content = await hooks.prompted(context, message.content)
    return attrs.evolve(message, blocks=content_blocks(content, "what a prompt hook returned"))
