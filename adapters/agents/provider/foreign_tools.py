"""Tools that a provider's program runs itself: what hooks and people can want of them.

Such a program can be told yes or no. It runs a tool with its own input and gives the model the
result itself, so that another input is refused, and another result only told as unsupported.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from .approvals import Decision, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .run_report import RunReport
    from .tool_decisions import ToolDecisions


class AskedCalls:
    """Names the calls that are asked about. A program may ask several times about one call, and
    each of these is a question of its own: an answer to the first must not approve the second."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def named(self, call: ToolCall) -> ToolCall:
        """The call under an id that has not been asked about."""
        self._times[call.tool_call_id] += 1
        times = self._times[call.tool_call_id]
        return (
            call if times == 1 else attrs.evolve(call, tool_call_id=f"{call.tool_call_id}#{times}")
        )


async def decide_foreign(decisions: ToolDecisions, report: RunReport, call: ToolCall) -> Decision:
    """Whether the program may run ``call`` as it is; a change of its input is a denial."""
    await report.flush()
    decision = await decisions.decide(call)
    if not decision.approved or decision.tool_input in (None, call.tool_input):
        return decision
    reason = f"{report.provider} runs {call.tool_name} with its own input or not at all"
    await report.emit("error_occurred", _unsupported("input_change_unsupported", reason))
    return Decision(False, reason, by=decision.by)


async def tell_event(
    decisions: ToolDecisions | None,
    report: RunReport,
    calls: Mapping[str, Mapping[str, Any]],
    event: tuple[str, dict[str, Any], dict[str, Any]],
) -> None:
    """Emit an event of the program; deltas are joined, and results of tools shown to the hooks
    after a tool. ``calls`` has the data of tool_call_started by id."""
    type, data, metadata = event
    if type == "message_streamed":
        if "thinking" in data:
            await report.delta("thinking", data["thinking"])
        else:
            await report.delta("text", data["delta"])
        return
    await report.emit(type, data, metadata)
    if type not in ("tool_call_completed", "tool_call_failed") or decisions is None:
        return
    known = calls.get(data["tool_call_id"])
    if known is None or not decisions.hooks.after_tool:
        return
    call = ToolCall(known["tool_call_id"], known["tool_name"], known["tool_input"])
    failed = type == "tool_call_failed"
    output = data["error"]["message"] if failed else data["tool_output"]
    if await decisions.replaced(call, output, is_error=failed) is not None:
        reason = f"{report.provider} has given the model the result of {call.tool_name} already"
        await report.emit("error_occurred", _unsupported("result_change_unsupported", reason))


def _unsupported(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "category": "request", "message": message, "retryable": False}
