"""Asking a person whether a tool may be called, durably."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import attrs
from moorage.runtime.errors import CursorExpired, InvalidArgument
from moorage.runtime.runs import approval_of, approval_request

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


@attrs.define
class _Question:
    """A request that the log has: the call that asked it last, and whether no call has gone on with
    its answer, which may be there already."""

    call: ToolCall
    is_open: bool = True


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
    taken: set[str] | None = None,
) -> Decision:
    """Ask, wait, and return what was answered; with ``default`` after ``timeout_seconds``.

    With ``hold`` the task waits and keeps its slot, for agents whose program cannot be left. Else
    it ends here: the run waits without a slot, across restarts, and once it is answered the agent
    is called again and comes to this point with the answer in ``request.answers``.

    ``tool_approval_requested`` and the event of the answer are emitted once in a run, however often
    the agent is called again. Raises InvalidArgument for another ``default``.

    A program that is started again after it was cut off, as by a crash, makes its calls anew, with
    other ids. With ``taken``, one set for all calls of a start, an equal call takes on the request
    of the one that was cut off: it asks again under the same id, and what was answered meanwhile is
    its answer. An approval is durable before this returns, so that no crash lets it count twice.
    """
    check_approval_default(default)
    request_id, name = approval_request(context.run_id, call.tool_call_id)
    questions = await _questions(context, request)
    if taken is not None:  # no waiting between these, or two calls might take the same one
        left = _left_open(questions, call, taken)
        if left is None and request_id in questions.keys() - taken:
            # the same id, and not the same question: its answer is none to this one
            left = f"{request_id}.{context.attempt}"
        request_id = left or request_id
        taken.add(request_id)
        name = approval_of(request_id)[1]
    question = questions.get(request_id)
    data = {"request_id": request_id, **call.data()}
    if question is None or question.call.tool_call_id != call.tool_call_id:
        if timeout_seconds is not None:
            data["expires_at_ns"] = time.time_ns() + int(timeout_seconds * 1e9)
        await context.flush()
        # not emit, which may let others run: seen is then answerable, and after a crash both are
        # there or neither is
        context.emit_nowait(_REQUESTED, data, metadata=metadata)
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
    if question is None or question.is_open:
        await _tell(context, request_id, call, decision, metadata)
        if decision.approved:
            await context.flush()
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


async def _questions(context: RunContext, request: RunRequest) -> dict[str, _Question]:
    """The requests that earlier calls of the agent made in this run, by id, in order."""
    if request.attempt == 1 and not request.answers:
        return {}
    questions: dict[str, _Question] = {}
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
        for event in page:
            request_id = event.data.get("request_id", "")
            if event.type == _REQUESTED:
                questions[request_id] = _Question(_call_of(event.data))
            elif request_id in questions:
                questions[request_id].is_open = False
        if len(page) < PAGE_EVENTS:
            return questions
        after = page[-1].seq


def _left_open(questions: dict[str, _Question], call: ToolCall, taken: set[str]) -> str | None:
    """The id of the first request that an equal call has left open, if there is one."""
    for request_id, question in questions.items():
        if request_id not in taken and question.is_open:
            asked = question.call
            if (asked.tool_name, asked.tool_input) == (call.tool_name, call.tool_input):
                return request_id
    return None


def _call_of(data: dict[str, Any]) -> ToolCall:
    id, name = data.get("tool_call_id", ""), data.get("tool_name", "")
    return ToolCall(id, name, data.get("tool_input"))


_REQUESTED = "tool_approval_requested"
_TYPES = {_REQUESTED, "tool_approval_granted", "tool_approval_denied"}


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
