"""Calls of Claude Code that wait for somebody while it does not run.

Where a PreToolUse hook says "defer", Claude Code ends its turn with the call, and when its session
is resumed with nothing said it asks for the permission to execute that call first of all. In
between the run is parked, and its session of Claude Code is nobody else's: another run would find
the call in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
from moorage.runtime.errors import CursorExpired, InvalidArgument
from moorage.runtime.runs import approval_of

from ..provider.approvals import PAGE_EVENTS, ToolCall
from ..provider.provider_sessions import KEY_PREFIX, save_handle
from .mapping import PROVIDER

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.events import Event
    from moorage.runtime.runs import RunRequest

    from ..provider.settings import PermissionMode

ApprovalWait = Literal["hold", "park"]

MARK = "put_off"
"""In the metadata of a request whose call was put off, and in the handle of its session."""

READS = frozenset({"Agent", "Glob", "Grep", "Read", "Skill", "Task", "TodoWrite", "ToolSearch"})
EDITS = frozenset({"Edit", "MultiEdit", "NotebookEdit", "Write"})
UNASKED: Mapping[PermissionMode, frozenset[str]] = {
    "default": READS,
    "accept_edits": READS | EDITS,
}
"""Permission modes in which calls are put off -> tools of which Claude Code hardly ever asks there:
for nothing it would be started again for each call."""


@attrs.frozen
class PutOff:
    """A call that was put off, and the session of Claude Code that ends with it."""

    call: ToolCall
    session: str


def check_approval_wait(value: str) -> None:
    """Raise InvalidArgument unless ``value`` says how to wait for an approval."""
    if value not in ("hold", "park"):
        raise InvalidArgument(f"approval_wait must be 'hold' or 'park', not {value!r}")


def put_off_by(result: Mapping[str, Any], session: str | None) -> PutOff | None:
    """The call that a ``result`` of Claude Code says was put off, if it is that."""
    call = result.get("deferred_tool_use")
    if result.get("stop_reason") != "tool_deferred" or not isinstance(call, Mapping):
        return None
    facts = ToolCall(str(call.get("id")), str(call.get("name")), call.get("input"))
    return PutOff(facts, session or "")


async def answered_call(context: RunContext, request: RunRequest) -> PutOff | None:
    """The call of this run that was put off, has been answered, and was not gone on with."""
    if not request.answers:
        return None
    found: dict[str, PutOff] = {}
    async for event in _told(context, _APPROVALS):
        data, metadata, id = event.data, event.metadata or {}, event.data.get("request_id", "")
        if event.type != "tool_approval_requested":
            found.pop(id, None)
        elif metadata.get(MARK) and approval_of(id)[1] in request.answers:
            call = ToolCall(data["tool_call_id"], data["tool_name"], data["tool_input"])
            found[id] = PutOff(call, str(metadata.get("provider_session")))
    return next(iter(found.values()), None)


async def turns_told(context: RunContext) -> int:
    """How many messages of the model this run has told, without those to subagents."""
    turns = 0
    async for event in _told(context, {"message_received"}):
        turns += "parent_tool_call_id" not in (event.metadata or {})
    return turns


async def _told(context: RunContext, types: set[str]) -> AsyncIterator[Event]:
    """The run's events of these types."""
    after = 0
    await context.flush()
    while True:
        try:
            page = await context.session.events(
                after=after, limit=PAGE_EVENTS, types=types, run_id=context.run_id
            )
        except CursorExpired as expired:  # earlier runs were trimmed away, this one never is
            after = expired.oldest_seq - 1
            continue
        for event in page:
            yield event
        if len(page) < PAGE_EVENTS:
            return
        after = page[-1].seq


_APPROVALS = {"tool_approval_requested", "tool_approval_granted", "tool_approval_denied"}


async def keep_from_others(context: RunContext, session: str) -> None:
    """Record that ``session`` of Claude Code waits for this run."""
    handle = await save_handle(context, PROVIDER, session, goes_on=True)
    value = {"id": handle.id, "seq": handle.seq, "run_id": handle.run_id, MARK: True}
    await context.session.configure(metadata_update={KEY_PREFIX + PROVIDER: value})


async def has_put_off(context: RunContext) -> bool:
    """Whether a call waits in the recorded session of Claude Code, or was cut off in it by a crash.
    Who continues the session executes it first of all."""
    value = (await context.session.info()).metadata.get(KEY_PREFIX + PROVIDER)
    return isinstance(value, dict) and bool(value.get(MARK))
