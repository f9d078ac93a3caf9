"""The README's guarantees, each by its number, on the stores for which it is given.

Tests on a journal use the real clock and wait for events instead of time: its threads do not mix
with virtual time. A power cut is a copy of a simulated disk, with everything unsynced gone or torn.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path

import pytest
import trio
from moorage.adapters.agents import ProcessAgent
from moorage.runtime import (
    AdmissionClosed,
    BufferFull,
    CorruptLog,
    CursorExpired,
    CursorHeld,
    InvalidArgument,
    KeyConflict,
    QueueFull,
    RecordTooLarge,
    RunCancelled,
    SessionHeld,
    SessionQuarantined,
    StaleOwner,
    StoreFailed,
    SupervisorLimits,
    UnknownRun,
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
from moorage.stores.simulated_disk import SimulatedDisk

LEAVE_AT_ONCE = SupervisorLimits(drain_seconds=0)


class Works:
    """An agent that does what its input says; "hang" lasts until it is cancelled."""

    def __init__(self) -> None:
        self.requests = []
        self.running = 0

    async def __call__(self, request, context):
        self.requests.append(request)
        self.running += 1
        try:
            await context.emit("message_streamed", {"delta": request.input})
            await context.flush()
            if request.input == "hang":
                await trio.sleep_forever()
            if request.input == "bad":
                raise RuntimeError("boom")
            if request.input == "park":
                return await context.park("question")
            if request.input == "stubborn":
                with trio.CancelScope(shield=True):
                    await trio.sleep_forever()
            return request.input
        finally:
            self.running -= 1

    def attempts_of(self, run):
        return [request.attempt for request in self.requests if request.run_id == run.id]


@pytest.fixture
def works():
    return Works()


@pytest.fixture(params=["memory", "journal"])
def open_store(request, tmp_path):
    """Gives the same store again each time, as a new process would open it."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    return lambda: JournalStore(tmp_path / "data")


def after_power_cut(disk, seed):
    """The disk as it may be found: what was not synced is kept, dropped, torn or zeroed."""
    return JournalStore("/data", disk=disk.crashed(random.Random(seed).randrange))


# ---- 1 ----


@pytest.mark.promise(1)
@pytest.mark.parametrize("seed", range(5))
async def test_1_what_was_accepted_survives_power_loss(works, seed):
    disk = SimulatedDisk()
    async with open_supervisor(JournalStore("/data", disk=disk), works) as supervisor:
        session = await supervisor.session("s")
        await session.pause()
        accepted = [(await session.submit(number)).id for number in range(5)]
        found = after_power_cut(disk, seed)

    async with open_supervisor(found, works) as supervisor:
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
@pytest.mark.parametrize("slots", [1, 2, 5])
async def test_2_runs_start_in_order_and_never_more_than_slots(open_store, slots):
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
        for number in range(30):
            await session.submit(number)
        await session.wait_idle()
        events = await session.events(limit=1000)

    assert started == list(range(30))
    assert max(most) <= slots
    assert_history(events)
    assert_slots(events, slots)


# ---- 3 ----


@pytest.mark.promise(3)
@pytest.mark.parametrize("seed", range(6))
async def test_3_every_accepted_run_has_one_outcome_whatever_crashes(works, seed):
    """Power is cut three times, at moments that are all different."""
    disk, accepted = SimulatedDisk(), []
    dice = random.Random(seed)
    for _ in range(3):
        async with open_supervisor(
            JournalStore("/data", disk=disk), works, limits=LEAVE_AT_ONCE
        ) as supervisor:
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
            disk_found = disk.crashed(dice.randrange)
        disk = disk_found

    async with open_supervisor(JournalStore("/data", disk=disk), works) as supervisor:
        session = await supervisor.session("s")
        for run_id in accepted:
            await session.cancel(run_id)
        outcomes = [await session.wait(run_id, timeout_seconds=20) for run_id in accepted]
        events = await session.events(limit=10_000)

    assert len(outcomes) == 18
    assert_one_outcome_per_run(events)
    assert_contiguous(events)


# ---- 4 ----


@pytest.mark.promise(4)
async def test_4_the_queue_survives_and_interrupted_runs_go_to_its_front(works):
    disk = SimulatedDisk()
    async with open_supervisor(
        JournalStore("/data", disk=disk), works, limits=LEAVE_AT_ONCE
    ) as supervisor:
        session = await supervisor.session("s", slots=2)
        again = await session.submit("hang", on_interrupt="requeue", attempts_max=2)
        lost = await session.submit("hang")
        await wait_until(lambda: works.running == 2)
        queued = [await session.submit("good") for _ in range(3)]
        found = after_power_cut(disk, 1)

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
        with pytest.raises(UnknownRun):
            await session.wait("run_unknown")
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        await wait()
        with pytest.raises(UnknownRun):
            await session.wait("run_unknown")

    assert len(outcomes) == 5
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0].output == "good"


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
@pytest.mark.parametrize("ends", ["returns", "raises", "crash"])
async def test_6_once_a_request_to_cancel_is_durable_the_outcome_is_cancelled(ends):
    disk, begun, may_end = SimulatedDisk(), trio.Event(), trio.Event()

    async def agent(request, context):
        begun.set()
        with trio.CancelScope(shield=True):
            await may_end.wait()
        if ends == "raises":
            raise RuntimeError("boom")
        return "too late"

    async with open_supervisor(JournalStore("/data", disk=disk), agent) as supervisor:
        session = await supervisor.session("s")
        run, queued = await session.submit("x"), await session.submit("y")
        await begun.wait()
        assert await run.cancel()
        status = await session.status()
        found = after_power_cut(disk, 3)
        await queued.cancel()
        may_end.set()
        outcome = await run.wait()
    if ends == "crash":
        async with open_supervisor(found, agent) as supervisor:
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


# ---- 7 ----


@pytest.mark.promise(7)
async def test_7_events_arrive_once_and_in_order_from_any_point(open_store):
    async def agent(request, context):
        for number in range(request.input):
            await context.emit("number", {"number": number})
            if number % 7 == 0:
                await context.flush()

    collected = {after: [] for after in (0, 1, 150, 303)}
    async with open_supervisor(open_store(), agent) as supervisor:
        session = await supervisor.session("s")
        await session.execute(300)

        async def follow(after, seen):
            async with session.subscribe(after=after) as events:
                async for event in events:
                    seen.append(event)

        async with trio.open_nursery() as nursery:
            for after, seen in collected.items():
                nursery.start_soon(follow, after, seen)
            await session.execute(300)
            await session.close()
        head_seq = (await session.info()).head_seq

    for after, seen in collected.items():
        assert_contiguous(seen, after=after)
        assert seen[-1].seq == head_seq


@pytest.mark.promise(7)
async def test_7_a_cursor_older_than_what_is_kept_raises_with_the_oldest_seq(open_store, works):
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        for _ in range(3):
            await session.execute("good")
        await session.trim(before=7)
        with pytest.raises(CursorExpired) as expired:
            async with session.subscribe(after=2):
                pass
        with pytest.raises(CursorExpired):
            await session.events(after=2)

    assert expired.value.oldest_seq == 7


# ---- 8 ----


@pytest.mark.promise(8)
async def test_8_a_subscriber_sees_only_what_power_loss_cannot_take_away(works):
    disk, lost = SimulatedDisk(), []
    async with open_supervisor(JournalStore("/data", disk=disk), works) as supervisor:
        session = await supervisor.session("s")

        async def follow():
            async with session.subscribe() as events:
                async for event in events:
                    # the worst outcome of a power cut at the moment of delivery
                    found = disk.crashed(lambda count: 1)
                    snapshots.append((event, found))

        snapshots = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for _ in range(4):
                await session.execute("good")
            await session.close()
    for event, found in snapshots[::3]:
        async with open_reader(JournalStore("/data", disk=found)) as reader:
            if event not in await reader.session("s").events(limit=1000):
                lost.append(event)

    assert len(snapshots) == 4 * 4 + 2
    assert lost == []


# ---- 9 ----


@pytest.mark.promise(9)
async def test_9_a_stalled_subscriber_costs_no_memory_and_delays_nobody(autojump_clock):
    async def agent(request, context):
        for number in range(1_000):
            await context.emit("number", {"number": number, "filler": "x" * 50})

    seen = []
    limits = SupervisorLimits(tail_cache_bytes_max=20_000)
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        session = await supervisor.session("s")
        stall = trio.Event()

        async def follow():
            async with session.subscribe() as events:
                async for event in events:
                    seen.append(event)
                    if len(seen) == 1:
                        await stall.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.sleep(1)
            begun = trio.current_time()
            for _ in range(5):
                await session.execute(None)
            taken = trio.current_time() - begun
            kept = supervisor.statistics().tail.bytes
            await trio.sleep(3600)
            stall.set()
            await session.close()

    assert taken < 1
    assert kept <= 20_000
    assert_contiguous(seen)
    assert len(seen) == 5 * 1_003 + 2


# ---- 10 ----


@pytest.mark.promise(10)
async def test_10_a_named_subscriber_goes_on_behind_its_last_acknowledgement(open_store, works):
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        for _ in range(5):
            await session.execute("good")
        async with session.subscribe(after=0, name="mine") as events:
            async for event in events:
                if event.seq == 6:
                    await events.ack(event)
                if event.seq == 11:
                    break
            with pytest.raises(CursorHeld):
                async with session.subscribe(name="mine"):
                    pass
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        async with session.subscribe(after=0, name="mine") as events:
            redelivered = [(await anext(events)).seq for _ in range(10)]

    assert redelivered == list(range(7, 17))


@pytest.mark.promise(10)
async def test_10_an_acknowledgement_survives_power_loss(works):
    disk = SimulatedDisk()
    async with open_supervisor(JournalStore("/data", disk=disk), works) as supervisor:
        session = await supervisor.session("s")
        await session.execute("good")
        async with session.subscribe(name="mine") as events:
            await events.ack(await anext(events))
            await events.ack(await anext(events))
            found = after_power_cut(disk, 7)

    async with open_supervisor(found, works) as supervisor:
        session = await supervisor.session("s")
        async with session.subscribe(name="mine") as events:
            event = await anext(events)

    assert event.seq == 3


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


# ---- 12 ----


@pytest.mark.promise(12)
async def test_12_a_second_owner_of_a_directory_is_refused_and_told_who_holds_it(tmp_path, works):
    async with open_supervisor(JournalStore(tmp_path / "data"), works) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(SessionHeld) as refused:
            async with open_supervisor(JournalStore(tmp_path / "data"), works):
                pass
        async with open_reader(JournalStore(tmp_path / "data")) as reader:
            state = (await reader.session("s").info()).state
        outcome = await session.execute("good")
    async with open_supervisor(JournalStore(tmp_path / "data"), works) as supervisor:
        await supervisor.session("s", mode="resume")

    assert f"pid {os.getpid()}" in refused.value.holder
    assert state == "open"
    assert outcome.state == "completed"


@pytest.mark.promise(12)
async def test_12_in_a_cluster_the_second_process_gets_a_remote_handle(autojump_clock, works):
    store = MemoryStore(lease_seconds=10)
    async with (
        open_supervisor(store, works) as first,
        open_supervisor(store.peer(), works) as second,
    ):
        owner = await first.session("s")
        remote = await second.session("s")
        run = await remote.submit("hang", key="k")
        await wait_until(lambda: works.running)
        status = await remote.status()
        same = await owner.submit("hang", key="k")
        await trio.sleep(100)
        cancelled = await remote.cancel(run.id)
        outcome = await owner.wait(run.id)
        residents = len(first.residents), len(second.residents)

    assert (status.running, same.id, cancelled) == ((run.id,), run.id, True)
    assert outcome.state == "cancelled"
    assert residents == (1, 0)


@pytest.mark.promise(12)
async def test_12_a_stale_owner_s_append_is_rejected_by_epoch(autojump_clock, works):
    store = MemoryStore(lease_seconds=10)
    peer = store.peer()
    async with (
        open_supervisor(store, works) as first,
        open_supervisor(peer, works) as second,
    ):
        session = await first.session("s")
        run = await session.submit("hang")
        await wait_until(lambda: works.running)
        (resident,) = first.residents.all()
        stale = resident.worker.claim
        store._content.leases["s"].expires_at = 0
        taken = await second.session("s")
        before = (await taken.info()).head_seq
        with pytest.raises(StaleOwner):
            await store.append(stale, expected_seq=before + 1, records=[])
        outcome = await taken.wait(run.id)
        await wait_until(lambda: not works.running)
        events = await taken.events()

    assert outcome.state == "interrupted"
    assert_history(events)


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


@pytest.fixture
def sleeper_of():
    async def sleep_for_input(request, context):
        await trio.sleep(request.input)

    return sleep_for_input


# ---- 14 ----


@pytest.mark.promise(14)
@pytest.mark.parametrize(
    "error", [RuntimeError("x"), SystemExit(1), ExceptionGroup("x", [OSError()])]
)
async def test_14_a_crashing_agent_harms_no_other_run(open_store, works, error):
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


# ---- 15 ----


@pytest.mark.promise(15)
async def test_15_damage_below_what_was_attested_is_refused_with_its_place(tmp_path, works):
    path = tmp_path / "data"
    async with open_supervisor(JournalStore(path), works) as supervisor:
        session = await supervisor.session("s")
        for _ in range(20):
            await session.execute("good")
    (segment,) = (path / "segments").glob("*.log")
    before = bytearray(segment.read_bytes())
    position = len(before) // 2
    before[position] ^= 0x10
    segment.write_bytes(before)

    with pytest.raises(CorruptLog) as damaged:
        async with open_supervisor(JournalStore(path), works) as supervisor:
            session = await supervisor.session("s")
            await session.events(limit=1000)

    assert Path(damaged.value.file).name == segment.name
    assert 0 < damaged.value.offset <= position
    assert damaged.value.reason
    assert "moorage salvage" in str(damaged.value)
    assert segment.read_bytes() == before


@pytest.mark.promise(15)
@pytest.mark.parametrize("tail", [b"\x00" * 100, b"\xff" * 7, b"\x10\x00\x00\x00garbage"])
async def test_15_a_torn_tail_is_cut_and_reported(tmp_path, works, tail):
    path = tmp_path / "data"
    async with open_supervisor(JournalStore(path), works) as supervisor:
        session = await supervisor.session("s")
        await session.execute("good")
    (segment,) = (path / "segments").glob("*.log")
    with segment.open("ab") as file:
        file.write(tail)

    store = JournalStore(path)
    async with open_supervisor(store, works) as supervisor:
        session = await supervisor.session("s")
        events = await session.events()
        outcome = await session.execute("good")

    assert store.recovery is not None
    assert store.recovery.cut_bytes == len(tail)
    assert len(events) == 5
    assert outcome.state == "completed"


# ---- 16 ----


@pytest.mark.promise(16)
async def test_16_after_a_failed_sync_nothing_is_written_until_it_is_reopened(works):
    disk = SimulatedDisk()
    told = []
    with trio.fail_after(20):
        async with open_supervisor(JournalStore("/data", disk=disk), works) as supervisor:
            one, two = await supervisor.session("one"), await supervisor.session("two")
            running, queued = await one.submit("hang"), await one.submit("good")
            finished = await two.execute("good")
            await wait_until(lambda: works.running)

            async def wait(run):
                with pytest.raises(StoreFailed):
                    await run.wait()
                told.append("waiter")

            async def follow():
                with pytest.raises(StoreFailed):
                    async with one.subscribe() as events:
                        async for _ in events:
                            pass
                told.append("subscriber")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, running)
                nursery.start_soon(wait, queued)
                nursery.start_soon(follow)
                await trio.sleep(0.02)
                # a commit is made durable by a synced write or by a sync of its own
                disk.fail("sync", 1)
                disk.fail("write", 1, error_number=5)
                with pytest.raises(StoreFailed):
                    await two.append("note", {})
                with pytest.raises(StoreFailed) as poisoned:
                    await two.append("note", {})
            assert works.running == 0
            with pytest.raises(StoreFailed):
                await one.submit("good")
            with pytest.raises(StoreFailed):
                await supervisor.session("three")
            read = await two.wait(finished.run_id)
            events = await two.events()
    async with open_supervisor(JournalStore("/data", disk=disk), works) as supervisor:
        one = await supervisor.session("one")
        outcomes = [await one.wait(run.id) for run in (running, queued)]

    assert poisoned.value.poisoned
    assert sorted(told) == ["subscriber", "waiter", "waiter"]
    assert read == finished
    assert len(events) == 5
    assert [outcome.state for outcome in outcomes] == ["interrupted", "completed"]


@pytest.mark.promise(16)
async def test_16_a_full_disk_refuses_and_goes_on_when_there_is_room(works):
    disk = SimulatedDisk()
    async with open_supervisor(JournalStore("/data", disk=disk), works) as supervisor:
        session = await supervisor.session("s")
        disk.fail("write", 1, after_bytes=10)
        with pytest.raises(StoreFailed) as full:
            await session.submit("good")
        outcome = await session.execute("good")
        events = await session.events()

    assert (full.value.written, full.value.poisoned) == (False, False)
    assert outcome.state == "completed"
    assert_history(events)


# ---- 17 ----


@pytest.mark.promise(17)
async def test_17_every_bound_has_a_name_and_its_error_both_numbers(autojump_clock):
    refused = {}

    async def agent(request, context):
        try:
            while True:
                context.emit_nowait("message_streamed", {"delta": "x" * 100})
        except BufferFull as error:
            refused["emit_ahead_bytes_max"] = (error.used, error.limit)
        await trio.sleep(1)

    limits = SupervisorLimits(
        runs_queued_max=2,
        queue_bytes_max=5_000,
        record_bytes_max=4_000,
        emit_ahead_bytes_max=2_000,
        runs_running_max=1,
        tail_cache_bytes_max=1_000,
    )
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        session, other = await supervisor.session("s"), await supervisor.session("other")
        with pytest.raises(RecordTooLarge) as large:
            await session.submit("x" * 5_000)
        await session.submit("x" * 3_000)
        with pytest.raises(QueueFull) as heavy:
            await session.submit("x" * 3_000)
        await trio.sleep(0.1)
        for _ in range(2):
            await session.submit("x")
        with pytest.raises(QueueFull) as full:
            await session.submit("x")
        await other.submit("x")
        permits = supervisor.statistics().runs
        with pytest.raises(InvalidArgument):
            await supervisor.session("x" * 300)
        await session.wait_idle()

    assert (large.value.limit, large.value.size > 5_000) == (4_000, True)
    assert (full.value.limit, full.value.queued) == (2, 2)
    assert (heavy.value.limit, heavy.value.unit) == (5_000, "bytes")
    assert (permits.limit, permits.in_use) == (1, 1)
    used, limit = refused["emit_ahead_bytes_max"]
    assert limit == 2_000
    assert 2_000 < used < 2_300


@pytest.mark.promise(17)
async def test_17_sessions_in_memory_are_bounded_and_more_have_their_turn(autojump_clock, works):
    limits = SupervisorLimits(sessions_resident_max=3)
    async with open_supervisor(MemoryStore(), works, limits=limits) as supervisor:
        most = 0
        for number in range(12):
            session = await supervisor.session(f"s{number}")
            await session.execute("good")
            most = max(most, len(supervisor.residents))
        known = [info.id async for info in supervisor.sessions()]

    assert most == 3
    assert len(known) == 12


# ---- 18 ----


def tasks_alive():
    waiting, found = [trio.lowlevel.current_root_task()], set()
    while waiting:
        task = waiting.pop()
        found.add(task)
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks
    return found


def threads_alive():
    """Trio keeps idle threads of its own for a while."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Trio")}


def files_open():
    return {os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


@pytest.mark.promise(18)
@pytest.mark.parametrize("leave", ["normally", "by exception", "by cancellation"])
async def test_18_leaving_ends_every_task_thread_file_and_child(tmp_path, leave):
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(1000)"
    program = ProcessAgent([sys.executable, "-S", "-c", code], terminate_grace_seconds=1)
    tasks, threads, files = tasks_alive(), threads_alive(), files_open()
    pids = []
    raised = ValueError("mine")

    async def body():
        limits = SupervisorLimits(drain_seconds=0)
        store = JournalStore(tmp_path / "data")
        async with open_supervisor(store, program, limits=limits) as supervisor:
            session = await supervisor.session("s", slots=2)
            runs = [await session.submit(None) for _ in range(2)]
            async with session.subscribe(types={"message_streamed"}) as events:
                for _ in runs:
                    pids.append(int((await anext(events)).data["delta"]))
            if leave == "by exception":
                raise raised
            if leave == "by cancellation":
                await trio.sleep_forever()

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def watched():
                try:
                    await body()
                except ValueError as error:
                    pids.append(error)

            nursery.start_soon(watched)
            await wait_until(lambda: len(pids) >= 2)
            if leave == "by cancellation":
                scope.cancel()

    assert pids[2:] == ([raised] if leave == "by exception" else [])
    for pid in pids[:2]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIG_DFL)
    assert tasks_alive() == tasks
    assert threads_alive() == threads
    assert files_open() - files == set()


def test_every_promise_has_a_test_that_names_it():
    marked = set()
    for value in list(globals().values()):
        for mark in getattr(value, "pytestmark", []):
            if mark.name == "promise":
                marked.add(mark.args[0])

    assert marked == set(range(1, 19))
