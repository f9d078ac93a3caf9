from __future__ import annotations

import errno
import itertools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import StoreFailed
from moorage.stores.journal import Durability, JournalStore
from moorage.stores.journal.format import SEGMENT_HEADER_SIZE
from moorage.stores.journal.manifest import Layout, load_manifest
from moorage.stores.journal.opening import remove_orphans
from moorage.stores.simulated_disk import SimulatedDisk, SimulatedFile

if TYPE_CHECKING:
    from moorage.runtime.ports import Claim
    from moorage.stores.simulated_disk import Operation

ROOT = Path("/journal")
LAYOUT = Layout(ROOT)


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


async def fill(store: JournalStore, scribe: Any, rotations: int) -> None:
    while store.statistics().rotations < rotations:
        await scribe.append(store, "a", count=4)


async def test_a_full_segment_is_sealed_with_a_side_file_and_a_checkpoint(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await fill(store, scribe, 1)
        names = {path.relative_to(ROOT).as_posix() for path in disk.files()}
        size = len(disk.files()[ROOT / "segments" / "00000001.log"])

        assert size >= 4096
        assert {
            "segments/00000001.log",
            f"segments/00000001-{size:x}.index",
            "segments/00000002.log",
            "directory/00000003",
        } <= names
        await scribe.check(store)


async def test_a_killed_journal_replays_only_what_came_after_the_last_checkpoint(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await fill(store, scribe, 2)
        killed = disk.crashed(lambda _: 0)

    async with open_store(JournalStore(ROOT, disk=killed)) as store:
        assert store.recovery.replayed_bytes < 4096 + SEGMENT_HEADER_SIZE
        await scribe.check(store)


async def test_a_kill_while_a_segment_is_sealed_replays_two_and_seals_again(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    killed: list[SimulatedDisk] = []

    def watch(disk: SimulatedDisk, operation: Operation, done: bool) -> None:
        if operation.kind == "create" and operation.path.suffix == ".index" and not killed:
            killed.append(disk.crashed(lambda _: 0))

    disk.watch = watch
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        while not killed:
            await scribe.append(store, "a", count=4)
        disk.watch = None
        acknowledged = scribe.logs["a"].head

    async with open_store(JournalStore(ROOT, disk=killed[0], segment_bytes=4096)) as store:
        assert store.recovery.replayed_bytes >= 4096
        page = await store.read("a", limit=10_000)
        assert [event.seq for event in page.events] == list(range(1, page.head_seq + 1))
        assert page.head_seq >= acknowledged - 4
        with trio.fail_after(60):
            while store.statistics().rotations < 1:
                await trio.sleep(0.001)
        page = await store.read("a", limit=10_000)
        assert [event.seq for event in page.events] == list(range(1, page.head_seq + 1))


async def test_segments_grow_with_the_checkpoint_that_their_end_costs(
    disk: SimulatedDisk, scribe: Any, open_store: Any, new_info: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        for number in range(50):
            claim = await store.claim(f"session-{number}")
            info = new_info(f"session-{number}", summary="x" * 100)
            await store.append(claim, expected_seq=1, records=[], info=info)
    (checkpoint,) = [
        len(data) for path, data in disk.files().items() if path.parent.name == "directory"
    ]

    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await fill(store, scribe, 1)

    size = len(disk.files()[ROOT / "segments" / "00000001.log"])
    assert size > 4 * checkpoint > 4 * 4096


async def test_a_close_that_fails_loses_nothing(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.write(store, 20)
        disk.fail("create", 1)

    assert not disk.locked
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        assert store.recovery.replayed_frames > 0
        await scribe.check(store)


async def test_a_poison_that_comes_during_a_rotation_ends_maintenance_and_nothing_else(
    scribe: Any, open_store: Any
) -> None:
    disk = HoldingDisk(ROOT / "segments" / "00000002.log")
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        while not disk.entered.is_set():
            await scribe.append(store, "a", count=4)
        disk.fail("sync", 1)
        with pytest.raises(StoreFailed) as caught:
            await scribe.append(store, "a", count=4)
        disk.hold.set()
        await trio.testing.wait_all_tasks_blocked(0.05)

        assert caught.value.poisoned
        assert (await store.read("a", limit=1)).events
        assert store.statistics().rotations == 0
        assert not disk.unlinked


class HoldingDisk(SimulatedDisk):
    """Holds who creates one of its files until it is let go."""

    def __init__(self, held: Path) -> None:
        super().__init__()
        self._held = held
        self.entered, self.hold = threading.Event(), threading.Event()

    @property
    def unlinked(self) -> list[Path]:
        return [operation.path for operation in self.operations if operation.kind == "unlink"]

    def create(self, path: Path) -> SimulatedFile:
        if path == self._held:
            self.entered.set()
            assert self.hold.wait(60)
        return super().create(path)


class FullDisk(SimulatedDisk):
    """Has no room for directory checkpoints while it is ``full``."""

    full = False
    refused = 0

    def create(self, path: Path) -> SimulatedFile:
        if self.full and path.parent.name == "directory":
            self.refused += 1
            raise OSError(errno.ENOSPC, "injected")
        return super().create(path)


async def test_a_failing_seal_is_tried_again_after_a_pause_and_not_with_every_commit(
    scribe: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.stores.journal.maintenance.RETRY_SECONDS", 3600.0)
    disk = FullDisk()
    disk.full = True
    with trio.fail_after(60):  # to close the journal ends the pause
        async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
            while not disk.refused:
                await scribe.append(store, "a", count=4)
            for _ in range(50):
                await scribe.append(store, "a", count=4)
            await trio.testing.wait_all_tasks_blocked(0.01)

            assert disk.refused == 1
            disk.full = False

    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.check(store)


async def test_a_seal_that_was_asked_for_and_failed_is_tried_again_in_the_background(
    scribe: Any, open_store: Any
) -> None:
    disk = FullDisk()
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=4)
        disk.full = True
        with pytest.raises(StoreFailed, match="nothing was lost"):
            await store.compact()
        assert store.statistics().rotations == 0

        disk.full = False
        await scribe.rotated(store, 1)
        await scribe.check(store)


async def compact(store: JournalStore) -> StoreFailed | None:
    """The error with which it failed."""
    try:
        await store.compact()
    except StoreFailed as error:
        return error
    return None


@pytest.mark.parametrize("kind", ["create", "write"])
async def test_what_finds_no_room_leaves_no_file_behind_and_is_done_later(
    kind: Any, scribe: Any, open_store: Any, new_info: Any
) -> None:
    failures = 0
    for number in itertools.count(1):
        disk = SimulatedDisk()
        async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=65536)) as store:
            await fill_and_trim(store, new_info)
            disk.fail(kind, number, error_number=errno.ENOSPC, after_bytes=7)
            error = await compact(store)
            if disk.faults:
                break  # there is no operation with this number
            if error is not None:
                failures += 1
                assert not error.poisoned
                if store.statistics().segments > 1:
                    await scribe.rotated(store, 1)  # the seal is tried again
            manifest = load_manifest(disk, LAYOUT)
            assert manifest is not None
            assert remove_orphans(disk, LAYOUT, manifest) == 0
            assert ROOT / "MANIFEST.new" not in disk.files()

            await store.compact()
            assert (await store.read("a", after=20)).head_seq == 20
            assert len((await store.read("b")).events) == 20

    assert failures >= 6


@pytest.mark.parametrize("durability", list(Durability))
@pytest.mark.parametrize("kind", ["sync", "sync_directory"])
async def test_a_sync_that_fails_in_maintenance_poisons_and_the_error_says_so(
    kind: Any, durability: Durability, open_store: Any, new_info: Any
) -> None:
    for number in itertools.count(1):
        disk = SimulatedDisk()
        store = JournalStore(ROOT, disk=disk, segment_bytes=65536, durability=durability)
        async with open_store(store):
            claim = await fill_and_trim(store, new_info)
            disk.fail(kind, number)
            error = await compact(store)
            if disk.faults:
                break
            assert error is not None
            assert error.poisoned
            assert "could not be made durable" in str(error)
            assert store.statistics().poisoned
            record = encode_event(1, "note", None, {})
            with pytest.raises(StoreFailed) as caught:
                await store.append(claim, expected_seq=21, records=[record])
            assert caught.value.poisoned
            found = disk.crashed(lambda outcomes: 1 if outcomes == 4 else 0)
        # what was not synced is gone: the end of the log, and no hole in the middle of it
        async with open_store(JournalStore(ROOT, disk=found)) as store:
            if durability is Durability.COMMIT:
                assert len((await store.read("b")).events) == 20

    assert number > 8


async def fill_and_trim(store: JournalStore, new_info: Any) -> Claim:
    """Twenty events of two sessions; most of what is sealed is dead."""
    claims = {name: await store.claim(name) for name in "ab"}
    for seq in range(1, 21):
        for name, size in (("a", 2_000), ("b", 50)):
            record = encode_event(1, "note", None, {"text": "x" * size})
            facts = new_info(name) if seq == 1 else None
            await store.append(claims[name], expected_seq=seq, records=[record], info=facts)
    await store.trim(claims["a"], 21)
    return claims["b"]
