from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.stores.journal import JournalStore
from moorage.stores.journal.format import SEGMENT_HEADER_SIZE
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import Operation

ROOT = Path("/journal")


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
        with trio.fail_after(5):
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
