"""How runs end, and who is told: guarantees 5, 6, 13 and 14."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from moorage.runtime import (
    AdmissionClosed,
    RunCancelled,
    SessionQuarantined,
    StoreFailed,
    SupervisorLimits,
    UnknownRun,
    open_reader,
    open_supervisor,
)
from moorage.stores import MemoryStore

from tests.acceptance.durable_stores import DURABLE

PATIENCE_SECONDS = 120
LEAVE_AT_ONCE = SupervisorLimits(drain_seconds=0)


# ---- 5 ----


@pytest.mark.promise(5)
async def test_5_a_run_is_awaited_by_id_before_during_after_and_after_a_restart(open_store, works):
    outcomes = []
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        run = await session.submit("good")

        async def wait():
            outcomes.append(await session.wait(run.id))

        with pytest.raises(trio.TooSlowError):
            await run.wait(timeout_seconds=0.01)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.lowlevel.checkpoint()
            await session.resume()
        await wait()
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(UnknownRun):
            await session.wait("run_unknown")
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        await wait()
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(UnknownRun):
            await session.wait("run_unknown")

    assert len(outcomes) == 5
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0].output == "good"


@pytest.mark.promise(5)
async def test_5_while_a_run_is_running_several_tasks_await_it_and_a_timeout_ends_only_the_wait(
    open_store,
):
    begun, may_end, outcomes = trio.Event(), trio.Event(), []

    async def agent(request, context):
        begun.set()
        await may_end.wait()
        return request.input

    async with open_supervisor(open_store(), agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("good")
        await begun.wait()

        async def wait():
            outcomes.append(await session.wait(run.id))

        with pytest.raises(trio.TooSlowError):
            await session.wait(run.id, timeout_seconds=0)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            before = list(outcomes)
            may_end.set()

    assert before == []
    assert [(outcome.state, outcome.output) for outcome in outcomes] == [("completed", "good")] * 2


# ---- 6 ----


@pytest.mark.promise(6)
async def test_6_a_queued_run_that_is_cancelled_never_reaches_the_agent(open_store, works):
    async with open_supervisor(open_store(), works, limits=LEAVE_AT_ONCE) as supervisor:
        session = await supervisor.session("s")
        running, queued = await session.submit("hang"), await session.submit("good")
        cancelled = [await queued.cancel(), await queued.cancel()]
        await running.cancel()
        last = await session.execute("good")
        outcome = await queued.wait()

    assert cancelled == [True, False]
    assert outcome.state == "cancelled"
    with pytest.raises(RunCancelled):
        outcome.unwrap()
    assert works.attempts_of(queued) == []
    assert last.state == "completed"


@pytest.mark.promise(6)
@pytest.mark.parametrize(
    ("durable", "ends"),
    # what an agent does is the same on every store
    [("journal", "returns"), ("journal", "raises"), *((kind, "crash") for kind in DURABLE)],
    indirect=["durable"],
)
async def test_6_once_a_request_to_cancel_is_durable_the_outcome_is_cancelled(durable, ends):
    begun, may_end = trio.Event(), trio.Event()

    async def agent(request, context):
        begun.set()
        with trio.CancelScope(shield=True):
            await may_end.wait()
        if ends == "raises":
            raise RuntimeError("boom")
        return "too late"

    async with open_supervisor(durable.open_store(), agent) as supervisor:
        session = await supervisor.session("s")
        run, queued = await session.submit("x"), await session.submit("y")
        await begun.wait()
        assert await run.cancel()
        status = await session.status()
        found = durable.after_crash(random.Random(3).randrange)
        await queued.cancel()
        may_end.set()
        outcome = await run.wait()
    if ends == "crash":
        async with open_supervisor(found.open_store(), agent) as supervisor:
            session = await supervisor.session("s")
            outcome = await session.wait(run.id)

    # the slot is the run's until its task has ended
    assert (status.cancelling, status.queued) == ((run.id,), (queued.id,))
    assert (outcome.state, outcome.output) == ("cancelled", None)


@pytest.mark.promise(6)
async def test_6_a_run_whose_time_is_over_has_timed_out_whatever_the_agent_returns(autojump_clock):
    async def agent(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        return "too late"

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.execute(1, timeout_seconds=2)

    assert (outcome.state, outcome.output) == ("timed_out", None)


@pytest.mark.promise(6)
async def test_6_an_agent_that_shields_itself_is_reported_and_keeps_its_slot(autojump_clock):
    async def agent(request, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    limits = SupervisorLimits(cancel_grace_seconds=5)
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run, queued = await session.submit(1), await session.submit(2)
        await trio.sleep(1)
        await run.cancel()
        await trio.sleep(6)
        status = await session.status()
        (told,) = await session.events(types={"error_occurred"})
        report = await session.drain(timeout_seconds=0)

    assert status.unresponsive == report.not_stopped == (run.id,)
    assert status.queued == (queued.id,)
    assert (told.data["code"], told.run_id) == ("agent_unresponsive", run.id)


# ---- 13 ----


@pytest.mark.promise(13)
@pytest.mark.parametrize("queued", ["keep", "finish"])
async def test_13_a_drain_closes_admission_and_names_every_run(autojump_clock, sleeper_of, queued):
    async with open_supervisor(MemoryStore(), sleeper_of) as supervisor:
        one, two = await supervisor.session("one"), await supervisor.session("two")
        quick, waiting = await one.submit(5), await one.submit(5)
        slow, again = await two.submit(100), await two.submit(100, on_interrupt="requeue")
        await two.configure(slots=2)
        await trio.sleep(1)
        refusals = []

        async def submit():
            for session in (one, two):
                try:
                    await session.submit(1)
                except AdmissionClosed as error:
                    refusals.append(error.reason)

        async with trio.open_nursery() as nursery:

            async def submit_meanwhile():
                await trio.sleep(0.5)
                await submit()

            nursery.start_soon(submit_meanwhile)
            report = await supervisor.drain(timeout_seconds=20, queued=queued)
        await submit()
        statuses = [await one.status(), await two.status()]

    kept = queued == "keep"
    assert refusals == ["draining"] * 4
    assert report.completed == ((quick.id,) if kept else (quick.id, waiting.id))
    assert report.queued == ((waiting.id,) if kept else ())
    assert (report.interrupted, report.requeued) == ((slow.id,), (again.id,))
    assert report.not_stopped == ()
    assert [status.queued for status in statuses] == [report.queued, report.requeued]


@pytest.mark.promise(13)
@pytest.mark.parametrize("queued", ["keep", "finish"])
async def test_13_what_a_drain_reports_is_what_the_next_process_finds(
    mock_clock, open_store, queued
):
    """Time passes slowly, since something in a store may wait for it, and jumps over the deadline
    when the test says so: not further than a lease."""
    mock_clock.rate = 0.2
    draining, works = trio.Event(), []

    async def agent(request, context):
        works.append(request.run_id)
        await (await trio.sleep_forever() if request.input == "slow" else draining.wait())

    async with open_supervisor(open_store(), agent) as supervisor:
        one, two = await supervisor.session("one"), await supervisor.session("two", slots=2)
        quick, waiting = await one.submit("quick"), await one.submit("quick")
        slow, again = await two.submit("slow"), await two.submit("slow", on_interrupt="requeue")
        while len(works) < 3:
            await trio.lowlevel.checkpoint()
        reports = []

        async def drain():
            reports.append(await supervisor.drain(timeout_seconds=5, queued=queued))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(AdmissionClosed):
                await two.submit("quick")
            draining.set()
            for run in (quick, waiting) if queued == "finish" else (quick,):
                await run.wait()
            mock_clock.jump(5)
        (report,) = reports
    async with open_reader(open_store()) as reader:
        statuses = [await reader.session(name).status() for name in ("one", "two")]
        ended = [
            (await reader.session(run.session_id).wait(run.id)).state
            for run in (quick, waiting, slow)
            if run.id not in report.queued
        ]

    kept = queued == "keep"
    assert report.completed == ((quick.id,) if kept else (quick.id, waiting.id))
    assert report.queued == ((waiting.id,) if kept else ())
    assert (report.interrupted, report.requeued) == ((slow.id,), (again.id,))
    assert report.not_stopped == ()
    assert ended == ["completed"] * len(report.completed) + ["interrupted"]
    assert [status.queued for status in statuses] == [report.queued, report.requeued]
    assert [status.running for status in statuses] == [(), ()]


@pytest.fixture
def sleeper_of():
    async def sleep_for_input(request, context):
        await trio.sleep(request.input)

    return sleep_for_input


# ---- 14 ----


@pytest.mark.promise(14)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("x"), "agent_failed"),
        (SystemExit(1), "agent_exited"),
        (ExceptionGroup("x", [OSError()]), "agent_failed"),
    ],
)
async def test_14_a_crashing_agent_harms_no_other_run(open_store, works, error, code):
    async def agent(request, context):
        if request.input == "crash":
            raise error
        return await works(request, context)

    async with open_supervisor(open_store(), agent, limits=LEAVE_AT_ONCE) as supervisor:
        session, other = await supervisor.session("s"), await supervisor.session("other")
        elsewhere = await other.submit("hang")
        crashed = await session.execute("crash")
        after = await session.execute("good")
        state = await elsewhere.status()

    assert (crashed.state, after.state, state) == ("failed", "completed", "running")
    assert crashed.error.code == code


@pytest.mark.promise(14)
async def test_14_a_keyboard_interrupt_propagates(autojump_clock):
    async def agent(request, context):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("s")
            await session.execute(None)


class CrashingStore(MemoryStore):
    """Raises what is no store's error for every append to one session but a quarantine."""

    async def append(self, claim, *, expected_seq, records, info=None):
        if claim.session_id == "crashing" and records[0].type not in (
            "session_opened",
            "session_quarantined",
            *self.allowed,
        ):
            raise ZeroDivisionError
        await super().append(claim, expected_seq=expected_seq, records=records, info=info)

    allowed: tuple[str, ...] = ("session_paused", "run_submitted")


@pytest.mark.promise(14)
async def test_14_a_worker_that_crashes_too_often_is_quarantined_and_can_be_lifted(
    autojump_clock, works
):
    store = CrashingStore()
    async with open_supervisor(store, works) as supervisor:
        session, other = await supervisor.session("crashing"), await supervisor.session("other")
        await session.pause()
        queued = await session.submit("good")
        for _ in range(8):
            with pytest.raises((StoreFailed, SessionQuarantined)):
                await session.append("note", {})
            await trio.sleep(1)
        with pytest.raises(SessionQuarantined):
            await session.submit("good")
        with pytest.raises(SessionQuarantined):
            await queued.wait()
        unharmed = await other.execute("good")
        info = await session.info()
        del CrashingStore.append
        await supervisor.unquarantine("crashing")
        await session.resume()
        outcome = await queued.wait()

    assert (info.state, info.runs) == ("quarantined", {"queued": 1})
    assert unharmed.state == "completed"
    assert outcome.state == "completed"
