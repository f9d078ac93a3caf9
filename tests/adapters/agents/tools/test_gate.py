from __future__ import annotations

import pytest
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.hooks import Allow, Ask, ChangeInput, Deny, Hooks
from moorage.adapters.agents.recording import RecordingContext
from moorage.adapters.agents.tools.definition import tool
from moorage.adapters.agents.tools.gate import Gate, mode_verdict


@tool
async def plain(path: str) -> str:
    return path


@tool(reads_only=True)
async def read(path: str) -> str:
    return path


@tool(needs_approval=True, edits=True)
async def edit(path: str) -> str:
    return path


@tool(needs_approval=lambda given: given["path"] == "/")
async def delete(path: str) -> str:
    return path


CALL = ToolCall("call-1", "edit", {"path": "a"})
NAME = "approval:call-1"
VERDICTS = {
    "default": (Allow, Allow, Ask, Allow, Ask),
    "accept_edits": (Allow, Allow, Allow, Allow, Ask),
    "plan": (Deny, Allow, Deny, Deny, Deny),
    "full_auto": (Allow,) * 5,
    "dangerously_skip_permissions": (Allow,) * 5,
}
"""Mode -> what it says about plain, read, edit, delete of "a" and delete of "/"."""


@pytest.mark.parametrize("mode", VERDICTS)
def test_a_permission_mode_decides_which_calls_ask(mode):
    verdicts = [
        mode_verdict(mode, plain, {"path": "a"}),
        mode_verdict(mode, read, {"path": "a"}),
        mode_verdict(mode, edit, {"path": "a"}),
        mode_verdict(mode, delete, {"path": "a"}),
        mode_verdict(mode, delete, '{"path": "/"}'),
    ]

    assert tuple(map(type, verdicts)) == VERDICTS[mode]


def opinion(value):
    async def handler(call):
        return value

    return handler


async def admit(context, one, *, mode="default", hooks=None, call=CALL):
    gate = Gate(
        request=context.request(), mode=mode, hold=True, timeout_seconds=5, default="approve"
    )
    admitted = await gate.admit(call, one, context, hooks or Hooks())
    assert not gate.parking
    return admitted


async def test_who_is_not_asked_gets_through():
    context = RecordingContext()

    assert await admit(context, plain) == CALL
    assert context.events == []


async def test_an_approval_lets_the_call_through_with_another_input_if_one_was_given():
    answer = {"approved": True, "tool_input": {"path": "b"}}
    context = RecordingContext(answers={NAME: answer})

    assert await admit(context, edit) == ToolCall("call-1", "edit", {"path": "b"})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [({"approved": False, "reason": "no"}, "no"), (False, "the user denied it")],
)
async def test_a_denial_is_told_with_its_reason(answer, reason):
    context = RecordingContext(answers={NAME: answer})

    assert await admit(context, edit) == Deny(reason)


async def test_nobody_is_asked_about_what_a_hook_denies():
    context = RecordingContext()
    hooks = Hooks(before_tool=[opinion(Deny("never"))], permission=[opinion(Allow())])

    assert await admit(context, edit, hooks=hooks) == Deny("never")
    assert context.events == []


async def test_people_are_asked_about_the_input_that_hooks_made():
    context = RecordingContext(answers={NAME: True})
    hooks = Hooks(before_tool=[opinion(ChangeInput({"path": "c"}))])

    admitted = await admit(context, edit, hooks=hooks)

    assert admitted.tool_input == {"path": "c"}
    assert context.events[0].data["tool_input"] == {"path": "c"}


@pytest.mark.parametrize(
    ("one", "mode", "view", "asked", "through"),
    [
        (edit, "default", Allow(), False, True),
        (plain, "default", Deny("no"), False, False),
        (plain, "default", Ask(), True, True),
        (edit, "full_auto", Ask(), False, True),
        (edit, "full_auto", Deny("no"), False, False),
        (edit, "dangerously_skip_permissions", Deny("no"), False, True),
        (edit, "plan", Allow(), False, False),
        (read, "plan", Deny("no"), False, False),
    ],
)
async def test_a_permission_handler_beats_the_mode_within_its_bounds(
    one, mode, view, asked, through
):
    context = RecordingContext(answers={NAME: True})

    admitted = await admit(context, one, mode=mode, hooks=Hooks(permission=[opinion(view)]))

    assert bool(context.events) == asked
    assert isinstance(admitted, ToolCall) == through


async def test_a_limit_of_time_is_answered_by_the_default(autojump_clock):
    assert await admit(RecordingContext(), edit) == CALL
