from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.runtime.ports import Snapshot
from moorage.stores.journal import Durability, JournalStore
from moorage.stores.journal.compaction import plan
from moorage.stores.journal.manifest import Layout, load_manifest
from moorage.stores.journal.opening import remove_orphans
from moorage.stores.simulated_disk import SimulatedDisk, SimulatedFile

from tests.stores.journal.open_files import open_files

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import Operation

ROOT = Path("/journal")


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


async def trim(store: JournalStore, scribe: Any, session_id: str, before: int) -> None:
    await store.trim(scribe.claims[session_id], before)
    scribe.logs[session_id].oldest = before


def log_bytes(disk: SimulatedDisk) -> int:
    return sum(len(data) for path, data in disk.files().items() if path.suffix == ".log")


@pytest.mark.parametrize("durability", list(Durability))
async def test_trimmed_and_deleted_events_give_their_space_back(
    disk: SimulatedDisk, durability: Durability, scribe: Any, open_store: Any
) -> None:
    store = JournalStore(ROOT, disk=disk, segment_bytes=4096, durability=durability)
    async with open_store(store):
        await scribe.fill(store)
        full = log_bytes(disk)
        await trim(store, scribe, "session-0", scribe.logs["session-0"].head)
        await store.delete(scribe.claims.pop("session-1"))
        head = scribe.logs["session-1"].head
        scribe.logs["session-1"] = type(scribe.logs["session-1"])(head=head, oldest=head + 1)

        report = await store.compact()

        assert report.bytes_before >= full
        assert report.bytes_after == log_bytes(disk)
        assert report.bytes_after < 0.55 * full
        assert report.segments_after < report.segments_before
        await scribe.check(store)
        assert store.statistics().compactions > 0
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.check(store)
        scribe.claims.clear()
        for number in range(3):
            await scribe.append(store, f"session-{number}", count=4)
        await scribe.check(store)


async def test_a_second_compaction_finds_nothing_to_do(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.fill(store)
        await trim(store, scribe, "session-0", 20)
        await store.compact()
        before = disk.files()

        report = await store.compact()

        assert report.bytes_before == report.bytes_after
        assert disk.files() == before


async def test_everything_deleted_leaves_no_sealed_segment(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.fill(store)
        for session_id in list(scribe.claims):
            await store.delete(scribe.claims[session_id])

        report = await store.compact()

        assert report.segments_after == 1
        assert store.statistics().tombstones == 3
        claim = await store.claim("session-0")
        assert claim.head_seq == scribe.logs["session-0"].head


async def test_compaction_happens_by_itself_when_much_is_dead(
    disk: SimulatedDisk, scribe: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.stores.journal.compaction.INTERVAL_SECONDS", 0.0)
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.fill(store)
        for session_id, claim in scribe.claims.items():
            await store.trim(claim, scribe.logs[session_id].head)
            scribe.logs[session_id].oldest = scribe.logs[session_id].head
        full = log_bytes(disk)
        await scribe.append(store, "session-0", count=4)
        with trio.fail_after(60):
            while not store.statistics().compactions or log_bytes(disk) > 0.5 * full:
                await trio.sleep(0.001)  # it works in a thread, and tells nobody when it is done
        await scribe.check(store)


async def test_a_damaged_block_stops_compaction_and_nothing_is_lost(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.fill(store)
        await trim(store, scribe, "session-0", scribe.logs["session-0"].head)
        path = ROOT / "segments" / "00000001.log"
        damaged = bytearray(disk.files()[path])
        for offset in range(200, len(damaged)):
            damaged[offset] ^= 1
        disk.put(path, bytes(damaged))

        with pytest.raises(CorruptLog, match=r"00000001\.log"):
            await store.compact()

        assert disk.files()[path] == damaged
        page = await store.read("session-1", limit=5, backwards=True)
        assert len(page.events) == 5


@pytest.mark.parametrize(
    ("sizes", "live", "groups"),
    [
        ([], [], []),
        ([100, 100], [100, 60], []),
        ([100, 100], [40, 100], [(0, 1)]),
        ([100, 100], [40, 40], [(0, 2)]),
        ([100, 100, 100], [40, 40, 40], [(0, 2), (2, 3)]),
        ([20, 20, 20], [20, 20, 20], [(0, 3)]),
        ([20, 100, 20], [20, 100, 20], []),
        ([20, 100], [20, 0], [(0, 2)]),
        ([500], [200], [(0, 1)]),
    ],
)
def test_a_group_is_dead_enough_or_several_small_and_fits_into_one_segment(
    sizes: list[int], live: list[int], groups: list[tuple[int, int]]
) -> None:
    assert plan(sizes, live, ratio=0.5, segment_bytes=100) == groups


def test_a_group_has_no_more_segments_than_may_be_open_at_once() -> None:
    groups = plan([100] * 70, [0] * 70, ratio=0.5, segment_bytes=100)

    assert groups == [(0, 32), (32, 64), (64, 70)]


class FullDisk(SimulatedDisk):
    """Has no room for directory checkpoints while it is ``full``."""

    full = False

    def create(self, path: Path) -> SimulatedFile:
        if self.full and path.parent.name == "directory":
            raise OSError(errno.ENOSPC, "injected")
        return super().create(path)


async def test_what_recovery_still_has_to_replay_is_not_compacted(
    scribe: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk()
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=200)
        await scribe.append(store, "c", count=60)
        await store.compact()
        await scribe.append(store, "a", count=1)
        await scribe.append(store, "b", count=2)
    scribe.claims.clear()
    monkeypatch.setattr("moorage.stores.journal.compaction.INTERVAL_SECONDS", 0.0)
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        disk.full = True
        with pytest.raises(StoreFailed, match="nothing was lost"):
            await store.compact()  # the active segment has ended and is still to be replayed
        scribe.claims["a"] = await store.claim("a")
        await trim(store, scribe, "a", 201)
        with trio.fail_after(60):
            while not store.statistics().compactions:
                await trio.sleep(0.001)  # it works in a thread, and tells nobody when it is done
        killed = disk.crashed(lambda _: 0)
        disk.full = False

    async with open_store(JournalStore(ROOT, disk=killed)) as store:
        await scribe.check(store)


async def test_what_was_dead_at_a_restart_is_found_by_itself(
    disk: SimulatedDisk, scribe: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.fill(store)
        for session_id in list(scribe.claims):
            await trim(store, scribe, session_id, scribe.logs[session_id].head)
    full = log_bytes(disk)
    monkeypatch.setattr("moorage.stores.journal.compaction.INTERVAL_SECONDS", 0.0)

    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        with trio.fail_after(60):
            while log_bytes(disk) > 0.5 * full:
                await trio.sleep(0.001)
        await scribe.check(store)


async def test_superseded_snapshots_are_found_by_themselves(
    disk: SimulatedDisk, scribe: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.stores.journal.compaction.INTERVAL_SECONDS", 0.0)
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.append(store, "a", count=1)
        with trio.fail_after(60):
            while store.statistics().compactions < 2:
                await store.save_snapshot(scribe.claims["a"], Snapshot(1, b"s" * 2_000))
        last = Snapshot(1, b"the last")
        await store.save_snapshot(scribe.claims["a"], last)
        assert await store.snapshot("a") == last


async def test_a_pass_that_is_cancelled_while_it_waits_leaves_no_file_behind(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=65536)) as store:
        await scribe.append(store, "a", count=40)
        await store.compact()
        await scribe.append(store, "b", count=1)
        await trim(store, scribe, "a", 30)
        with trio.CancelScope() as scope:

            def cancel(disk: SimulatedDisk, operation: Operation, done: bool) -> None:
                # the new segment and its side file are there, and the old segment is in force
                if operation.kind == "sync" and done and operation.path.suffix == ".index":
                    trio.from_thread.run_sync(scope.cancel)

            disk.watch = cancel
            await store.compact()
        disk.watch = None

        assert scope.cancelled_caught
        manifest = load_manifest(disk, Layout(ROOT))
        assert manifest is not None
        assert remove_orphans(disk, Layout(ROOT), manifest) == 0
        await scribe.check(store)


async def test_the_space_of_what_was_rewritten_is_free_while_the_journal_is_open(
    tmp_path: Path, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(tmp_path, segment_bytes=4096)) as store:
        await scribe.fill(store)
        await scribe.check(store)  # everything is open
        for session_id in list(scribe.claims):
            await trim(store, scribe, session_id, scribe.logs[session_id].head)

        await store.compact()

        targets = open_files(tmp_path)
        assert targets
        assert not [target for target in targets if target.endswith("(deleted)")]
        await scribe.check(store)
