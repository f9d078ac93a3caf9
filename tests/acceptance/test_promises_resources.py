"""Directories, disks, memory, threads and processes: guarantees 12 and 15 to 18."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
import trio
import trio.testing
from moorage.adapters.agents import ProcessAgent
from moorage.runtime import (
    BufferFull,
    CorruptLog,
    InvalidArgument,
    QueueFull,
    RecordTooLarge,
    SessionHeld,
    StaleOwner,
    StoreFailed,
    SupervisorLimits,
    open_reader,
    open_supervisor,
)
from moorage.runtime.testing import assert_history, wait_until
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.faults import Fault

from tests.acceptance.durable_stores import ONE_PROCESS, POISONED

PATIENCE_SECONDS = 120

# ---- 12 ----


@pytest.mark.promise(12)
@pytest.mark.parametrize("open_store", ONE_PROCESS, indirect=True)
async def test_12_a_second_owner_of_a_store_is_refused_and_told_who_holds_it(open_store, works):
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(SessionHeld) as refused:
            async with open_supervisor(open_store(), works):
                pass
        async with open_reader(open_store()) as reader:
            state = (await reader.session("s").info()).state
        outcome = await session.execute("good")
    async with open_supervisor(open_store(), works) as supervisor:
        await supervisor.session("s", mode="resume")

    assert re.search(rf"(pid|process) {os.getpid()}\b", refused.value.holder)
    assert state == "open"
    assert outcome.state == "completed"


SECOND_PROCESS = """
import sys, trio
from moorage.runtime import SessionHeld, open_supervisor
from moorage.stores import JournalStore

async def main():
    try:
        async with open_supervisor(JournalStore(sys.argv[1]), lambda request, context: None):
            print("opened")
    except SessionHeld as error:
        print("held by", error.holder)

trio.run(main)
"""


@pytest.mark.promise(12)
async def test_12_a_second_process_is_refused_and_told_who_holds_the_directory(tmp_path, works):
    program = [sys.executable, "-c", SECOND_PROCESS, str(tmp_path / "data")]
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_supervisor(JournalStore(tmp_path / "data"), works):
            second = await trio.run_process(program, capture_stdout=True)

    assert second.stdout.startswith(b"held by")
    assert f"pid {os.getpid()}".encode() in second.stdout


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
@pytest.mark.parametrize("durable", POISONED, indirect=True)
async def test_16_after_a_failed_sync_nothing_is_written_until_it_is_reopened(durable, works):
    told = []
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_supervisor(durable.open_store(), works) as supervisor:
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
                await trio.testing.wait_all_tasks_blocked()
                durable.fail_next(Fault.POISON)
                with pytest.raises(StoreFailed) as failed:
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
    async with open_supervisor(durable.open_store(), works) as supervisor:
        one = await supervisor.session("one")
        outcomes = [await one.wait(run.id) for run in (running, queued)]

    assert (failed.value.poisoned, poisoned.value.poisoned) == (True, True)
    assert sorted(told) == ["subscriber", "waiter", "waiter"]
    assert read == finished
    assert len(events) == 5
    assert [outcome.state for outcome in outcomes] == ["interrupted", "completed"]


@pytest.mark.promise(16)
async def test_16_a_full_disk_refuses_and_goes_on_when_there_is_room(durable, works):
    async with open_supervisor(durable.open_store(), works) as supervisor:
        session = await supervisor.session("s")
        durable.fail_next(Fault.NOT_WRITTEN)
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
    assert threads_alive() - threads == set()
    assert files_open() - files == set()
