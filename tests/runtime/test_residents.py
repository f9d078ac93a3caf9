from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from moorage.runtime import (
    CorruptLog,
    SessionChanged,
    SessionQuarantined,
    StoreFailed,
    SupervisorLimits,
    open_supervisor,
)
from moorage.runtime.testing import VirtualClock, assert_history, wait_until
from moorage.stores import MemoryStore


def resident_ids(supervisor):
    return set(supervisor.residents.ids())


async def test_a_session_with_nothing_to_do_leaves_memory_and_writes_nothing(
    autojump_clock, sleeper
):
    limits = SupervisorLimits(idle_seconds=60)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.execute(1)
        before = await session.events()
        await trio.sleep(59)
        still_there = resident_ids(supervisor)
        await trio.sleep(2)
        gone = resident_ids(supervisor)
        after = await session.events()

    assert still_there == {"s"}
    assert gone == set()
    assert after == before


async def test_handles_waits_and_subscriptions_survive_passivation(autojump_clock, sleeper):
    limits = SupervisorLimits(idle_seconds=10)
    seen = []
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")

        async def follow():
            async with session.subscribe() as events:
                async for event in events:
                    seen.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await session.execute(1)
            await trio.sleep(100)
            assert not resident_ids(supervisor)
            run = await session.submit(2)
            outcome = await run.wait()
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
        stored = await session.events()

    assert outcome.state == "completed"
    assert seen == stored


async def test_a_parked_run_does_not_keep_its_session_in_memory(autojump_clock):
    async def agent(request, context):
        return await context.park("question")

    limits = SupervisorLimits(idle_seconds=10)
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None, timeout_seconds=3600)
        await trio.sleep(60)
        resident = resident_ids(supervisor)
        await session.answer(run.id, "question", 42)
        outcome = await run.wait()

    assert resident == set()
    assert outcome.output == 42


async def test_a_wait_with_a_limit_of_time_does_not_keep_its_session_in_memory(autojump_clock):
    async def agent(request, context):
        return await context.park("n", timeout_seconds=request.input, default="nobody")

    clock, ended_at = VirtualClock(autojump_clock), {}
    limits = SupervisorLimits(idle_seconds=10, sessions_resident_max=2)
    options = {"limits": limits, "time_ns": clock.time_ns}
    async with open_supervisor(MemoryStore(), agent, **options) as supervisor:

        async def wait(session, run):
            outcome = await session.wait(run.id, timeout_seconds=100_000)
            ended_at[session.id] = trio.current_time(), outcome.output

        async with trio.open_nursery() as nursery:
            for number in range(5):  # more than there is room for, and all wait for hours
                session = await supervisor.session(f"s{number}")
                nursery.start_soon(wait, session, await session.submit(3_600 * (number + 1)))
            await trio.sleep(60)
            resident = resident_ids(supervisor)
            answered = await supervisor.session("s3")
            (run_id,) = (await answered.status()).waiting
            await answered.answer(run_id, "n", "somebody")
        passed = trio.current_time()
        await trio.sleep(60)
        alarms = len(supervisor.residents._alarm_of)

    assert resident == set()
    assert ended_at.pop("s3")[1] == "somebody"
    assert [output for _, output in ended_at.values()] == ["nobody"] * 4
    for name, (time, _) in ended_at.items():
        assert time == pytest.approx(3_600 * (int(name[1]) + 1), abs=15)
    assert passed == pytest.approx(5 * 3_600, abs=15)
    assert alarms == 0


async def test_a_wait_that_was_answered_wakes_nobody(autojump_clock):
    async def agent(request, context):
        return await context.park("n", timeout_seconds=100)

    limits = SupervisorLimits(idle_seconds=10)
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit(None)
        await trio.sleep(20)
        away = resident_ids(supervisor)
        await session.answer(run.id, "n", 1)
        await trio.sleep(79)
        awake = set()
        for _ in range(5):
            await trio.sleep(1)
            awake |= resident_ids(supervisor)

    assert (away, awake) == (set(), set())


async def test_a_queue_limit_of_time_keeps_its_session_in_memory(autojump_clock, sleeper):
    limits = SupervisorLimits(idle_seconds=10)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        run = await session.submit(1, queue_seconds_max=100)
        outcome = await run.wait(timeout_seconds=200)

    assert outcome.state == "timed_out"


async def test_an_idle_session_makes_room_for_another_one(autojump_clock, sleeper):
    limits = SupervisorLimits(sessions_resident_max=2, idle_seconds=3600)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        for name in "abcdef":
            session = await supervisor.session(name)
            outcome = await session.execute(0)
            assert outcome.state == "completed"
            assert len(supervisor.residents) <= 2
        passed = trio.current_time()

    assert passed < 60


async def test_opening_waits_while_no_resident_session_is_idle(autojump_clock, sleeper):
    limits = SupervisorLimits(sessions_resident_max=2)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        for name in "ab":
            await (await supervisor.session(name)).submit(50)
        with trio.move_on_after(20) as waiting:
            await supervisor.session("c")
        session = await supervisor.session("c")
        opened_at = trio.current_time()
        outcome = await session.execute(1)

    assert waiting.cancelled_caught
    assert 49 < opened_at < 52
    assert outcome.state == "completed"


async def test_many_callers_that_wait_for_room_all_get_in(autojump_clock, sleeper):
    limits = SupervisorLimits(sessions_resident_max=3)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        outcomes = []

        async def client(number):
            session = await supervisor.session(f"s{number}")
            outcomes.append((await session.execute(1)).state)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(client, number)

    assert outcomes == ["completed"] * 50


async def test_two_callers_that_open_one_session_get_one(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(supervisor.session, "s")
        session = await supervisor.session("s")
        events = await session.events()
        resident = len(supervisor.residents)

    assert [event.type for event in events] == ["session_opened"]
    assert resident == 1


async def test_a_worker_that_crashes_is_built_again_from_the_log(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        other = await supervisor.session("other")
        elsewhere = await other.submit(100)
        run = await session.submit(100)
        queued = await session.submit(1)
        failing_store.crash()
        with pytest.raises(StoreFailed):
            await session.append("note", {})
        outcomes = [await run.wait(), await queued.wait(), await elsewhere.wait()]
        events = await session.events()

    assert [outcome.state for outcome in outcomes] == ["interrupted", "completed", "completed"]
    assert_history(events)


async def crash_until_quarantined(failing_store, session):
    failing_store.crashing = session.id
    while (await session.info()).state != "quarantined":
        with suppress(StoreFailed, SessionQuarantined):
            await session.append("note", {})
        await trio.sleep(0.1)
    failing_store.crashing = None


async def test_a_crash_loop_is_quarantined_and_its_queue_goes_on_when_that_is_lifted(
    autojump_clock, failing_store, sleeper
):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s", tags={"a": "b"})
        other = await supervisor.session("other")
        running = await session.submit(1000)
        queued = await session.submit(1)

        await crash_until_quarantined(failing_store, session)
        with pytest.raises(SessionQuarantined) as refused:
            await session.submit(1)
        with pytest.raises(SessionQuarantined):
            await session.cancel(queued.id)
        with pytest.raises(SessionQuarantined):
            await session.status()
        info = await session.info()
        reopened = await supervisor.session("s")
        unharmed = await other.execute(1)
        lifted = await supervisor.unquarantine("s")
        lifted_again = await supervisor.unquarantine("s")
        outcomes = [await running.wait(), await queued.wait()]
        events = await session.events(limit=1000)

    assert "RuntimeError: a defect" in refused.value.reason
    assert (info.state, info.tags) == ("quarantined", {"a": "b"})
    assert reopened.id == "s"
    assert (lifted, lifted_again) == (True, False)
    assert unharmed.state == "completed"
    assert [outcome.state for outcome in outcomes] == ["interrupted", "completed"]
    assert_history(events)


async def test_who_waits_for_a_run_learns_of_the_quarantine(autojump_clock, failing_store, sleeper):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        await session.submit(1000)
        queued = await session.submit(1)
        caught = []

        async def wait():
            try:
                await queued.wait(timeout_seconds=3000)
            except SessionQuarantined:
                caught.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await crash_until_quarantined(failing_store, session)
            quarantined_at = trio.current_time()
        with pytest.raises(SessionQuarantined):
            await queued.wait(timeout_seconds=3000)

    (caught_at,) = caught
    assert caught_at < quarantined_at + 1


async def test_a_quarantine_outlives_the_process(autojump_clock, failing_store, sleeper):
    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        queued = await session.submit(1)
        await crash_until_quarantined(failing_store, session)

    async with open_supervisor(failing_store, sleeper) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(SessionQuarantined):
            await session.submit(1)
        await supervisor.unquarantine("s")
        status = await session.status()
        await session.resume()
        outcome = await session.wait(queued.id)

    assert status.state == "paused"
    assert outcome.state == "completed"


async def test_crashes_far_apart_are_forgiven(autojump_clock, failing_store, sleeper):
    limits = SupervisorLimits(restarts_max=2, restart_period_seconds=60)
    async with open_supervisor(failing_store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        for _ in range(10):
            failing_store.crash()
            with pytest.raises(StoreFailed):
                await session.append("note", {})
            await trio.sleep(100)
        outcome = await session.execute(1)

    assert outcome.state == "completed"


async def test_a_session_that_crashes_before_it_exists_harms_nobody(
    autojump_clock, failing_store, sleeper
):
    limits = SupervisorLimits(restarts_max=0)
    async with open_supervisor(failing_store, sleeper, limits=limits) as supervisor:
        other = await supervisor.session("other")
        failing_store.crash()
        with pytest.raises(StoreFailed):
            await supervisor.session("s")
        outcome = await other.execute(1)
        session = await supervisor.session("s")
        later = await session.execute(1)

    assert (outcome.state, later.state) == ("completed", "completed")


async def test_a_quarantine_that_cannot_be_recorded_harms_nobody(
    autojump_clock, failing_store, sleeper
):
    limits = SupervisorLimits(restarts_max=0)
    async with open_supervisor(failing_store, sleeper, limits=limits) as supervisor:
        other = await supervisor.session("other")
        session = await supervisor.session("s")
        failing_store.crash()
        failing_store.crash()
        with pytest.raises(StoreFailed):
            await session.append("note", {})
        await trio.sleep(10)
        outcome = await other.execute(1)
        later = await session.execute(1)

    assert (outcome.state, later.state) == ("completed", "completed")


async def test_a_session_whose_log_cannot_be_replayed_harms_nobody(autojump_clock, sleeper):
    store = MemoryStore()
    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("damaged")
        other = await supervisor.session("other")
        await session.execute(0)
        await other.pause()
        run = await other.submit(1)
    # the first event is gone, so that the others cannot follow
    log = store._content.logs["damaged"]
    log._bodies[0] = log._bodies[1]

    async with open_supervisor(store, sleeper) as supervisor:
        with pytest.raises(CorruptLog):
            await supervisor.session("damaged")
        other = await supervisor.session("other")
        await other.resume()
        outcome = await run_outcome(other, run.id)

    assert outcome.state == "completed"


async def run_outcome(session, run_id):
    return await session.wait(run_id, timeout_seconds=60)


async def test_a_lost_lease_stops_the_worker_and_the_other_node_takes_over(autojump_clock, sleeper):
    clock = VirtualClock(autojump_clock)
    store = MemoryStore(lease_seconds=30)
    peer = store.peer()
    async with (
        open_supervisor(store, sleeper, time_ns=clock.time_ns) as first,
        open_supervisor(peer, sleeper, time_ns=clock.time_ns) as second,
    ):
        mine = await first.session("s")
        run = await mine.submit(1000)
        theirs = await second.session("s")
        remote = await theirs.submit(1)
        status = await theirs.status()
        assert status.running == (run.id,)
        assert remote.id in status.queued
        assert len(second.residents) == 0

        # the first node's lease is taken from it, as if it had been away for too long
        store._content.leases["s"].expires_at = 0
        held_by_second = await second.session("s")
        outcome = await held_by_second.wait(run.id, timeout_seconds=60)
        later = await theirs.wait(remote.id, timeout_seconds=60)
        await wait_until(lambda: sleeper.running == 0)
        mine_again = await mine.execute(2, wait_seconds=100)
        events = await mine.events()
        residents = (len(first.residents), len(second.residents))

    assert (outcome.state, later.state, mine_again.state) == (
        "interrupted",
        "completed",
        "completed",
    )
    assert residents == (0, 1)
    assert_history(events)


async def test_a_lease_is_renewed_for_as_long_as_the_worker_lives(autojump_clock, sleeper):
    store = MemoryStore(lease_seconds=3)
    async with open_supervisor(store, sleeper) as first:
        mine = await first.session("s")
        run = await mine.submit(100)
        async with open_supervisor(store.peer(), sleeper) as second:
            theirs = await second.session("s")
            outcome = await theirs.wait(run.id)
            residents = len(second.residents)

    assert outcome.state == "completed"
    assert residents == 0


async def test_a_session_that_becomes_idle_makes_room_at_once_and_unharmed(autojump_clock, sleeper):
    limits = SupervisorLimits(sessions_resident_max=1, idle_seconds=3600)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        session = await supervisor.session("busy")
        run = await session.submit(5)
        await supervisor.session("other")
        opened_at = trio.current_time()
        outcome = await run.wait()
        states = {info.id: info.state async for info in supervisor.sessions()}

    assert 5 <= opened_at < 5.1
    assert outcome.state == "completed"
    assert states == {"busy": "open", "other": "open"}


async def test_a_quarantined_session_is_not_kept_when_its_deletion_is_refused(
    autojump_clock, failing_store, sleeper
):
    limits = SupervisorLimits(restarts_max=2)
    async with open_supervisor(failing_store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await crash_until_quarantined(failing_store, session)

        with pytest.raises(SessionChanged):
            await supervisor.delete_session("s", expected_seq=1)
        await trio.testing.wait_all_tasks_blocked()
        claims = failing_store.statistics().claims

    assert claims == 0


async def test_a_quarantined_session_can_be_deleted_and_used_again(
    autojump_clock, failing_store, sleeper
):
    limits = SupervisorLimits(restarts_max=2)
    async with open_supervisor(failing_store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s")
        await crash_until_quarantined(failing_store, session)
        state = (await session.info()).state

        deleted = await supervisor.delete_session("s")
        again = await supervisor.delete_session("s")
        session = await supervisor.session("s")
        outcome = await session.execute(1)

    assert (state, deleted, again) == ("quarantined", True, False)
    assert outcome.state == "completed"
