from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from moorage.runtime.errors import StoreFailed
from moorage.stores.journal import JournalStore, verify
from moorage.stores.simulated_disk import SimulatedDisk

ROOT = Path("/journal")
SEGMENT = ROOT / "segments" / "00000001.log"


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


def is_sound(disk: SimulatedDisk) -> bool:
    try:
        return verify(ROOT, disk=disk).sound
    except StoreFailed:  # a version from the future
        return False


async def test_a_sound_journal_is_counted(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.fill(store)
        # beside the live owner
        report = await trio.to_thread.run_sync(lambda: verify(ROOT, disk=disk))
        assert report.sound
        assert (report.sessions, report.events) == (3, 240)
        await store.compact()

    report = verify(ROOT, disk=disk)

    assert report.sound
    assert (report.sessions, report.events, report.tail_bytes) == (3, 240, 0)
    assert report.segments > 1
    assert report.frames_bytes > 4096


async def test_verify_changes_nothing(disk: SimulatedDisk, scribe: Any, open_store: Any) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.write(store, 10)
        disk = disk.crashed(lambda _: 0)
    disk.put(SEGMENT, disk.files()[SEGMENT] + b"tail")
    before = disk.files()

    report = verify(ROOT, disk=disk)

    assert report.sound
    assert report.tail_bytes == 4
    assert disk.files() == before
    assert disk.operations == []


async def test_every_flipped_byte_of_a_closed_journal_is_found(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
        await scribe.append(store, "a", count=1)
    for path, content in disk.files().items():
        if path.name in ("LOCK", "DURABLE"):
            continue
        for offset in range(len(content)):
            damaged = bytearray(content)
            damaged[offset] ^= 0x20
            disk.put(path, bytes(damaged))
            assert not is_sound(disk), (path, offset)
        disk.put(path, content)


async def test_a_problem_names_file_offset_and_reason(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
        end = store.statistics().size_bytes
        await scribe.append(store, "a", count=1)
        await scribe.append(store, "a", count=1)
    damaged = bytearray(disk.files()[SEGMENT])
    damaged[end + 60] ^= 1
    disk.put(SEGMENT, bytes(damaged))

    report = verify(ROOT, disk=disk)

    assert str(report.problems[0]) == (f"{SEGMENT} at {end}: the frame's checksum does not match")


async def test_a_missing_segment_is_a_problem(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.write(store, 60)
    disk.unlink(SEGMENT)

    report = verify(ROOT, disk=disk)

    assert report.problems[0].reason == "the file is missing"


def test_there_must_be_a_journal(disk: SimulatedDisk) -> None:
    with pytest.raises(StoreFailed, match="there is no journal"):
        verify(ROOT, disk=disk)
