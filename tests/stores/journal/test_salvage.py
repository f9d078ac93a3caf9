from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import trio
from moorage.runtime.errors import InvalidArgument, StoreFailed
from moorage.stores.journal import JournalStore, SalvageReport, salvage, verify
from moorage.stores.simulated_disk import SimulatedDisk, SimulatedFile

ROOT = Path("/journal")
TARGET = Path("/salvaged")
SEGMENT = ROOT / "segments" / "00000001.log"


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


async def run_salvage(disk: SimulatedDisk) -> SalvageReport:
    before = {path: data for path, data in disk.files().items() if ROOT in path.parents}
    report = await trio.to_thread.run_sync(lambda: salvage(ROOT, TARGET, disk=disk))
    assert {path: data for path, data in disk.files().items() if ROOT in path.parents} == before
    assert verify(TARGET, disk=disk).sound
    return report


async def test_a_sound_journal_is_copied_whole(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.write(store, 120)
        await store.compact()
        await scribe.write(store, 20)

    report = await run_salvage(disk)

    assert (report.lost, report.problems) == ({}, ())
    async with open_store(JournalStore(TARGET, disk=disk)) as store:
        await scribe.check(store)


async def test_what_a_damaged_frame_takes_with_it_is_told_and_the_numbering_stays(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    ends = []
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        for _ in range(5):
            await scribe.append(store, "a", count=2)
            ends.append(store.statistics().size_bytes)
        await scribe.append(store, "b", count=2)
    damaged = bytearray(disk.files()[SEGMENT])
    damaged[ends[1] + 70] ^= 1
    disk.put(SEGMENT, bytes(damaged))

    report = await run_salvage(disk)

    assert report.lost == {"a": [(5, 6)]}
    assert (report.sessions, report.events) == (2, 10)
    assert [problem.offset for problem in report.problems] == [ends[1]]
    async with open_store(JournalStore(TARGET, disk=disk)) as store:
        types = {event.seq: event.type for event in (await store.read("a")).events}
        assert list(types) == list(range(1, 11))
        assert [seq for seq, type in types.items() if type == "event_lost"] == [5, 6]
        claim = await store.claim("a")
        assert claim.head_seq == 10


async def test_a_journal_without_manifest_and_directory_is_salvaged_from_its_segments(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        for number in range(60):
            await scribe.append(store, f"session-{number % 3}", count=4)
    for path in list(disk.files()):
        if path.name == "MANIFEST" or path.parent.name == "directory":
            disk.unlink(path)

    report = await run_salvage(disk)

    assert report.lost == {}
    assert report.problems[0].reason == "the file is missing"
    async with open_store(JournalStore(TARGET, disk=disk)) as store:
        await scribe.check(store)


async def test_a_missing_segment_costs_what_was_in_it(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        for _ in range(60):
            await scribe.append(store, "a", count=4)
    disk.unlink(SEGMENT)

    report = await run_salvage(disk)

    ((first, last),) = report.lost["a"]
    assert first == 1
    assert 1 < last < 240
    assert report.events == 240 - last


async def test_a_target_that_is_there_is_refused(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.write(store, 3)

    with pytest.raises(InvalidArgument, match="is there already"):
        await trio.to_thread.run_sync(lambda: salvage(ROOT, ROOT, disk=disk))


async def test_there_must_be_a_journal(disk: SimulatedDisk) -> None:
    with pytest.raises(StoreFailed, match="there is no journal"):
        await trio.to_thread.run_sync(lambda: salvage(ROOT, TARGET, disk=disk))


async def test_what_an_older_manifest_does_not_know_is_salvaged_too(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        older = disk.files()[ROOT / "MANIFEST"]
        await scribe.fill(store)
    disk.put(ROOT / "MANIFEST", older)

    report = await run_salvage(disk)

    assert [problem.file for problem in report.problems] == [str(ROOT / "MANIFEST")]
    assert report.problems[0].reason.startswith("it is older than DURABLE")
    assert report.lost == {}
    async with open_store(JournalStore(TARGET, disk=disk)) as store:
        await scribe.check(store)


class CountingDisk(SimulatedDisk):
    """Knows how many files are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open_files: weakref.WeakSet[SimulatedFile] = weakref.WeakSet()
        self.open_max = 0

    def open(self, path: Path, *, write: bool = False) -> SimulatedFile:
        file = super().open(path, write=write)
        self.open_files.add(file)
        self.open_max = max(self.open_max, len(self.open_files))
        return file


async def test_a_journal_of_many_segments_needs_few_open_files(
    scribe: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.stores.journal.files.OPEN_FILES_MAX", 3)
    disk = CountingDisk()
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        for rotations in range(1, 13):
            while store.statistics().rotations < rotations:
                await scribe.append(store, "a", count=4)
    disk.open_max = 0

    report = await run_salvage(disk)

    assert report.lost == {}
    assert disk.open_max <= 8
