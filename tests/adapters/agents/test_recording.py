from __future__ import annotations

import pytest
import trio
import trio.testing
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.runtime.errors import BufferFull, InvalidArgument, RecordTooLarge, RunEnded
from moorage.runtime.events import Event
from moorage.runtime.runs import RunRequest, RunState


async def test_events_are_recorded_as_a_reader_would_see_them():
    context = RecordingContext(session_id="s", run_id="r")

    await context.emit("message_sent", {"a": [1]}, time_ns=5, metadata={"m": 1})
    context.emit_nowait("turn_completed", None, time_ns=6)

    assert [
        Event("s", 1, 5, "message_sent", "r", {"a": [1]}, {"m": 1}),
        Event("s", 2, 6, "turn_completed", "r", None),
    ] == context.events


async def test_what_is_recorded_does_not_change_with_the_agents_object():
    context = RecordingContext()
    data = {"a": [1]}

    await context.emit("x", data)
    data["a"].append(2)

    assert context.events[0].data == {"a": [1]}


async def test_time_is_trios_so_that_tests_are_repeatable(autojump_clock):
    context = RecordingContext()
    await trio.sleep(3)

    await context.emit("x", None)

    assert int(trio.current_time() * 1e9) == context.events[0].time_ns


@pytest.mark.parametrize(
    ("type", "data", "kind"),
    [
        ("run_completed", {}, InvalidArgument),
        ("session_closed", {}, InvalidArgument),
        ("", {}, InvalidArgument),
        (5, {}, InvalidArgument),
        ("x", {1, 2}, InvalidArgument),
        ("x", "y" * 2000, RecordTooLarge),
    ],
)
async def test_it_refuses_what_a_session_refuses_and_remembers_it(type, data, kind):
    context = RecordingContext(record_bytes_max=1024)

    with pytest.raises(kind) as caught:
        await context.emit(type, data)
    with pytest.raises(kind):
        context.emit_nowait(type, data)

    assert context.events == []
    assert (type, caught.value) == context.refused[0]
    assert len(context.refused) == 2


async def test_emitting_lets_other_tasks_run_now_and_then():
    context = RecordingContext()

    with trio.CancelScope() as scope:
        scope.cancel()
        for _ in range(1000):
            await context.emit("x", None)

    assert len(context.events) == 64


async def test_a_held_log_makes_emit_wait_beyond_its_limit():
    context = RecordingContext(emit_ahead_bytes_max=100)
    context.hold_log()

    async def emit_all() -> None:
        for _ in range(50):
            await context.emit("x", "y" * 20)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(emit_all)
        await context.wait_blocked()
        held = len(context.events)
        with pytest.raises(BufferFull):
            context.emit_nowait("x", None)
        context.release_log()

    assert 0 < held < 10
    assert len(context.events) == 50


async def test_flushing_waits_while_the_log_is_held():
    context = RecordingContext()
    await context.flush()
    context.hold_log()
    await context.flush()
    await context.emit("x", None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(context.flush)
        await context.wait_blocked()
        context.release_log()
    await context.flush()


async def test_a_test_can_wait_for_events():
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(context.wait_events, 2)
        await context.emit("x", None)
        await trio.testing.wait_all_tasks_blocked()
        waiting = len(nursery.child_tasks)
        await context.emit("x", None)

    assert waiting == 1


async def test_after_its_end_nothing_is_recorded():
    context = RecordingContext()
    context.end()

    for call in (context.emit("x", None), context.flush(), context.park("x")):
        with pytest.raises(RunEnded):
            await call
    with pytest.raises(RunEnded):
        context.emit_nowait("x", None)

    assert (context.events, context.late) == ([], 2)


async def test_a_request_fits_its_context():
    context = RecordingContext(
        session_id="s", run_id="r", attempt=2, metadata={"m": 1}, answers={"a": 2}
    )

    expected = RunRequest(
        input="x",
        session_id="s",
        run_id="r",
        attempt=2,
        metadata={"m": 1},
        answers={"a": 2},
        key="k",
    )
    assert expected == context.request("x", key="k")


async def test_executing_tells_how_an_agent_ended():
    async def completes(request, context):
        return request.input

    async def fails(request, context):
        raise ValueError("x")

    async def parks(request, context):
        await context.park("name", [1])

    ends = []
    for agent in (completes, fails, parks):
        context = RecordingContext()
        ends.append(await execute(agent, context.request(5), context))
        assert context.ended

    assert [end.state for end in ends] == [RunState.COMPLETED, RunState.FAILED, RunState.WAITING]
    assert (ends[0].output, str(ends[1].error), ends[2].parked) == (5, "x", ("name", [1]))


async def test_an_answered_run_goes_on():
    async def parks(request, context):
        return await context.park("name")

    context = RecordingContext(answers={"name": 5})

    assert (await execute(parks, context.request(), context)).output == 5


async def test_parking_refuses_what_a_session_refuses():
    context = RecordingContext()

    for name, data in (("", None), ("x", {1})):
        with pytest.raises(InvalidArgument):
            await context.park(name, data)


async def test_cancelling_from_outside_passes_through(autojump_clock):
    async def endless(request, context):
        await trio.sleep_forever()

    context = RecordingContext()

    with trio.move_on_after(1) as scope:
        await execute(endless, context.request(), context)

    assert scope.cancelled_caught
    assert context.ended


async def test_a_context_can_cancel_its_own_run():
    async def endless(request, context):
        context.cancel()
        await trio.sleep_forever()

    context = RecordingContext()

    assert (await execute(endless, context.request(), context)).state == RunState.CANCELLED


@pytest.mark.parametrize("options", [{"time_ns": -1}, {"metadata": [1]}])
async def test_it_refuses_options_that_a_session_refuses(options):
    context = RecordingContext()

    with pytest.raises(InvalidArgument):
        await context.emit("x", None, **options)

    assert context.events == []
