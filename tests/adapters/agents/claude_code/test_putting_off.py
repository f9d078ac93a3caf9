from __future__ import annotations

import pytest
from moorage.adapters.agents.claude_code.putting_off import (
    PutOff,
    answered_call,
    check_approval_wait,
    has_put_off,
    keep_from_others,
    put_off_by,
    turns_told,
)
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.errors import InvalidArgument

CALL = {"tool_call_id": "t1", "tool_name": "Bash", "tool_input": {"command": "ls"}}
PUT_OFF = PutOff(ToolCall("t1", "Bash", {"command": "ls"}), "claude-1")


def test_a_result_says_which_call_was_put_off():
    call = {"id": "t1", "name": "Bash", "input": {"command": "ls"}}

    put_off = put_off_by({"stop_reason": "tool_deferred", "deferred_tool_use": call}, "claude-1")

    assert put_off == PUT_OFF


@pytest.mark.parametrize(
    "result", [{}, {"stop_reason": "end_turn"}, {"stop_reason": "tool_deferred"}]
)
def test_another_result_does_not(result):
    assert put_off_by(result, "claude-1") is None


def test_only_two_ways_to_wait_are_known():
    check_approval_wait("hold")
    check_approval_wait("park")
    with pytest.raises(InvalidArgument):
        check_approval_wait("sleep")


async def asked(*, decided=False, mark=True, before=0):
    context = RecordingContext(answers={"approval:t1": True})
    for number in range(before):
        data = {**CALL, "tool_call_id": f"b{number}", "request_id": f"run:b{number}"}
        await context.emit("tool_approval_requested", data, metadata={"put_off": True})
    metadata = {"provider_session": "claude-1"} | ({"put_off": True} if mark else {})
    data = {"request_id": "run:t1", **CALL}
    await context.emit("tool_approval_requested", data, metadata=metadata)
    if decided:
        await context.emit("tool_approval_granted", {"request_id": "run:t1"})
    return context


@pytest.mark.parametrize("before", [0, 150])
async def test_the_call_that_was_answered_is_gone_on_with(before):
    context = await asked(before=before)

    assert await answered_call(context, context.request()) == PUT_OFF


@pytest.mark.parametrize("facts", [{"decided": True}, {"mark": False}])
async def test_one_that_went_on_or_waited_in_its_slot_is_not(facts):
    context = await asked(**facts)

    assert await answered_call(context, context.request()) is None


async def test_turns_are_the_messages_of_the_conversation_itself():
    context = RecordingContext()
    for number in range(120):
        await context.emit("message_received", {"content": str(number)})
    below = {"parent_tool_call_id": "t1"}
    await context.emit("message_received", {"content": "below"}, metadata=below)

    assert await turns_told(context) == 120


async def test_a_session_in_which_a_call_waits_is_known_by_its_handle():
    context = RecordingContext()
    before = await has_put_off(context)

    await keep_from_others(context, "claude-1")

    assert (before, await has_put_off(context)) == (False, True)
    handle = (await context.session.info()).metadata["provider_session.claude"]
    assert (handle["id"], handle["run_id"]) == ("claude-1", "run")
