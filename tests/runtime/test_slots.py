from __future__ import annotations

import pytest
import trio
from moorage.runtime import InvalidArgument, StoreFailed, SupervisorLimits, open_supervisor
from moorage.runtime.testing import assert_fifo, assert_history, assert_slots, wait_until
from moorage.stores import MemoryStore


@pytest.mark.parametrize("slots", [0, -1, 1.5, "2", True, 10_001])
async def test_slots_out_of_range_are_refused_and_change_nothing(autojump_clock, sleeper, slots):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s", slots=2)
        with pytest.raises(InvalidArgument, match="slots"):
            await supervisor.session("s", slots=slots)
        with pytest.raises(InvalidArgument, match="slots"):
            await session.configure(slots=slots)
        status = await session.status()

    assert status.slots == 2


@pytest.mark.parametrize("slots", [1, 2, 7])
async def test_never_more_runs_than_slots_and_in_order_of_submission(
    autojump_clock, sleeper, slots
):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s", slots=slots)
        runs = [await session.submit(seconds) for seconds in (5, 1, 4, 1, 3, 2, 6, 1, 1, 8, 2)]
        await session.wait_idle()
        events = await session.events(limit=1000)

    assert sleeper.running_max == slots
    assert [request.run_id for request in sleeper.requests] == [run.id for run in runs]
    assert_history(events)
    assert_slots(events, slots)


async def test_with_two_slots_and_three_runs_two_start_and_the_third_when_one_ends(
    autojump_clock, sleeper
):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s", slots=2)
        runs = [await session.submit(seconds) for seconds in (10, 20, 30)]
        await wait_until(lambda: sleeper.running == 2)
        status = await session.status()
        await runs[0].wait()
        await trio.testing.wait_all_tasks_blocked()
        at = trio.current_time()
        later = await session.status()

    assert (status.running, status.queued) == ((runs[0].id, runs[1].id), (runs[2].id,))
    assert (later.running, later.queued) == ((runs[1].id, runs[2].id), ())
    assert at == pytest.approx(10, abs=0.1)


async def test_more_slots_take_effect_at_once_and_fewer_as_runs_end(autojump_clock, sleeper):
    async with open_supervisor(MemoryStore(), sleeper) as supervisor:
        session = await supervisor.session("s")
        for _ in range(9):
            await session.submit(10)
        await trio.sleep(1)
        running = [sleeper.running]
        await session.configure(slots=4)
        await trio.sleep(1)
        running.append(sleeper.running)
        await session.configure(slots=2)
        await trio.sleep(1)
        running.append(sleeper.running)
        await trio.sleep(10)
        running.append(sleeper.running)
        await session.wait_idle()
        events = await session.events(limit=1000)

    assert running == [1, 4, 4, 2]
    assert_history(events)


async def test_one_limit_over_all_sessions_makes_work_wait_and_fails_none(autojump_clock, sleeper):
    limits = SupervisorLimits(runs_running_max=3)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        runs = []
        for number in range(5):
            session = await supervisor.session(f"s{number}", slots=2)
            runs += [await session.submit(1) for _ in range(4)]
        outcomes = [await run.wait() for run in runs]
        permits = supervisor.statistics().runs

    assert {outcome.state for outcome in outcomes} == {"completed"}
    assert sleeper.running_max == 3
    assert (permits.in_use, permits.waiting, permits.limit) == (0, 0, 3)


async def test_a_session_with_a_hundred_queued_runs_does_not_starve_another(
    autojump_clock, sleeper
):
    limits = SupervisorLimits(runs_running_max=2)
    async with open_supervisor(MemoryStore(), sleeper, limits=limits) as supervisor:
        greedy = await supervisor.session("greedy", slots=10)
        modest = await supervisor.session("modest")
        for _ in range(100):
            await greedy.submit(1)
        await trio.sleep(0.5)
        waited = []
        for _ in range(5):
            begun = trio.current_time()
            await modest.execute(1)
            waited.append(trio.current_time() - begun)
        await greedy.wait_idle()
        events = await greedy.events(limit=1000)

    assert max(waited) < 4
    assert_fifo(events)


async def test_a_permit_comes_back_from_a_worker_that_is_gone(
    autojump_clock, failing_store, sleeper
):
    limits = SupervisorLimits(runs_running_max=2)
    async with open_supervisor(failing_store, sleeper, limits=limits) as supervisor:
        session = await supervisor.session("s", slots=2)
        other = await supervisor.session("other")
        for _ in range(4):
            await session.submit(100, on_interrupt="requeue", attempts_max=5)
        await trio.sleep(1)
        failing_store.crash()
        with pytest.raises(Exception, match="worker"):
            await session.append("note", {})
        await session.wait_idle()
        outcome = await other.execute(1)
        permits = supervisor.statistics().runs
        events = await session.events()

    assert outcome.state == "completed"
    assert permits.in_use == 0
    assert sleeper.running_max == 2
    assert_history(events)


async def test_an_agent_of_an_unknown_name_after_a_restart_fails_its_run_and_no_other(
    autojump_clock, sleeper
):
    store = MemoryStore()
    async with open_supervisor(store, {"old": sleeper, "default": sleeper}) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        gone = await session.submit(1, agent="old")
        other = await session.submit(2)

    async with open_supervisor(store, sleeper) as supervisor:
        session = await supervisor.session("s")
        await session.resume()
        outcomes = [await session.wait(run.id) for run in (gone, other)]
        events = await session.events()

    assert [outcome.state for outcome in outcomes] == ["failed", "completed"]
    assert outcomes[0].error.code == "agent_unknown"
    assert "'old'" in outcomes[0].error.message
    assert outcomes[0].started_at_ns is None
    assert_history(events)


@pytest.mark.promise(14)
async def test_a_worker_that_only_waits_for_its_agent_keeps_no_place_in_line(
    autojump_clock, failing_store
):
    async def agent(request, context):
        with trio.CancelScope(shield=request.input == "ignores"):
            await trio.sleep(500 if request.input == "ignores" else 2)

    limits = SupervisorLimits(runs_running_max=2)
    async with open_supervisor(failing_store, agent, limits=limits) as supervisor:
        failing = await supervisor.session("failing", slots=2)
        other = await supervisor.session("other")
        await other.submit("first")
        await failing.submit("ignores")
        await failing.submit("stands in line")
        run = await other.submit("stands behind it")
        await trio.sleep(0.5)
        failing_store.lose_answer(written=False)
        with pytest.raises(StoreFailed):
            await failing.append("note", {})
        await run.wait()
        waited = trio.current_time()

    assert waited < 10


async def test_what_an_agent_does_to_its_request_changes_nothing_in_the_session(autojump_clock):
    async def agent(request, context):
        answer = await context.park("question")
        request.input["changed"] = request.metadata["changed"] = answer["changed"] = object()
        await trio.sleep(10)
        return "done"

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit({"a": 1}, metadata={"user": "u"})
        await trio.sleep(1)
        await session.answer(run.id, "question", {"yes": True})
        await trio.sleep(1)
        await session.trim(before=2)  # saves a snapshot, which can only hold plain data
        outcome = await run.wait()

    assert outcome.state == "completed"
