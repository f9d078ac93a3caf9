from __future__ import annotations

import pytest
import trio
from moorage.runtime import (
    AdmissionClosed,
    RunInterrupted,
    StoreFailed,
    SupervisorLimits,
    UnknownSession,
    open_reader,
    open_supervisor,
)
from moorage.runtime.testing import (
    assert_history,
    wait_until,
)
from moorage.stores import MemoryStore

from tests.runtime.conftest import FailingStore


def types_of(events):
    return [event.type for event in events]


def has_type(type):
    return lambda records: any(record.type == type for record in records)


async def test_leaving_ends_although_the_disk_stays_full(autojump_clock, failing_store, sleeper):
    with trio.fail_after(600):
        async with open_supervisor(failing_store, sleeper) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(1000)
            await wait_until(lambda: sleeper.running)
            failing_store.broken = True

    assert sleeper.running == 0
    failing_store.broken = False
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.wait(run.id, timeout_seconds=60)
    assert outcome.state == "interrupted"


@pytest.mark.parametrize("written", [False, True])
async def test_after_a_write_of_unknown_outcome_a_keyed_retry_makes_one_run(
    autojump_clock, failing_store, sleeper, written
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        failing_store.lose_answer(written=written)

        with pytest.raises(StoreFailed) as unknown:
            await session.submit(1, key="k")
        run = await session.submit(1, key="k")
        again = await session.submit(1, key="k")
        await run.wait()
        events = await session.events()

    assert unknown.value.written is None
    assert again.id == run.id
    assert types_of(events).count("run_submitted") == 1
    assert_history(events)


async def test_after_a_write_of_unknown_outcome_the_worker_is_rebuilt_and_the_queue_goes_on(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        running = await session.submit(1000)
        queued = await session.submit(1)
        requeued_later = await session.submit(2)
        failing_store.lose_answer(written=False)
        with pytest.raises(StoreFailed):
            await session.append("note", {})

        outcomes = [await run.wait() for run in (running, queued, requeued_later)]
        events = await session.events()

    assert [outcome.state for outcome in outcomes] == ["interrupted", "completed", "completed"]
    assert "note" not in types_of(events)
    assert_history(events)


async def test_a_killed_run_task_ends_its_run(autojump_clock):
    """Something from outside cancels the agent's task, as a defect of ours would."""
    scopes = []

    async def agent(request, context):
        scopes.append(context.scope)
        await trio.sleep_forever()

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await wait_until(lambda: scopes)
        scopes[0].cancel()
        outcome = await run.wait()

    assert outcome.state == "interrupted"
    with pytest.raises(RunInterrupted):
        outcome.unwrap()


async def test_poison_is_told_to_everybody_while_an_agent_still_ignores_its_cancellation(
    autojump_clock, failing_store, sleeper
):
    async def stubborn(request, context):
        if request.input == "stubborn":
            with trio.CancelScope(shield=True):
                await trio.sleep(500)
        await sleeper(request, context)

    async with open_supervisor(failing_store, stubborn) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        await session.submit("stubborn")
        elsewhere = await other.submit(1000)
        await wait_until(lambda: sleeper.running)
        told_at = []

        async def ask(do):
            with pytest.raises(StoreFailed):
                await do()
            told_at.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            failing_store.fail_sync()
            nursery.start_soon(ask, lambda: session.append("note", {}))
            nursery.start_soon(ask, lambda: session.submit(1))
            nursery.start_soon(ask, elsewhere.wait)
            await trio.sleep(1)
            nursery.start_soon(ask, session.status)

    assert len(told_at) == 4
    assert max(told_at) < 5
    assert sleeper.running == 0


async def sleep_shielded(request, context):
    """An agent that ignores its cancellation for as many seconds as its input says."""
    with trio.CancelScope(shield=True):
        await trio.sleep(request.input)


@pytest.mark.promise(13)
async def test_a_worker_that_waits_for_an_agent_that_does_not_stop_answers_all_the_same(
    autojump_clock, failing_store
):
    limits = SupervisorLimits(cancel_grace_seconds=5)
    async with open_supervisor(failing_store, sleep_shielded, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(400)
        queued = await session.submit(0)
        await trio.sleep(1)
        failing_store.lose_answer(written=False)
        with pytest.raises(StoreFailed):
            await session.append("note", {})
        with pytest.raises(AdmissionClosed, match=run.id):
            await session.status()
        answered_at = trio.current_time()
        report = await session.drain(timeout_seconds=1_000)
        reported_at = trio.current_time()
        await trio.sleep(500)
        status = await session.status()
        await session.resume()
        await queued.wait()

    assert status.draining
    assert 5 < answered_at < 7
    assert reported_at == answered_at
    assert (report.not_stopped, report.queued) == ((run.id,), (queued.id,))


async def test_who_asks_a_session_that_is_being_deleted_does_not_wait_for_its_agent(
    autojump_clock,
):
    async with open_supervisor(MemoryStore(), sleep_shielded) as supervisor:
        session = await supervisor.session("s")
        await session.submit(400)
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.delete_session, "s")
            await trio.sleep(1)
            with pytest.raises(AdmissionClosed):
                await session.status()
            answered_at = trio.current_time()

    assert answered_at < 60


async def test_an_agent_may_delete_its_own_session(autojump_clock):
    deleting = []

    async def agent(request, context):
        deleting.append(context.session_id)
        await supervisor.delete_session(context.session_id)

    with trio.fail_after(60):
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(None)
            with pytest.raises(UnknownSession):
                await run.wait()
            left = [info.id async for info in supervisor.sessions()]

    assert (deleting, left) == (["s"], [])


async def test_an_agent_that_drains_its_own_session_is_interrupted_at_the_deadline(autojump_clock):
    async def agent(request, context):
        await session.drain(timeout_seconds=30)

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        outcome = await run.wait(timeout_seconds=60)
        events = await session.events()

    assert outcome.state == "interrupted"
    assert "error_occurred" not in types_of(events), "it is not unresponsive"


async def test_a_drain_can_be_given_up_and_goes_on(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(1_000)
        with trio.move_on_after(1) as given_up:
            await session.drain(timeout_seconds=20)
        gone_at = trio.current_time()
        outcome = await run.wait()
        ended_at = trio.current_time()

    assert given_up.cancelled_caught
    assert gone_at < 2
    assert outcome.state == "interrupted"
    assert 20 <= ended_at < 22


async def test_leaving_and_opening_do_not_hang_while_a_recovery_cannot_be_written(
    autojump_clock, failing_store, sleeper
):
    failing_store.only = has_type("run_interrupted")
    failing_store.fail_sync()
    with pytest.raises(KeyError):
        async with open_supervisor(failing_store, sleeper) as supervisor:
            run = await (await supervisor.session("s")).submit(1_000)
            await trio.sleep(1)
            raise KeyError
    failing_store.poison, failing_store.broken = None, True

    with trio.fail_after(120):
        async with open_supervisor(failing_store, sleeper) as supervisor:
            with pytest.raises(StoreFailed) as refused:
                await supervisor.session("s")
    failing_store.broken = False
    async with open_supervisor(failing_store, sleeper) as supervisor:
        outcome = await (await supervisor.session("s")).wait(run.id)

    assert refused.value.written is False
    assert outcome.state == "interrupted"


class RecoveredLate(FailingStore):
    """While ``late``, a supervisor that opens sees who has work only when one that drains looks for
    it too, and to claim takes longer than that."""

    late = False
    listings = 0

    async def sessions(self, *, needs_worker=False, **which):
        if self.late and needs_worker:
            self.listings += 1
            if self.listings == 1:
                await wait_until(lambda: self.listings == 2)
            else:
                await trio.sleep(1)
        async for info in super().sessions(needs_worker=needs_worker, **which):
            yield info

    async def claim(self, session_id):
        await trio.sleep(5 if self.late else 0)
        return await super().claim(session_id)


async def test_who_leaves_while_a_session_is_recovered_does_not_wait_for_it_to_be_idle(
    autojump_clock, sleeper
):
    """The worker is asked to leave for good before its first turn, which records something."""
    store = RecoveredLate()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        await session.submit(1000)
        await wait_until(lambda: sleeper.running)
        store.broken = True
    store.broken, store.late = False, True
    began = trio.current_time()

    async with open_supervisor(store, sleeper):
        pass

    assert trio.current_time() - began < 60
    async with open_reader(store) as reader:
        assert types_of(await reader.session("s").events(after=3)) == [
            "session_recovered",
            "run_interrupted",
        ]
