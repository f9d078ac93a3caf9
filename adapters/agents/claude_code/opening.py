"""How a run begins: what is said, by which settings, and after what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.messages import input_messages

from ..provider import opened_run
from ..provider.opened_run import AgentParts, OpenedRun
from . import prompts
from .mapping import PROVIDER
from .putting_off import PutOff, has_put_off

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

    from .session_store import ClaudeSessionStore


@attrs.frozen(kw_only=True)
class Opening:
    """What is known when a run begins. ``entries`` are those of the transcript of Claude Code's
    session ``resume``, which is None where it begins a new one."""

    run: OpenedRun
    entries: list[Any]
    put_off: PutOff | None = None
    """A call that waits in that session: it is gone on with, and nothing is said."""

    @property
    def resume(self) -> str | None:
        return self.run.native_id if self.put_off is None else self.put_off.session

    @property
    def content(self) -> str | list[Any] | None:
        """What Claude Code is asked: only what is new, or that behind a replay."""
        if self.put_off is not None:
            return None
        return prompts.prompt_content(self.run.replayed, self.run.said)

    async def tell(self, context: RunContext) -> None:
        """Emit how the run begins: a replay in place of Claude Code's own session, settings that
        have changed, and what is said."""
        if self.put_off is not None:
            return  # it was told when the run began
        await self.run.tell_fallback()
        for type, data in self.run.beginning():
            await context.emit(type, data, metadata={"provider": PROVIDER})


async def open_run(
    parts: AgentParts,
    request: RunRequest,
    context: RunContext,
    store: ClaudeSessionStore,
    *,
    alone: bool,
    put_off: PutOff | None = None,
) -> Opening:
    """Read the run's input, how its conversation went, and Claude Code's own transcript of it,
    which only a run that is ``alone`` in its session may continue; while a call was put off in it,
    only one that goes on with that.

    Raises InvalidArgument for an input that asks nothing or has bad options, and ContinuationLost.
    """
    prompts.prompt_content([], input_messages(request.input))
    run = await opened_run.open_run(parts, request, context)
    entries = None
    if run.native_id is not None:
        entries = await store.load({"project_key": "", "session_id": run.native_id})
        if not alone:
            run = run.without_native("another run of the session goes on beside this one")
        elif not entries:
            run = run.without_native(f"there is no transcript of {run.native_id} in the log")
    if run.native_id is not None and put_off is None and await has_put_off(context):
        run = run.without_native("a call waits in it, or was cut off")
    return Opening(run=run, entries=(entries or []) if run.native_id is not None else [])
