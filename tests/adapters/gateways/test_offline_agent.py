from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.adapters.gateways.offline_agent import offline_agent
from moorage.runtime import RunState
from moorage.runtime.transcript import Transcript


async def ran(input: object, context: RecordingContext | None = None):
    """(how it ended, the context) of one run."""
    context = context or RecordingContext()
    return await execute(offline_agent(), context.request(input), context), context


def answered(context: RecordingContext, value: object) -> RecordingContext:
    """The same run, called again with an answer to what it parked for."""
    name, _ = context.parked
    return RecordingContext(run_id=context.run_id, history=context.events, answers={name: value})


def texts(context: RecordingContext) -> list[str]:
    transcript = Transcript().extend(context.events)
    return [message.text for message in transcript.messages()]


async def test_it_repeats_what_it_is_told_word_by_word(autojump_clock):
    ended, context = await ran("hello you")

    deltas = [event.data["delta"] for event in context.events if event.type == "message_streamed"]
    assert deltas == ["You ", "said: ", "hello ", "you"]
    assert texts(context) == ["hello you", "You said: hello you"]
    assert ended.output == {
        "content": "You said: hello you",
        "stop_reason": "end_turn",
        "provider": "scripted",
        "model": "scripted-1",
        "turns": 1,
    }


async def test_it_says_which_model_it_was_to_be(autojump_clock):
    ended, _ = await ran({"prompt": "hi", "options": {"model": "big-1"}})

    assert ended.output["model"] == "big-1"


async def test_it_uses_a_tool_when_told_to(autojump_clock):
    ended, context = await ran("use a tool")

    types = [event.type for event in context.events if event.type.startswith("tool_")]
    assert types == ["tool_call_started", "tool_call_completed"]
    assert ended.output["content"] == "I counted 3 words. You said: use a tool"


async def test_it_thinks_aloud_when_told_to(autojump_clock):
    _, context = await ran("think of it")

    assert [e.data["thinking"] for e in context.events if e.data.get("thinking")] == [
        "I am asked for 3 words."
    ]


async def test_it_fails_when_told_to(autojump_clock):
    ended, _ = await ran("fail now")

    assert (ended.state, ended.error.code) == (RunState.FAILED, "told_to")


async def test_it_parks_for_an_approval_and_goes_on_where_it_was(autojump_clock):
    parked, context = await ran("approve it")
    _, data = parked.parked

    again = answered(context, {"approved": True})
    ended, _ = await ran("approve it", again)

    assert parked.state is RunState.WAITING
    assert data["request_id"] == f"{context.run_id}:{data['tool_call_id']}"
    types = [event.type for event in again.events if event.type != "message_streamed"]
    assert types == [
        "message_sent",
        "message_received",
        "tool_approval_requested",
        "tool_approval_granted",
        "tool_call_started",
        "tool_call_completed",
        "message_received",
        "token_usage_updated",
        "turn_completed",
    ]
    assert ended.output["content"].startswith("I counted 2 words.")


@pytest.mark.parametrize("value", [{"approved": False, "reason": "no"}, {"approved": False}])
async def test_a_denied_call_has_failed(autojump_clock, value):
    _, context = await ran("approve it")

    ended, context = await ran("approve it", answered(context, value))

    (failed,) = [event for event in context.events if event.type == "tool_call_failed"]
    assert failed.data["error"]["code"] == "tool_denied"
    assert "I was not allowed to count" in ended.output["content"]


async def test_it_can_hold_its_slot_while_it_asks(autojump_clock):
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ran, "approve on hold", context)
        await trio.sleep(1)
        (asked,) = [event for event in context.events if event.type == "tool_approval_requested"]
        name = f"approval:{asked.data['tool_call_id']}"
        assert context.answer(name, {"approved": True})

    assert texts(context)[-1].startswith("I counted 3 words.")


async def test_what_comes_on_the_way_is_answered_behind(autojump_clock):
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ran, "slow one", context)
        await trio.sleep(1)
        assert context.steer("faster")

    assert context.deltas() == "You said: slow one\nAnd on the way: faster"
    steered = [event.data for event in context.events if "steer_id" in (event.data or {})]
    assert [data["content"] for data in steered] == ["faster"]


async def test_it_takes_its_time_when_told_to(autojump_clock):
    before = trio.current_time()
    await ran("slow one")
    slow = trio.current_time() - before

    await ran("fast one")

    assert slow == pytest.approx(4 * 0.5)
    assert trio.current_time() - before - slow == pytest.approx(4 * 0.01)
