from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.provider.deltas import PENDING_CHARS_MAX, DeltaStream
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.errors import InvalidArgument, RecordTooLarge, RunEnded


def told(context):
    return [(event.type, event.data) for event in context.events]


async def test_deltas_of_a_fast_model_become_few_events_with_the_same_text(mock_clock):
    context = RecordingContext()

    async with DeltaStream(context, 0.02) as stream:
        for index in range(1000):
            await stream.add(f"{index} ")
            mock_clock.jump(0.0001)

    assert context.deltas() == "".join(f"{index} " for index in range(1000))
    assert len(context.events) <= 6


async def test_text_is_told_in_time_when_the_model_pauses(autojump_clock):
    context = RecordingContext()

    async with DeltaStream(context, 0.02) as stream:
        for text in ("Hel", "lo"):
            await stream.add(text)
            await trio.sleep(0.01)
        await trio.sleep(0.011)
        after_pause = context.deltas()
        await stream.add(" again")
        await trio.sleep(0.021)

        assert after_pause == "Hello"
        assert context.deltas() == "Hello again"
        assert len(context.events) == 2


async def test_a_model_that_never_waits_is_told_in_time_too(mock_clock):
    context = RecordingContext()

    async with DeltaStream(context, 0.02) as stream:
        await stream.add("a")
        mock_clock.jump(0.02)
        await stream.add("b")

        assert context.deltas() == "ab"


async def test_flush_keeps_the_order_with_other_events(autojump_clock):
    context = RecordingContext()

    async with DeltaStream(context, 0.02) as stream:
        await stream.add("before")
        await stream.flush()
        await context.emit("turn_completed", {})
        await stream.add("after")

    assert told(context) == [
        ("message_streamed", {"delta": "before"}),
        ("turn_completed", {}),
        ("message_streamed", {"delta": "after"}),
    ]


async def test_thinking_and_text_are_told_apart_and_in_order(autojump_clock):
    context = RecordingContext()

    async with DeltaStream(context, 0.02, metadata={"provider": "x"}) as stream:
        await stream.add_thinking("hm")
        await stream.add_thinking("m")
        await stream.add("yes")

    assert told(context) == [
        ("message_streamed", {"delta": "", "thinking": "hmm"}),
        ("message_streamed", {"delta": "yes"}),
    ]
    assert context.events[0].metadata == {"provider": "x"}


async def test_empty_deltas_are_no_events(autojump_clock):
    context = RecordingContext()

    async with DeltaStream(context, 0.02) as stream:
        await stream.add("")
        await stream.add_thinking("")
        await stream.flush()

    assert context.events == []


async def test_without_a_time_to_wait_each_delta_is_an_event():
    context = RecordingContext()

    async with DeltaStream(context, 0) as stream:
        await stream.add("a")
        await stream.add("b")

        assert [event.data for event in context.events] == [{"delta": "a"}, {"delta": "b"}]


async def test_a_burst_of_much_text_is_emitted_before_its_time(autojump_clock):
    context = RecordingContext()

    async with DeltaStream(context, 1) as stream:
        await stream.add("x" * PENDING_CHARS_MAX)

        assert len(context.events) == 1


async def test_what_came_before_a_cancellation_is_kept(autojump_clock):
    context = RecordingContext()

    with trio.move_on_after(1) as scope:
        async with DeltaStream(context, 60) as stream:
            await stream.add("half a sen")
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert context.deltas() == "half a sen"


async def test_an_exception_of_the_block_comes_out_as_it_is_and_the_text_is_kept(autojump_clock):
    context = RecordingContext()

    with pytest.raises(LookupError):
        async with DeltaStream(context, 60) as stream:
            await stream.add("half a sen")
            raise LookupError

    assert context.deltas() == "half a sen"


async def test_the_exception_of_a_block_is_not_hidden_by_a_run_that_has_ended(autojump_clock):
    context = RecordingContext()

    with pytest.raises(LookupError):
        async with DeltaStream(context, 60) as stream:
            await stream.add("late")
            context.end()
            raise LookupError

    assert context.late == 1


async def test_an_error_while_the_model_paused_is_raised_at_the_next_delta(autojump_clock):
    context = RecordingContext(record_bytes_max=100)

    with pytest.raises(RecordTooLarge):
        async with DeltaStream(context, 0.02) as stream:
            await stream.add("x" * 200)
            await trio.sleep(1)
            await stream.add("y")
            pytest.fail("the error was lost")


async def test_an_error_while_the_model_paused_is_raised_on_leaving(autojump_clock):
    context = RecordingContext()

    with pytest.raises(RunEnded):
        async with DeltaStream(context, 0.02) as stream:
            await stream.add("x")
            context.end()
            await trio.sleep(1)


async def test_others_get_their_turn_while_deltas_pour_in(mock_clock):
    context = RecordingContext()
    turns = []

    async def other():
        turns.append(1)

    async with trio.open_nursery() as nursery, DeltaStream(context, 60) as stream:
        nursery.start_soon(other)
        for _ in range(3 * 64):
            await stream.add("x")

        assert turns == [1]


@pytest.mark.parametrize("seconds", [-1, 61, float("nan"), "1", True, None])
def test_a_time_that_is_none_is_refused(seconds):
    with pytest.raises(InvalidArgument) as caught:
        DeltaStream(RecordingContext(), seconds)

    assert "coalesce_seconds" in str(caught.value)
