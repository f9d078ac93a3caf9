from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import CorruptLog
from moorage.stores.journal.disk import SyncFailed
from moorage.stores.jsonl.commit_log import (
    HEADER_SIZE,
    REMOVE,
    REPLACE,
    Change,
    CommitLog,
    new_commit_log,
    read_frames,
    was_synced,
)

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedDisk

DIRECTORY = Path("/commits")
PATH = DIRECTORY / "00000007"
FIRST = [Change("sessions/a.jsonl", 5, 100, b"line\n"), Change("x", 0, REPLACE, b"all")]
SECOND = [Change("x", 0, REMOVE, b"")]


@pytest.fixture
def log(disk: SimulatedDisk) -> CommitLog:
    disk.make_directory(DIRECTORY)
    return new_commit_log(disk, DIRECTORY, 7, synced=True)


def frames(disk: SimulatedDisk) -> list[list[Change]]:
    return list(read_frames(disk.open(PATH), PATH))


def test_what_was_written_is_durable_and_read_in_order(disk: SimulatedDisk, log: CommitLog) -> None:
    log.write(FIRST)
    log.write(SECOND)

    assert frames(disk.crashed(lambda count: count - 1)) == [FIRST, SECOND]


def test_a_new_one_is_empty(disk: SimulatedDisk, log: CommitLog) -> None:
    assert frames(disk.crashed(lambda count: count - 1)) == []
    assert (log.number, log.end) == (7, HEADER_SIZE)


def test_without_syncs_it_is_the_systems_to_write_out(disk: SimulatedDisk) -> None:
    disk.make_directory(DIRECTORY)
    log = new_commit_log(disk, DIRECTORY, 7, synced=False)

    log.write(FIRST)

    assert frames(disk) == [FIRST]
    assert frames(disk.crashed(lambda count: min(1, count - 1))) == []


def test_a_write_that_failed_is_cut_off_and_the_next_goes_in_its_place(
    disk: SimulatedDisk, log: CommitLog
) -> None:
    log.write(FIRST)
    disk.fail("write", 1, after_bytes=20)
    with pytest.raises(OSError, match="injected"):
        log.write(SECOND)
    log.cut()
    assert disk.open(PATH).size() == log.end
    log.write(SECOND)

    assert frames(disk) == [FIRST, SECOND]


def test_a_sync_that_failed_says_so(disk: SimulatedDisk, log: CommitLog) -> None:
    disk.fail("sync", 1)

    with pytest.raises(SyncFailed):
        log.write(FIRST)


def test_a_torn_end_is_no_commit_at_whatever_byte(disk: SimulatedDisk, log: CommitLog) -> None:
    log.write(FIRST)
    whole = log.end
    log.write(FIRST[::-1])
    content = disk.files()[PATH]
    for end in range(whole, len(content)):
        disk.put(PATH, content[:end] + bytes(len(content) - end) * (end % 2))

        assert frames(disk) == [FIRST]


def test_a_changed_commit_with_a_whole_one_behind_it_is_damage(
    disk: SimulatedDisk, log: CommitLog
) -> None:
    log.write(FIRST)
    log.write(SECOND)
    content = bytearray(disk.files()[PATH])
    content[HEADER_SIZE + 20] ^= 1
    disk.put(PATH, bytes(content))

    with pytest.raises(CorruptLog, match=f"at offset {HEADER_SIZE}.*a whole one follows"):
        frames(disk)


def test_where_nothing_is_synced_a_changed_commit_is_where_it_ends(disk: SimulatedDisk) -> None:
    disk.make_directory(DIRECTORY)
    log = new_commit_log(disk, DIRECTORY, 7, synced=False)
    log.write(FIRST)
    content = bytearray(disk.files()[PATH])
    log.write(SECOND)
    log.write(FIRST)
    disk.put(PATH, bytes(content) + bytes(5) + disk.files()[PATH][len(content) + 5 :])

    assert frames(disk) == [FIRST]
    assert not was_synced(disk.open(PATH))


def test_commits_of_another_log_are_none_of_this_one(disk: SimulatedDisk, log: CommitLog) -> None:
    log.write(FIRST)
    old = disk.files()[PATH]
    new_commit_log(disk, DIRECTORY, 7, synced=True)
    disk.put(PATH, disk.files()[PATH] + old[HEADER_SIZE:])

    assert frames(disk) == []


def test_a_header_that_never_came_to_be_holds_nothing(disk: SimulatedDisk, log: CommitLog) -> None:
    for content in (b"", bytes(200), b"MOOR"):
        disk.put(PATH, content)

        assert frames(disk) == []


def test_one_that_cannot_be_made_leaves_no_file(disk: SimulatedDisk) -> None:
    disk.make_directory(DIRECTORY)
    disk.fail("write", 1)

    with pytest.raises(OSError, match="injected"):
        new_commit_log(disk, DIRECTORY, 7, synced=True)

    assert disk.files() == {}
