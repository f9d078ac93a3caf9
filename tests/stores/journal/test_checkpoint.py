from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.stores.journal import format as fmt
from moorage.stores.journal.checkpoint import (
    ENTRIES_PER_CHUNK,
    load_directory,
    parse_directory,
    store_directory,
)
from moorage.stores.journal.directory import Directory, Entry
from moorage.stores.journal.manifest import Layout, Manifest, Segment
from moorage.stores.simulated_disk import SimulatedDisk

LOG_ID = bytes(range(16))
LAYOUT = Layout(Path("/journal"))
MANIFEST = Manifest(LOG_ID, 1, 1, 3, (Segment(1, 1, 1),), 2, 1, 64, clean=True)


def directory_of(count: int) -> Directory:
    directory = Directory()
    for number in range(count):
        entry = Entry()
        if number % 5:
            entry.info = b"info %d" % number
            entry.flags = fmt.HAS_INFO | (fmt.NEEDS_WORKER if number % 7 == 1 else 0)
            entry.cursors = {"reader": number, "é": 2**40} if number % 3 == 0 else None
        entry.head_seq, entry.oldest_seq = 2**45 + number, number + 1
        entry.modified_ns = -number
        entry.segment, entry.snapshot_place, entry.snapshot_seq = number % 9, 3, number
        directory.put(f"sessión-{number}", entry)
    return directory


def facts(directory: Directory) -> list[tuple[object, ...]]:
    return [
        (session_id, *(getattr(entry, name) for name in Entry.__slots__))
        for session_id, entry in directory.entries.items()
    ]


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory(LAYOUT.directories)
    return disk


def store(disk: SimulatedDisk, directory: Directory) -> int:
    return store_directory(
        disk,
        LAYOUT,
        2,
        log_id=LOG_ID,
        directory=directory,
        session_ids=list(directory.entries),
        in_sealing=(0, ()),
    )


@pytest.mark.parametrize("count", [0, 1, ENTRIES_PER_CHUNK, 2 * ENTRIES_PER_CHUNK + 1])
def test_every_entry_comes_back_in_order(disk: SimulatedDisk, count: int) -> None:
    directory, found = directory_of(count), Directory()

    size = store(disk, directory)
    load_directory(disk, LAYOUT, MANIFEST, found)

    assert facts(found) == facts(directory)
    assert list(found.needing_worker) == list(directory.needing_worker)
    assert found.existing == directory.existing
    assert size == len(disk.files()[LAYOUT.directory(2)])


def test_sessions_of_the_segment_that_is_being_sealed_point_to_it(disk: SimulatedDisk) -> None:
    directory, found = directory_of(10), Directory()

    store_directory(
        disk,
        LAYOUT,
        2,
        log_id=LOG_ID,
        directory=directory,
        session_ids=list(directory.entries),
        in_sealing=(50, {"sessión-1", "sessión-5"}),
    )
    load_directory(disk, LAYOUT, MANIFEST, found)

    # the fifth was deleted: nothing of it is looked for any more
    assert found.entries["sessión-1"].segment == 50
    assert found.entries["sessión-5"].segment == directory.entries["sessión-5"].segment
    assert found.entries["sessión-2"].segment == directory.entries["sessión-2"].segment


def test_every_flipped_byte_and_every_cut_is_refused(disk: SimulatedDisk) -> None:
    store(disk, directory_of(4))
    data = disk.files()[LAYOUT.directory(2)]

    for offset in range(len(data)):
        damaged = bytearray(data)
        damaged[offset] ^= 2
        with pytest.raises(StoreFailed):
            parse_directory(bytes(damaged), "directory", LOG_ID, Directory())
        with pytest.raises(CorruptLog):
            parse_directory(data[:offset], "directory", LOG_ID, Directory())


def test_the_directory_of_another_log_is_refused(disk: SimulatedDisk) -> None:
    store(disk, directory_of(4))

    with pytest.raises(CorruptLog, match="another log"):
        load_directory(disk, LAYOUT, attrs.evolve(MANIFEST, log_id=bytes(16)), Directory())
