from __future__ import annotations

import math

import pytest
import trio
from moorage.runtime import (
    AdmissionClosed,
    BufferFull,
    CorruptLog,
    CursorExpired,
    InvalidArgument,
    SupervisorLimits,
    UnknownSession,
    open_supervisor,
)
from moorage.runtime.testing import assert_history, wait_until
from moorage.stores import MemoryStore


async def test_a_drain_closes_admission_everywhere_and_reports_every_run(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        one = await supervisor.session("one")
        two = await supervisor.session("two")
        quick, queued = await one.submit(5), await one.submit(1)
        slow = await two.submit(1000, on_interrupt="fail")
        requeued = await (await supervisor.session("three")).submit(1000, on_interrupt="requeue")
        refused = []

        async def submit_meanwhile():
            await trio.sleep(1)
            for session in (one, await supervisor.session("new")):
                try:
                    await session.submit(1)
                except AdmissionClosed as error:
                    refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit_meanwhile)
            report = await supervisor.drain(timeout_seconds=10)
        status = await one.status()
        outcomes = [await quick.wait(), await slow.wait()]

    assert len(refused) == 2
    assert report.completed == (quick.id,)
    assert report.interrupted == (slow.id,)
    assert report.requeued == (requeued.id,)
    assert report.queued == (queued.id,)
    assert report.not_stopped == ()
    assert status.draining
    assert [outcome.state for outcome in outcomes] == ["completed", "interrupted"]


async def test_a_drain_reports_what_is_queued_in_sessions_that_are_not_in_memory(
    autojump_clock, sleeper
):
    limits = SupervisorLimits(idle_seconds=1)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        run = await session.submit(1)
        await trio.sleep(60)
        assert len(supervisor.residents) == 0
        report = await supervisor.drain()

    assert report.queued == (run.id,)


async def test_a_drain_reports_what_is_queued_where_draining_failed(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        await session.submit(1000)
        queued = await session.submit(1)
        await wait_until(lambda: sleeper.running)
        failing_store.lose_answer(written=False)
        report = await supervisor.drain(timeout_seconds=1)

    assert report.queued == (queued.id,)


async def test_a_drain_may_finish_what_is_queued(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        runs = [await session.submit(10) for _ in range(5)]
        report = await supervisor.drain(timeout_seconds=35, queued="finish")

    assert report.completed == tuple(run.id for run in runs[:3])
    assert report.interrupted == (runs[3].id,)
    assert report.queued == (runs[4].id,)


class Unreadable(MemoryStore):
    """A store in which reading the session ``bad`` raises ``error``, once that is set."""

    error: Exception | None = None

    async def read(self, session_id, **options):
        if session_id == "bad" and self.error is not None:
            raise self.error
        return await super().read(session_id, **options)


@pytest.mark.promise(14)
@pytest.mark.parametrize(
    "error",
    [
        CorruptLog(file="f", offset=1, reason="a flipped byte"),
        UnknownSession("bad"),
        CursorExpired("bad", after=1, oldest_seq=9),
    ],
    ids=lambda error: error.code,
)
async def test_a_session_that_cannot_be_read_spoils_no_drain(autojump_clock, sleeper, error):
    store = Unreadable()
    limits = SupervisorLimits(idle_seconds=1)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        queued = {}
        for name in ("one", "bad", "two"):
            session = await supervisor.session(name)
            await session.pause()
            queued[name] = await session.submit(1)
        await trio.sleep(60)
        store.error = error
        running = await (await supervisor.session("three")).submit(5)
        report = await supervisor.drain()

    assert set(report.queued) == {queued["one"].id, queued["two"].id}
    assert report.completed == (running.id,)


@pytest.mark.promise(13)
async def test_a_session_with_a_full_inbox_is_drained_as_well(autojump_clock, sleeper):
    limits = SupervisorLimits(inbox_commands_max=2)
    refused = []
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(1000)
        await wait_until(lambda: sleeper.running)

        async def submit():
            try:
                await session.submit(1)
            except BufferFull as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(submit)
            await trio.lowlevel.checkpoint()
            report = await supervisor.drain(timeout_seconds=5)

    assert len(refused) == 3
    assert report.interrupted == (run.id,)
    assert len(report.queued) == 2


class Slow(MemoryStore):
    """A store in which an append takes as long as it is told to."""

    append_seconds = 0.0

    async def append(self, claim, **options):
        with trio.CancelScope(shield=True):
            await trio.sleep(self.append_seconds)
        await super().append(claim, **options)


async def test_a_drain_gives_up_on_an_inbox_from_which_nothing_is_taken(autojump_clock, sleeper):
    store = Slow()
    limits = SupervisorLimits(inbox_commands_max=1)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.submit(1000)
        await wait_until(lambda: sleeper.running)
        store.append_seconds = 60
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.append, "note", 1)
            await trio.sleep(1)
            nursery.start_soon(session.append, "note", 2)
            await trio.sleep(1)
            report = await supervisor.drain(timeout_seconds=5)
            drained_at = trio.current_time()
            store.append_seconds = 0

    assert report.interrupted == ()
    assert 7 <= drained_at < 8


@pytest.mark.promise(13)
async def test_a_drain_without_end_waits_for_as_long_as_it_takes(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        runs = [await session.submit(10_000) for _ in range(2)]
        report = await supervisor.drain(timeout_seconds=math.inf, queued="finish")

    assert report.completed == tuple(run.id for run in runs)


async def interrupted(store, sleeper, names, seconds):
    """Leave sessions with two unfinished runs each; returns the runs' ids by session."""
    runs = {}
    async with open_supervisor(store, sleeper, limits=SupervisorLimits(drain_seconds=0)) as before:
        for name in names:
            session = await before.session(name)
            submitted = [await session.submit(seconds, on_interrupt="requeue") for _ in range(2)]
            runs[name] = [run.id for run in submitted]
    return runs


@pytest.mark.promise(13)
async def test_a_drain_that_finishes_what_is_queued_waits_for_recovery_until_its_deadline(
    autojump_clock, sleeper
):
    store = MemoryStore()
    runs = await interrupted(store, sleeper, ["one", "two"], 100_000)
    limits = SupervisorLimits(sessions_resident_max=1)
    refused = []
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        await wait_until(lambda: sleeper.running)
        begun_at = trio.current_time()

        async def submit_meanwhile():
            await trio.sleep(5)
            (name,) = supervisor.residents.ids()
            session = await supervisor.session(name)
            with pytest.raises(AdmissionClosed):
                await session.submit(1)
            refused.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit_meanwhile)
            report = await supervisor.drain(timeout_seconds=10, queued="finish")
        seconds = trio.current_time() - begun_at
        await trio.sleep(1000)
        running = sleeper.running

    assert seconds == pytest.approx(10, abs=0.1)
    assert len(refused) == 1
    assert {*report.requeued, *report.queued} == {run for two in runs.values() for run in two}
    assert len(report.requeued) == 1
    assert running == 0


@pytest.mark.promise(13)
async def test_a_drain_finishes_what_is_queued_in_sessions_that_are_still_to_be_recovered(
    autojump_clock, sleeper
):
    store = MemoryStore()
    runs = await interrupted(store, sleeper, ["one", "two", "three"], 10)
    limits = SupervisorLimits(sessions_resident_max=1)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        report = await supervisor.drain(timeout_seconds=55, queued="finish")
        infos = [info async for info in supervisor.sessions()]

    # five of the six runs, ten seconds each, one after the other
    everything = {run for two in runs.values() for run in two}
    assert len(report.completed) == 5
    assert len(report.requeued) == 1
    assert {*report.completed, *report.requeued} == everything
    assert sum(info.runs.get("completed", 0) for info in infos) == 5


@pytest.mark.promise(13)
async def test_a_session_that_is_recovered_behind_a_drain_s_deadline_starts_nothing(
    autojump_clock, sleeper
):
    store = MemoryStore()
    await interrupted(store, sleeper, ["one", "two", "three"], 100)
    started = []

    async def first_is_stubborn(request, context):
        started.append(request.session_id)
        with trio.CancelScope(shield=len(started) == 1):
            await trio.sleep(100)

    limits = SupervisorLimits(sessions_resident_max=2)
    async with open_supervisor(store, first_is_stubborn, limits=limits) as supervisor:
        report = await supervisor.drain(timeout_seconds=10, queued="finish")
        await trio.sleep(1000)

    assert len(report.not_stopped) == 1
    assert len(started) == 2


async def test_a_drained_session_admits_again_when_it_is_resumed(autojump_clock, sleeper):
    limits = SupervisorLimits(idle_seconds=10)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        await supervisor.drain(timeout_seconds=0)
        await session.resume()
        outcome = await session.execute(2)
        await trio.sleep(100)  # out of memory and back
        later = await session.execute(3)
        with pytest.raises(AdmissionClosed):
            await other.submit(1)

    assert (outcome.state, later.state) == ("completed", "completed")


async def test_a_session_drained_by_itself_stays_so_while_it_is_out_of_memory(
    autojump_clock, sleeper
):
    store = MemoryStore()
    limits = SupervisorLimits(idle_seconds=10)
    async with open_supervisor(store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        await session.drain()
        await trio.sleep(100)
        with pytest.raises(AdmissionClosed):
            await session.submit(1)
        elsewhere = await other.execute(1)

    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(1)

    assert (elsewhere.state, outcome.state) == ("completed", "completed")


async def test_an_agent_that_does_not_stop_is_in_the_report_and_leaving_waits_for_it(
    autojump_clock,
):
    async def stubborn(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    limits = SupervisorLimits(cancel_grace_seconds=5)
    async with open_supervisor(MemoryStore(), stubborn, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await trio.sleep(1)
        report = await supervisor.drain(timeout_seconds=10)
        drained_at = trio.current_time()
        status = await session.status()
        outcome = await run.wait()
        events = await session.events()

    assert report.not_stopped == (run.id,)
    assert drained_at == pytest.approx(16, abs=0.1)
    assert status.unresponsive == (run.id,)
    assert outcome.state == "completed"
    (told,) = [event for event in events if event.type == "error_occurred"]
    assert (told.run_id, told.data["code"]) == (run.id, "agent_unresponsive")
    assert_history(events)


@pytest.mark.parametrize("options", [{"timeout_seconds": -1}, {"queued": "drop"}], ids=str)
async def test_a_drain_with_bad_arguments_closes_nothing(autojump_clock, sleeper, options):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(InvalidArgument):
            await supervisor.drain(**options)
        with pytest.raises(InvalidArgument):
            await session.drain(**options)
        outcome = await session.execute(1)

    assert outcome.state == "completed"
