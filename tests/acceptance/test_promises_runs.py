"""What is accepted stays accepted, and runs in order: guarantees 1, 2, 3, 4 and 11."""

from __future__ import annotations

import random

import pytest
import trio
from moorage.runtime import (
    KeyConflict,
    QueueFull,
    StoreFailed,
    SupervisorLimits,
    open_reader,
    open_supervisor,
)
from moorage.runtime.testing import (
    assert_contiguous,
    assert_history,
    assert_one_outcome_per_run,
    assert_slots,
    wait_until,
)
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.faults import Fault, FaultyStore

from tests.acceptance.durable_stores import DURABLE

PATIENCE_SECONDS = 120
LEAVE_AT_ONCE = SupervisorLimits(drain_seconds=0)


# ---- 1 ----


def with_seeds(of_the_journal, of_others):
    """``durable`` and ``seed``: the journal has more outcomes of a crash, and is quicker."""
    pairs = [
        (kind, seed)
        for kind in DURABLE
        for seed in range(of_the_journal if kind == "journal" else of_others)
    ]
    return pytest.mark.parametrize(("durable", "seed"), pairs, indirect=["durable"])


@pytest.mark.promise(1)
@with_seeds(5, 1)
async def test_1_what_was_accepted_survives_a_crash(works, durable, seed):
    async with open_supervisor(durable.open_store(), works) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        accepted = [(await session.submit(number)).id for number in range(5)]
        found = durable.after_crash(random.Random(seed).randrange)

    async with open_supervisor(found.open_store(), works) as supervisor:
        session = await supervisor.session("s", mode="resume")
        queued = (await session.status()).queued
        await session.resume()
        outcomes = [await session.wait(run_id) for run_id in accepted]

    assert list(queued) == accepted
    assert [outcome.output for outcome in outcomes] == list(range(5))


@pytest.mark.promise(1)
async def test_1_what_was_accepted_survives_a_restart(open_store, works):
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        run = await session.submit({"nested": [1, b"bytes"]}, metadata={"m": 1})

    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        await session.resume()
        outcome = await session.wait(run.id)

    assert outcome.output == {"nested": [1, b"bytes"]}
    assert works.requests[0].metadata == {"m": 1}


@pytest.mark.promise(1)
async def test_1_when_submit_returns_the_run_is_in_the_bytes_on_disk(tmp_path, works):
    path = tmp_path / "data"
    async with open_supervisor(JournalStore(path), works) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        run = await session.submit("good")
        written = b"".join(file.read_bytes() for file in (path / "segments").glob("*.log"))

    assert run.id.encode() in written


@pytest.mark.promise(1)
async def test_1_cancelled_means_not_accepted_and_a_taken_submit_is_shielded(autojump_clock, works):
    store = FaultyStore(MemoryStore(), {})
    async with open_supervisor(store, works) as supervisor:
        session = await supervisor.session("s")
        with trio.CancelScope() as early:
            early.cancel()
            await session.submit("never")
        run = None
        with trio.CancelScope() as late:

            async def cancel_when_taken():
                while not any(resident.inbox._commands == 0 for resident in residents):
                    await trio.lowlevel.checkpoint()
                late.cancel()

            residents = supervisor.residents.all()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_when_taken)
                run = await session.submit("accepted")
        await session.wait_idle()
        events = await session.events()

    assert early.cancelled_caught
    submitted = [event.data["input"] for event in events if event.type == "run_submitted"]
    assert submitted == (["accepted"] if run is not None else [])


@pytest.mark.promise(1)
@pytest.mark.parametrize("fault", [Fault.UNKNOWN_WRITTEN, Fault.UNKNOWN_LOST])
async def test_1_after_an_unknown_outcome_the_same_key_makes_one_run(autojump_clock, works, fault):
    store = FaultyStore(MemoryStore(), {2: fault})
    async with open_supervisor(store, works) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(StoreFailed) as unknown:
            await session.submit("x", key="k")
        run = await session.submit("x", key="k")
        again = await session.submit("x", key="k")
        await run.wait()
        events = await session.events()

    assert unknown.value.written is None
    assert again.id == run.id
    assert sum(event.type == "run_submitted" for event in events) == 1


@pytest.mark.promise(1)
async def test_1_any_other_error_left_nothing_behind(autojump_clock, works):
    store = FaultyStore(MemoryStore(), {2: Fault.NOT_WRITTEN})
    async with open_supervisor(store, works) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(StoreFailed) as refused:
            await session.submit("x")
        events = await session.events()

    assert refused.value.written is False
    assert [event.type for event in events] == ["session_opened"]
    assert works.requests == []


# ---- 2 ----


@pytest.mark.promise(2)
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 5])
async def test_2_runs_start_in_order_and_never_more_than_slots(open_store, slots, at_once):
    started, running, most = [], [], []

    async def agent(request, context):
        started.append(request.input)
        running.append(request.input)
        most.append(len(running))
        for _ in range(request.input % 3 + 1):
            await trio.lowlevel.checkpoint()
        running.remove(request.input)

    async with open_supervisor(open_store(), agent) as supervisor:
        session = await supervisor.session("s", slots=slots)
        if at_once:
            await session.pause()
        for number in range(30):
            await session.submit(number)
        await session.resume()
        await session.wait_idle()
        events = await session.events(limit=1000)

    assert started == list(range(30))
    assert max(most) <= slots
    assert_history(events)
    assert_slots(events, slots)


# ---- 3 ----


@pytest.mark.promise(3)
@with_seeds(6, 2)
async def test_3_every_accepted_run_has_one_outcome_whatever_crashes(works, durable, seed):
    """It crashes three times, at moments that are all different."""
    accepted = []
    dice = random.Random(seed)
    for _ in range(3):
        async with open_supervisor(durable.open_store(), works, limits=LEAVE_AT_ONCE) as supervisor:
            session = await supervisor.session("s", slots=2)
            for _ in range(6):
                run = await session.submit(
                    dice.choice(["good", "bad", "hang", "park"]),
                    on_interrupt=dice.choice(["fail", "requeue"]),
                    attempts_max=2,
                )
                accepted.append(run.id)
                for _ in range(dice.randrange(5)):
                    await trio.lowlevel.checkpoint()
            victim = dice.choice(accepted)
            await session.cancel(victim)
            found = durable.after_crash(dice.randrange)
        durable = found

    async with open_supervisor(durable.open_store(), works) as supervisor:
        session = await supervisor.session("s")
        for run_id in accepted:
            await session.cancel(run_id)
        outcomes = [
            await session.wait(run_id, timeout_seconds=PATIENCE_SECONDS) for run_id in accepted
        ]
        events = await session.events(limit=10_000)

    assert len(outcomes) == 18
    assert_one_outcome_per_run(events)
    assert_contiguous(events)


# ---- 4 ----


@pytest.mark.promise(4)
async def test_4_the_queue_survives_and_interrupted_runs_go_to_its_front(works, durable):
    async with open_supervisor(durable.open_store(), works, limits=LEAVE_AT_ONCE) as supervisor:
        session = await supervisor.session("s", slots=2)
        again = await session.submit("hang", on_interrupt="requeue", attempts_max=2)
        lost = await session.submit("hang")
        await wait_until(lambda: works.running == 2)
        queued = [await session.submit("good") for _ in range(3)]
        found = durable.after_crash(random.Random(1).randrange).open_store()

    works.requests.clear()
    async with open_supervisor(found, works, limits=LEAVE_AT_ONCE) as supervisor:
        # nobody asks for the session: it is recovered by itself
        await wait_until(lambda: len(works.requests) == 4)
        async with open_reader(found) as reader:
            outcomes = [await reader.session("s").wait(run.id) for run in (lost, *queued)]
        started = [request.run_id for request in works.requests]

    async with open_supervisor(found, works) as supervisor:
        session = await supervisor.session("s")
        last = await session.wait(again.id)
        events = await session.events(limit=1000)

    assert started == [again.id, *(run.id for run in queued)]
    assert [outcome.state for outcome in outcomes] == ["interrupted", *["completed"] * 3]
    assert (last.state, last.attempt) == ("interrupted", 2)
    assert_history(events)


@pytest.mark.promise(4)
async def test_4_the_core_never_retries_a_failure(open_store, works):
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("bad", on_interrupt="requeue", attempts_max=5)
        outcome = await run.wait()

    assert outcome.state == "failed"
    assert works.attempts_of(run) == [1]


@pytest.mark.promise(4)
async def test_4_a_drain_s_deadline_and_an_exception_are_interruptions_too(autojump_clock, works):
    store = MemoryStore()
    with pytest.raises(ValueError, match="mine"):
        async with open_supervisor(store, works) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit("hang", on_interrupt="requeue", attempts_max=3)
            await wait_until(lambda: works.running)
            raise ValueError("mine")
    async with open_supervisor(store, works) as supervisor:
        session = await supervisor.session("s")
        await wait_until(lambda: works.running)
        report = await supervisor.drain(timeout_seconds=1)
    async with open_supervisor(store, works, limits=LEAVE_AT_ONCE) as supervisor:
        await wait_until(lambda: works.running)
    async with open_supervisor(store, works) as supervisor:
        session = await supervisor.session("s")
        outcome = await session.wait(run.id)

    assert report.requeued == (run.id,)
    assert works.attempts_of(run) == [1, 2, 3]
    assert outcome.state == "interrupted"


# ---- 11 ----


@pytest.mark.promise(11)
async def test_11_the_same_key_is_the_same_run_also_after_a_restart(open_store, works):
    limits = SupervisorLimits(runs_queued_max=1, drain_seconds=0)
    async with open_supervisor(open_store(), works, limits=limits) as supervisor:
        session = await supervisor.session("s")
        ended = await session.submit("good", key="ended")
        await ended.wait()
        running = await session.submit("hang", key="running")
        await wait_until(lambda: works.running)
        queued = await session.submit("good", key="queued")
        same = [
            await session.submit("good", key="ended"),
            await session.submit("hang", key="running"),
            await session.submit("good", key="queued"),
        ]
        with pytest.raises(QueueFull):
            await session.submit("good", key="another")
        with pytest.raises(KeyConflict):
            await session.submit("bad", key="queued")
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        await session.wait_idle()
        await session.close()
        again = [await session.submit("good", key=key) for key in ("ended", "queued")]
        with pytest.raises(KeyConflict):
            await session.submit("bad", key="ended")

    assert [run.id for run in same] == [ended.id, running.id, queued.id]
    assert [run.id for run in again] == [ended.id, queued.id]
    assert len(works.requests) == 3
