"""Asking a person whether a tool may be called, durably."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import attrs
from moorage.runtime.errors import CursorExpired, InvalidArgument
from moorage.runtime.runs import approval_request

if TYPE_CHECKING:
    from moorage.runtime.agents import RunContext
    from moorage.runtime.runs import RunRequest

ApprovalDefault = Literal["approve", "deny"]

PAGE_EVENTS = 100


@attrs.frozen
class ToolCall:
    """A call that a model made. ``tool_input`` is a map, or text that could not be read as one."""

    tool_call_id: str
    tool_name: str
    tool_input: Any

    def data(self) -> dict[str, Any]:
        """The data of a ``tool_call_started`` event."""
        return {
            "tool_call_id": self.tool_call_id,
            "tool_name": self.tool_name,
            "tool_input": self.tool_input,
        }


@attrs.frozen
class Decision:
    """What was answered. ``tool_input`` is None unless the call is to run with another input."""

    approved: bool
    reason: str | None = None
    tool_input: dict[str, Any] | None = None
    by: str | None = None


async def request_approval(
    context: RunContext,
    request: RunRequest,
    call: ToolCall,
    *,
    hold: bool,
    timeout_seconds: float | None,
    default: ApprovalDefault,
    metadata: dict[str, Any] | None = None,
) -> Decision:
    """Ask, wait, and return what was answered; with ``default`` after ``timeout_seconds``.

    With ``hold`` the task waits and keeps its slot, for agents whose program cannot be left. Else
    it ends here: the run waits without a slot, across restarts, and once it is answered the agent
    is called again and comes to this point with the answer in ``request.answers``.

    ``tool_approval_requested`` and the event of the answer are emitted once in a run, however often
    the agent is called again. Raises InvalidArgument for another ``default``.
    """
    check_approval_default(default)
    request_id, name = approval_request(context.run_id, call.tool_call_id)
    told = await _told(context, request, request_id)
    data = {"request_id": request_id, **call.data()}
    if "tool_approval_requested" not in told:
        if timeout_seconds is not None:
            data["expires_at_ns"] = time.time_ns() + int(timeout_seconds * 1e9)
        await context.flush()
        # not emit, which may let others run: seen is then answerable, and after a crash both are
        # there or neither is
        context.emit_nowait("tool_approval_requested", data, metadata=metadata)
    wait = context.ask if hold else context.park
    value = await wait(
        name,
        data,
        timeout_seconds=timeout_seconds,
        default={
            "approved": default == "approve",
            "reason": f"nobody answered within {timeout_seconds} seconds",
            "by": "timeout",
        },
    )
    decision = read_decision(value)
    if not told & {"tool_approval_granted", "tool_approval_denied"}:
        await _tell(context, request_id, call, decision, metadata)
    return decision


def read_decision(value: Any) -> Decision:
    """A Decision from an answer: ``{"approved": bool, "reason"?, "tool_input"?, "by"?}``, or the
    bool alone. What cannot be read is a denial, since it is no approval."""
    if type(value) is bool:
        return Decision(value)
    if type(value) is not dict or type(value.get("approved")) is not bool:
        return Decision(False, "the answer could not be read")
    reason, by, tool_input = value.get("reason"), value.get("by"), value.get("tool_input")
    if tool_input is not None and type(tool_input) is not dict:
        return Decision(False, "the tool_input of the answer is no map")
    return Decision(
        value["approved"],
        None if reason is None else str(reason),
        tool_input,
        None if by is None else str(by),
    )


def check_approval_default(value: str) -> None:
    """Raise InvalidArgument unless ``value`` is what may be answered when nobody does."""
    if value not in ("approve", "deny"):
        raise InvalidArgument(f"approval_default must be 'approve' or 'deny', not {value!r}")


async def _told(context: RunContext, request: RunRequest, request_id: str) -> set[str]:
    """The types of this request's events that an earlier call of the agent emitted."""
    if request.attempt == 1 and not request.answers:
        return set()
    told: set[str] = set()
    after = 0
    await context.flush()
    while True:
        try:
            page = await context.session.events(
                after=after, limit=PAGE_EVENTS, types=_TYPES, run_id=context.run_id
            )
        except CursorExpired as expired:  # earlier runs were trimmed away, this one never is
            after = expired.oldest_seq - 1
            continue
        told.update(event.type for event in page if event.data.get("request_id") == request_id)
        if len(page) < PAGE_EVENTS:
            return told
        after = page[-1].seq


_TYPES = {"tool_approval_requested", "tool_approval_granted", "tool_approval_denied"}


async def _tell(
    context: RunContext,
    request_id: str,
    call: ToolCall,
    decision: Decision,
    metadata: dict[str, Any] | None,
) -> None:
    data: dict[str, Any] = {
        "request_id": request_id,
        "tool_call_id": call.tool_call_id,
        "tool_name": call.tool_name,
    }
    if decision.by is not None:
        data["by"] = decision.by
    if decision.approved:
        if decision.tool_input is not None:
            data["tool_input"] = decision.tool_input
        await context.emit("tool_approval_granted", data, metadata=metadata)
    else:
        if decision.reason is not None:
            data["reason"] = decision.reason
        await context.emit("tool_approval_denied", data, metadata=metadata)
