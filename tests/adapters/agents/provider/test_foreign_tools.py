from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.foreign_tools import AskedCalls, decide_foreign, tell_event
from moorage.adapters.agents.provider.hooks import Allow, ChangeInput, Deny, Hooks, ReplaceResult
from moorage.adapters.agents.provider.run_report import RunReport
from moorage.adapters.agents.provider.tool_decisions import ToolDecisions
from moorage.adapters.agents.recording import RecordingContext

CALL = ToolCall("c", "bash", {"command": "ls"})
CALLS = {"c": CALL.data()}


class Stage:
    """A run of a program: its context, its report, and what decides about its tools."""

    def __init__(self, **hooks: Any) -> None:
        self.context = RecordingContext()
        self.report = RunReport(self.context, DeltaStream(self.context, 0), "codex")
        self.decisions = ToolDecisions(
            context=self.context,
            request=self.context.request("Hi"),
            hooks=Hooks(**hooks),
            mode="full_auto",
            effect=lambda call: "other",
            timeout_seconds=None,
            default="deny",
        )

    def told(self) -> list[tuple[str, Any]]:
        return [(event.type, event.data) for event in self.context.events]


def returning(value: Any) -> Any:
    async def hook(*_: Any) -> Any:
        return value

    return hook


def test_each_question_about_a_call_has_an_id_of_its_own() -> None:
    asked, other = AskedCalls(), ToolCall("d", "bash", {})

    ids = [asked.named(call).tool_call_id for call in (CALL, other, CALL, CALL)]

    assert ids == ["c", "d", "c#2", "c#3"]


@pytest.mark.parametrize(
    ("opinion", "approved"), [(Allow(), True), (Deny("no"), False), (None, True)]
)
async def test_a_call_is_decided_on_as_it_is(opinion: Any, approved: bool) -> None:
    stage = Stage(permission=[returning(opinion)])

    decision = await decide_foreign(stage.decisions, stage.report, CALL)

    assert decision.approved is approved
    assert stage.told() == []


async def test_a_change_of_the_input_is_a_denial() -> None:
    stage = Stage(before_tool=[returning(ChangeInput({"command": "true"}))])

    decision = await decide_foreign(stage.decisions, stage.report, CALL)

    assert (decision.approved, "its own input" in str(decision.reason)) == (False, True)
    assert [data["code"] for _, data in stage.told()] == ["input_change_unsupported"]


async def test_the_same_input_is_no_change() -> None:
    stage = Stage(before_tool=[returning(ChangeInput({"command": "ls"}))])

    assert (await decide_foreign(stage.decisions, stage.report, CALL)).approved


async def test_deltas_are_streamed_and_other_events_emitted() -> None:
    stage = Stage()

    for event in (
        ("message_streamed", {"delta": "", "thinking": "hm"}, {}),
        ("message_streamed", {"delta": "Hi"}, {}),
        ("turn_completed", {"stop_reason": "end_turn"}, {}),
    ):
        await tell_event(stage.decisions, stage.report, CALLS, event)

    assert stage.told() == [
        ("message_streamed", {"delta": "", "thinking": "hm"}),
        ("message_streamed", {"delta": "Hi"}),
        ("turn_completed", {"stop_reason": "end_turn"}),
    ]


@pytest.mark.parametrize(
    ("type", "data", "seen"),
    [
        ("tool_call_completed", {"tool_output": "a"}, ("a", False)),
        ("tool_call_failed", {"error": {"code": "x", "message": "b"}}, ("b", True)),
    ],
)
async def test_results_are_shown_to_the_hooks_after_a_tool(type: str, data: Any, seen: Any) -> None:
    shown: list[Any] = []

    async def after(call: ToolCall, result: Any) -> None:
        shown.append((call, result.output, result.is_error))

    stage = Stage(after_tool=[after])
    event = (type, {"tool_call_id": "c", "tool_name": "bash", **data}, {})

    await tell_event(stage.decisions, stage.report, CALLS, event)

    assert shown == [(CALL, *seen)]
    assert [type for type, _ in stage.told()] == [type]


async def test_another_result_is_told_as_unsupported() -> None:
    stage = Stage(after_tool=[returning(ReplaceResult("other"))])
    data = {"tool_call_id": "c", "tool_name": "bash", "tool_output": "a"}

    await tell_event(stage.decisions, stage.report, CALLS, ("tool_call_completed", data, {}))

    assert stage.told()[1][1]["code"] == "result_change_unsupported"


async def test_results_of_calls_that_nobody_knows_are_not_shown() -> None:
    stage = Stage(after_tool=[returning(ReplaceResult("other"))])
    data = {"tool_call_id": "d", "tool_name": "bash", "tool_output": "a"}

    await tell_event(stage.decisions, stage.report, CALLS, ("tool_call_completed", data, {}))
    await tell_event(
        None, stage.report, CALLS, ("tool_call_completed", {**data, "tool_call_id": "c"}, {})
    )

    assert [type for type, _ in stage.told()] == ["tool_call_completed"] * 2
