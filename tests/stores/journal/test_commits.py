from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import StaleOwner, StoreFailed
from moorage.runtime.ports import Snapshot
from moorage.stores.journal import Durability, JournalStore
from moorage.stores.simulated_disk import Operation, SimulatedDisk

from tests.forked import forks, in_fork

ROOT = Path("/journal")


async def append_for_ever(store: JournalStore, scribe: Any) -> None:
    while True:
        await scribe.append(store, "a", count=4)


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


async def seqs(store: JournalStore, session_id: str = "a") -> list[int]:
    return [event.seq for event in (await store.read(session_id)).events]


@pytest.mark.parametrize("after_bytes", [0, 1, 30, 10_000])
async def test_a_full_disk_fails_the_append_leaves_nothing_and_the_next_one_works(
    disk: SimulatedDisk, after_bytes: int, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
        before = disk.files()[ROOT / "segments" / "00000001.log"]
        disk.fail("write", 1, after_bytes=after_bytes)

        with pytest.raises(StoreFailed, match="nothing was kept") as caught:
            await scribe.append(store, "a", count=1)

        assert (caught.value.written, caught.value.poisoned) == (False, False)
        assert disk.files()[ROOT / "segments" / "00000001.log"] == before
        assert await seqs(store) == [1]
        await scribe.append(store, "a", count=1)
        assert await seqs(store) == [1, 2]
        assert store.statistics().commits_failed == 1
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        assert await seqs(store) == [1, 2]


async def test_a_failed_sync_poisons_every_write_and_reading_goes_on(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
        claim = scribe.claims["a"]
        disk.fail("sync", 1)

        with pytest.raises(StoreFailed) as caught:
            await scribe.append(store, "a", count=1)

        assert (caught.value.written, caught.value.poisoned) == (None, True)
        for write in (
            lambda: scribe.append(store, "a", count=1),
            lambda: store.save_snapshot(claim, Snapshot(1, b"")),
            lambda: store.save_cursor("a", "reader", 1),
            lambda: store.trim(claim, 2),
            lambda: store.compact(),
        ):
            with pytest.raises(StoreFailed) as caught:
                await write()
            assert (caught.value.written, caught.value.poisoned) == (False, True)
        assert await seqs(store) == [1]
        assert store.statistics().poisoned
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        assert (await seqs(store))[0] == 1
        scribe.claims.clear()
        scribe.logs["a"].head = len(await seqs(store))
        await scribe.append(store, "a", count=1)


async def test_a_cut_that_fails_poisons(disk: SimulatedDisk, scribe: Any, open_store: Any) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
        disk.fail("write", 1, after_bytes=30)
        disk.fail("truncate", 1)

        with pytest.raises(StoreFailed) as caught:
            await scribe.append(store, "a", count=1)

        assert (caught.value.written, caught.value.poisoned) == (None, True)
        assert await seqs(store) == [1]
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        assert await seqs(store) == [1]


async def test_poison_wakes_everybody_who_waits_for_news(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    woken = []

    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)

        async def wait(run_id: str | None) -> None:
            await store.wait_news("a", after=1, run_id=run_id)
            woken.append(run_id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, None)
            nursery.start_soon(wait, "run-1")
            await trio.testing.wait_all_tasks_blocked()
            disk.fail("sync", 1)
            with pytest.raises(StoreFailed):
                await scribe.append(store, "a", count=1)

    assert sorted(woken, key=str) == [None, "run-1"]


async def test_everything_that_waits_behind_a_failed_frame_fails_with_it(
    disk: SimulatedDisk, new_info: Any, open_store: Any
) -> None:
    failures: list[StoreFailed | StaleOwner] = []

    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        claim = await store.claim("a")

        async def append(seq: int) -> None:
            record = encode_event(seq, "note", None, None)
            try:
                await store.append(claim, expected_seq=seq, records=[record], info=new_info("a"))
            except (StoreFailed, StaleOwner) as error:
                failures.append(error)

        disk.fail("write", 1)
        async with trio.open_nursery() as nursery:
            for seq in (1, 2, 3):
                nursery.start_soon(append, seq)

        assert await store.info("a") is None
        assert {getattr(error, "written", False) for error in failures} == {False}
        await append(1)
        assert await seqs(store) == [1]


async def test_appends_of_one_tick_share_one_sync(
    disk: SimulatedDisk, new_info: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        claims = [await store.claim(f"session-{number}") for number in range(50)]

        async def append(claim: Any) -> None:
            record = encode_event(1, "note", None, None)
            info = new_info(claim.session_id)
            await store.append(claim, expected_seq=1, records=[record], info=info)

        async with trio.open_nursery() as nursery:
            for claim in claims:
                nursery.start_soon(append, claim)

        assert store.statistics().commits <= 3
        assert store.statistics().records == 50


async def test_a_cancelled_append_is_not_begun_and_a_begun_one_is_finished(
    disk: SimulatedDisk, new_info: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        claim = await store.claim("a")
        record = encode_event(1, "note", None, None)

        with trio.CancelScope() as scope:
            scope.cancel()
            await store.append(claim, expected_seq=1, records=[record], info=new_info("a"))
        assert scope.cancelled_caught
        assert await store.info("a") is None

        finished = False
        begun, may_go_on = trio.Event(), threading.Event()

        def hold(disk: SimulatedDisk, operation: Operation, done: bool) -> None:
            if operation.kind == "write" and operation.path.suffix == ".log" and not done:
                trio.from_thread.run_sync(begun.set)
                may_go_on.wait()

        async def append() -> None:
            nonlocal finished
            await store.append(claim, expected_seq=1, records=[record], info=new_info("a"))
            finished = True

        disk.watch = hold
        async with trio.open_nursery() as nursery:
            nursery.start_soon(append)
            await begun.wait()
            nursery.cancel_scope.cancel()
            may_go_on.set()

        assert finished
        assert await seqs(store) == [1]


@pytest.mark.parametrize("durability", list(Durability))
async def test_only_commit_durability_syncs_each_commit(
    disk: SimulatedDisk, durability: Durability, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, durability=durability)) as store:
        await scribe.append(store, "a", count=1)
        before = disk.counts["sync"]
        await scribe.append(store, "a", count=1)

        assert disk.counts["sync"] - before == (durability is Durability.COMMIT)
        assert store.statistics().syncs == (2 if durability is Durability.COMMIT else 0)


async def test_a_failed_switch_of_segments_is_tried_again(
    disk: SimulatedDisk, scribe: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.stores.journal.maintenance.RETRY_SECONDS", 0.01)
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        disk.fail("create", 1, error_number=errno.ENOSPC)
        while not store.statistics().rotations:
            await scribe.append(store, "a", count=4)
        await scribe.check(store)
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.check(store)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_a_failed_sync_while_segments_are_switched_poisons_and_loses_nothing(
    disk: SimulatedDisk, number: int, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.append(store, "a", count=1)
        disk.fail("sync_directory", number)
        with pytest.raises(StoreFailed) as caught:
            await append_for_ever(store, scribe)
        assert caught.value.poisoned
    scribe.claims.clear()
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        head = (await store.claim("a")).head_seq
        assert await seqs(store) == list(range(1, head + 1))
        assert head >= scribe.logs["a"].head


@forks
async def test_a_fork_is_refused_instead_of_waiting_for_a_thread_that_is_not_there(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async def append_and_save() -> None:
        await scribe.append(store, "a", count=1)

    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)

        refused = await trio.to_thread.run_sync(in_fork, lambda: trio.run(append_and_save))

        assert refused.startswith("WrongProcess: ")
        await scribe.append(store, "a", count=1)
        assert await seqs(store) == [1, 2]
