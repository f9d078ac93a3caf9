from __future__ import annotations

import gc
import tracemalloc
from functools import partial

import pytest
import trio
from moorage.runtime import (
    StoreFailed,
    SupervisorLimits,
    open_supervisor,
)
from moorage.runtime.testing import (
    VirtualClock,
    assert_history,
    wait_until,
)
from moorage.runtime.turn_taking import BATCH_BYTES_MAX
from moorage.runtime.turns import TIMERS_UNCHECKED_MAX
from moorage.stores import MemoryStore


def types_of(events):
    return [event.type for event in events]


def has_type(type):
    return lambda records: any(record.type == type for record in records)


async def test_a_refused_write_refuses_the_ask_and_leaves_nothing_behind(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        failing_store.fail()

        with pytest.raises(StoreFailed) as refused:
            await session.submit(0)
        events = await session.events()
        outcome = await session.execute(0)

    assert refused.value.written is False
    assert types_of(events) == ["session_opened"]
    assert outcome.state == "completed"


async def test_a_refused_write_does_not_harm_a_running_agent_and_doubles_nothing(
    autojump_clock, failing_store
):
    async def agent(request, context):
        for number in range(20):
            await context.emit("message_streamed", {"number": number})
            await trio.sleep(0.03)
        return "done"

    async with open_supervisor(failing_store, agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await trio.sleep(0.1)
        failing_store.fail(times=3)
        outcome = await run.wait()
        events = await session.events()

    assert failing_store.failed == 3
    assert outcome.output == "done"
    assert_history(events)
    numbers = [event.data["number"] for event in events if event.type == "message_streamed"]
    assert numbers == list(range(20))


async def test_a_refused_write_of_a_run_s_end_is_made_again(autojump_clock, failing_store, sleeper):
    failing_store.only = has_type("run_completed")
    failing_store.fail(times=4)

    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(1)
        next_outcome = await session.execute(2)
        events = await session.events()

    assert (outcome.state, next_outcome.state) == ("completed", "completed")
    assert failing_store.failed == 4
    assert_history(events)


async def test_a_refused_write_of_a_recovery_is_made_again(autojump_clock, failing_store, sleeper):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(1000)
        await wait_until(lambda: sleeper.running)
        failing_store.only = has_type("run_interrupted")
        failing_store.lose_answer(written=False)
        failing_store.fail(times=3)
        with pytest.raises(StoreFailed):
            await session.drain(timeout_seconds=0)

        outcome = await run.wait(timeout_seconds=60)

    assert failing_store.failed == 4
    assert outcome.state == "interrupted"


async def test_a_queued_run_whose_start_could_not_be_written_starts_later(
    autojump_clock, failing_store, sleeper
):
    limits = SupervisorLimits(runs_running_max=1)
    async with open_supervisor(failing_store, sleeper, limits=limits) as supervisor:
        one = await supervisor.session("one")
        two = await supervisor.session("two")
        await one.submit(5)
        run = await two.submit(1)
        failing_store.only = has_type("run_started")
        failing_store.fail(times=2)

        outcome = await run.wait(timeout_seconds=60)

    assert failing_store.failed == 2
    assert outcome.state == "completed"


async def test_a_drain_s_deadline_holds_although_a_write_is_refused_at_that_moment(
    autojump_clock, failing_store
):
    async def agent(request, context):
        while True:
            await context.emit("message_streamed", {})
            await trio.sleep(1)

    async with open_supervisor(failing_store, agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await trio.sleep(0.5)
        failing_store.only = lambda records: trio.current_time() >= 10
        failing_store.fail(times=2)
        with trio.fail_after(60):
            report = await session.drain(timeout_seconds=9.5)
        outcome = await run.wait()

    assert failing_store.failed == 2
    assert report.interrupted == (run.id,)
    assert outcome.state == "interrupted"


async def test_an_interrupted_agent_that_raises_stays_interrupted_when_its_end_is_written_again(
    autojump_clock, failing_store
):
    async def agent(request, context):
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("cut off")

    async with open_supervisor(failing_store, agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await trio.sleep(1)
        failing_store.only = has_type("run_interrupted")
        failing_store.fail()
        report = await session.drain(timeout_seconds=1)
        outcome = await run.wait()

    assert failing_store.failed == 1
    assert report.interrupted == (run.id,)
    assert outcome.state == "interrupted"


class SlowStore(MemoryStore):
    """Takes so long for an append that whatever else can run does."""

    async def append(self, claim, *, expected_seq, records, info=None):
        await super().append(claim, expected_seq=expected_seq, records=records, info=info)
        for _ in range(5):
            await trio.lowlevel.checkpoint()


async def test_a_limit_of_time_holds_for_an_agent_that_never_stops_emitting(mock_clock):
    """The inbox is never empty then, and timers must be looked at all the same."""
    clock = VirtualClock(mock_clock)

    async def agent(request, context):
        for _ in range(10_000):
            await context.emit("message_streamed", {})
            clock.jump(0.01)
        return "never stopped"

    async with open_supervisor(SlowStore(), agent, time_ns=clock.time_ns) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(None, timeout_seconds=5)

    assert outcome.state == "timed_out"
    assert outcome.error.code == "run_timeout"


async def test_timers_of_runs_that_have_ended_do_not_pile_up(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s", slots=2)
        await session.submit(100_000)
        for _ in range(600):
            await session.execute(0, timeout_seconds=3600, silence_seconds_max=3600)
        (resident,) = supervisor.residents.all()
        waiting = len(resident.worker._timers)
        timed_out = await session.execute(5000, timeout_seconds=3600)

    assert waiting <= 2 * TIMERS_UNCHECKED_MAX
    assert timed_out.state == "timed_out"


@pytest.mark.promise(13)
async def test_resuming_calls_a_drain_off_and_its_deadline_with_it(autojump_clock, sleeper):
    reports = []

    async def drain():
        reports.append((await session.drain(timeout_seconds=30), trio.current_time()))

    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            await trio.sleep(1)
            assert await session.resume()
        outcome = await run.wait()
        status = await session.status()

    ((report, ended_at),) = reports
    assert ended_at < 2
    assert report.not_stopped == (run.id,)
    assert (outcome.state, status.draining) == ("completed", False)


async def test_a_resumption_that_could_not_be_written_leaves_the_drain_as_it_was(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(100)
        await session.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(session.drain, timeout_seconds=30))
            await trio.sleep(1)
            failing_store.fail()
            with pytest.raises(StoreFailed):
                await session.resume()
            status = await session.status()
        outcome = await run.wait()
        ended_at = trio.current_time()

    assert status.draining
    assert outcome.state == "interrupted"
    assert 30 <= ended_at < 32


async def test_a_forced_close_whose_end_could_not_be_written_at_first_closes_later(
    autojump_clock, failing_store
):
    async def agent(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    async with open_supervisor(failing_store, agent) as supervisor:
        session = await supervisor.session("s")
        await session.submit(None)
        await trio.sleep(1)
        failing_store.only = has_type("session_closed")
        failing_store.fail()
        await session.close(force=True)
        await trio.sleep(60)
        info = await session.info()

    assert failing_store.failed == 1
    assert info.state == "closed"


async def test_a_batch_takes_no_more_than_its_bytes(autojump_clock):
    sizes = []

    class MeasuringStore(MemoryStore):
        async def append(self, claim, **options):
            sizes.append(sum(len(record.body) for record in options["records"]))
            await trio.sleep(1)
            await super().append(claim, **options)

    async def agent(request, context):
        return bytes(2**20)

    async with open_supervisor(MeasuringStore(), agent) as supervisor:
        session = await supervisor.session("s", slots=20)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(session.append, "note", bytes(2**20))
                nursery.start_soon(session.submit, bytes(2**20))
        await session.wait_idle()

    assert max(sizes) < BATCH_BYTES_MAX + 2 * 2**20


async def test_a_batch_of_questions_and_answers_takes_no_more_than_its_bytes(autojump_clock):
    sizes = []

    class MeasuringStore(MemoryStore):
        async def append(self, claim, **options):
            sizes.append(sum(len(record.body) for record in options["records"]))
            await trio.sleep(1)
            await super().append(claim, **options)

    async def agent(request, context):
        await context.ask("q", bytes(2**20))
        return await context.park("n", bytes(2**20), timeout_seconds=1)

    async with open_supervisor(MeasuringStore(), agent) as supervisor:
        session = await supervisor.session("s", slots=20)
        runs = [await session.submit(None) for _ in range(20)]
        await trio.sleep(60)
        async with trio.open_nursery() as nursery:
            for run in runs:
                nursery.start_soon(session.answer, run.id, "q", bytes(2**20))
        for run in runs:
            await run.wait()

    assert max(sizes) < BATCH_BYTES_MAX + 2 * 2**20


async def test_an_idle_session_does_not_hold_its_last_run(autojump_clock):
    async def agent(request, context):
        return bytes(2**20)

    tracemalloc.start()
    try:
        limits = SupervisorLimits(outcome_cache_bytes_max=0)
        store = MemoryStore()
        async with open_supervisor(store, agent, limits=limits) as supervisor:
            sessions = [await supervisor.session(f"s{number}") for number in range(10)]
            before = tracemalloc.get_traced_memory()[0]
            for session in sessions:
                await session.execute(bytes(2**20))
            for session in sessions:
                await session.trim(before=(await session.info()).head_seq)
            await trio.sleep(1)
            gc.collect()
            each = (tracemalloc.get_traced_memory()[0] - before) / len(sessions)
    finally:
        tracemalloc.stop()

    assert each < 1.2 * 2**20, "the log holds the outcome, and nothing holds it twice"
