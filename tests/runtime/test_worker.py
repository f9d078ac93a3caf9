from __future__ import annotations

import pytest
import trio
from moorage.runtime import (
    RunInterrupted,
    StoreFailed,
    open_supervisor,
)
from moorage.runtime.testing import (
    assert_history,
    wait_until,
)
from moorage.stores import MemoryStore


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
