from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.provider.approvals import Decision, ToolCall
from moorage.adapters.agents.provider.hooks import (
    Allow,
    Ask,
    ChangeInput,
    Deny,
    Hooks,
    ReplaceResult,
)
from moorage.adapters.agents.provider.tool_decisions import ToolDecisions
from moorage.adapters.agents.recording import RecordingContext

CALL = ToolCall("c1", "ls", {"path": "."})


def decisions(context: RecordingContext, **given: Any) -> ToolDecisions:
    arguments: dict[str, Any] = {
        "hooks": Hooks(),
        "mode": "default",
        "effect": lambda call: "other",
        "timeout_seconds": None,
        "default": "deny",
    }
    return ToolDecisions(context=context, request=context.request(), **{**arguments, **given})


def answered(**value: Any) -> RecordingContext:
    return RecordingContext(answers={"approval:c1": value})


def returning(value: Any) -> Any:
    async def hook(*_: Any) -> Any:
        return value

    return hook


@pytest.mark.parametrize(
    ("mode", "effect", "approved"),
    [
        ("accept_edits", "edits", True),
        ("plan", "reads", True),
        ("plan", "edits", False),
        ("plan", "other", False),
        ("full_auto", "other", True),
        ("dangerously_skip_permissions", "other", True),
    ],
)
async def test_a_mode_decides_by_what_a_tool_does(mode: str, effect: str, approved: bool) -> None:
    context = RecordingContext()

    decision = await decisions(context, mode=mode, effect=lambda call: effect).decide(CALL)

    assert decision.approved is approved
    assert context.events == []


@pytest.mark.parametrize("mode", ["default", "accept_edits"])
async def test_what_no_mode_decides_is_asked(mode: str) -> None:
    context = answered(approved=True, by="ada")

    decision = await decisions(context, mode=mode).decide(CALL)

    assert decision == Decision(True, by="ada")
    assert [event.type for event in context.events] == [
        "tool_approval_requested",
        "tool_approval_granted",
    ]


async def test_reading_is_free_where_the_agent_says_so() -> None:
    decision = await decisions(
        RecordingContext(), effect=lambda call: "reads", reads_free=True
    ).decide(CALL)

    assert decision.approved


async def test_a_hook_before_a_tool_denies_or_changes_its_input() -> None:
    deny = Hooks(before_tool=[returning(Deny("no"))])
    change = Hooks(before_tool=[returning(ChangeInput({"path": "/"}))])

    denied = await decisions(RecordingContext(), hooks=deny, mode="full_auto").decide(CALL)
    changed = await decisions(RecordingContext(), hooks=change, mode="full_auto").decide(CALL)
    context = answered(approved=True)
    asked = await decisions(context, hooks=change).decide(CALL)

    assert denied == Decision(False, "no", by="hook")
    assert changed == Decision(True, tool_input={"path": "/"})
    assert asked.tool_input == {"path": "/"}
    assert context.events[0].data["tool_input"] == {"path": "/"}


async def test_who_approves_may_change_the_input_once_more() -> None:
    hooks = Hooks(before_tool=[returning(ChangeInput({"path": "/"}))])
    context = answered(approved=True, tool_input={"path": "/tmp"})

    decision = await decisions(context, hooks=hooks).decide(CALL)

    assert decision.tool_input == {"path": "/tmp"}


@pytest.mark.parametrize(
    ("opinion", "mode", "approved", "asks"),
    [
        (Allow(), "plan", True, False),
        (Deny("no"), "full_auto", False, False),
        (Ask(), "full_auto", True, True),
    ],
)
async def test_a_permission_handler_beats_the_mode(
    opinion: Any, mode: str, approved: bool, asks: bool
) -> None:
    context = answered(approved=True)
    hooks = Hooks(permission=[returning(opinion)])

    decision = await decisions(context, hooks=hooks, mode=mode).decide(CALL)

    assert decision.approved is approved
    assert bool(context.events) is asks


async def test_a_result_is_replaced_by_the_hooks_after_a_tool_or_left() -> None:
    replaced = decisions(
        RecordingContext(), hooks=Hooks(after_tool=[returning(ReplaceResult("new"))])
    )

    after = await replaced.replaced(CALL, "old", is_error=False)

    assert after is not None
    assert after.output == "new"
    assert await decisions(RecordingContext()).replaced(CALL, "old", is_error=True) is None
