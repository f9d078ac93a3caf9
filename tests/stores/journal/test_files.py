from __future__ import annotations

import resource
from array import array
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import CorruptLog
from moorage.stores.journal import files as files_module
from moorage.stores.journal.disk import OsDisk, OsFile
from moorage.stores.journal.files import Files
from moorage.stores.journal.manifest import Layout, Segment
from moorage.stores.journal.sealed import SealedIndex
from moorage.stores.journal.sealing import SealedWriter, SessionBlocks

from tests.stores.journal.open_files import open_files

if TYPE_CHECKING:
    from pathlib import Path

LOG_ID = bytes(range(16))


class CountingDisk(OsDisk):
    """Notes the names of the files that are opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, path: Path, *, write: bool = False) -> OsFile:
        self.opened.append(path.name)
        return super().open(path, write=write)


@pytest.fixture
def disk() -> CountingDisk:
    return CountingDisk()


@pytest.fixture
def files(disk: CountingDisk, tmp_path: Path) -> Files:
    layout = Layout(tmp_path)
    disk.make_directory(layout.segments)
    for number in range(1, 5):
        disk.create(layout.segment(number)).write([b"log %d" % number], 0)
        write_index(disk, layout, number, number * 100)
    return Files(disk, layout, LOG_ID)


def write_index(disk: OsDisk, layout: Layout, number: int, end: int) -> None:
    file = disk.create(layout.index(number, end))
    writer = SealedWriter(file, log_id=LOG_ID, number=number, end=end)
    blocks = array("Q", (number, 64, 10 | 1 << 32))
    writer.add(SessionBlocks("a", blocks, (0, 0, 0), 0))
    writer.finish([], [])


def segment(number: int, end: int) -> Segment:
    return Segment(number, low=number, high=number, end=end, index_end=end)


def test_a_file_is_opened_once_and_stays_open(files: Files, disk: CountingDisk) -> None:
    first = files.log(1)
    again = files.log(1)
    index = files.index(segment(2, 200))

    assert first is again
    assert first.read(100, 0) == b"log 1"
    assert files.index(segment(2, 200)) is index
    assert disk.opened == ["00000001.log", "00000002-c8.index"]


def test_the_one_used_longest_ago_is_dropped_when_there_are_too_many(
    files: Files, disk: CountingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "OPEN_FILES_MAX", 2)
    files = Files(disk, files.layout, LOG_ID)
    for number in (1, 2, 1, 3):
        files.log(number)
    disk.opened.clear()

    for number in (1, 3, 2):
        files.log(number)

    assert disk.opened == ["00000002.log"]


def test_a_file_that_was_dropped_lives_on_while_somebody_reads_it(files: Files) -> None:
    file = files.log(1)

    files.close()

    assert file.read(100, 0) == b"log 1"
    assert files.log(1) is not file


def test_a_longer_side_file_of_the_same_segment_is_another_one(files: Files) -> None:
    files.index(segment(1, 100))
    write_index(OsDisk(), files.layout, 1, 150)

    assert files.index(segment(1, 150)).end == 150
    assert files.index(segment(1, 100)).end == 100


def test_a_file_that_was_compacted_away_is_missing_and_is_not_remembered_as_such(
    files: Files, disk: CountingDisk
) -> None:
    with pytest.raises(FileNotFoundError):
        files.log(9)
    with pytest.raises(FileNotFoundError):
        files.index(segment(9, 900))
    disk.create(files.layout.segment(9)).write([b"log 9"], 0)

    assert files.log(9).read(100, 0) == b"log 9"


def test_a_side_file_that_is_opened_again_is_not_read_from_end_to_end_again(
    files: Files, disk: CountingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "OPEN_INDEXES_MAX", 1)
    files = Files(disk, files.layout, LOG_ID)
    checks = []
    check = SealedIndex._check_rest
    monkeypatch.setattr(
        SealedIndex, "_check_rest", lambda self, crc: (checks.append(self.end), check(self, crc))
    )

    for number in (1, 2, 1, 2):
        assert files.index(segment(number, number * 100)).find("a") is not None
    files.retain([segment(1, 100)])
    for number in (1, 2):
        files.index(segment(number, number * 100))

    assert disk.opened == ["00000001-64.index", "00000002-c8.index"] * 3
    assert checks == [100, 200, 200]  # who was retained is known, who was removed is a new file


@pytest.mark.parametrize(("allowed", "kept"), [(9, 2), (100, 3), (-1, 3)])
def test_side_files_take_a_quarter_of_what_the_process_may_open(
    files: Files,
    disk: CountingDisk,
    monkeypatch: pytest.MonkeyPatch,
    allowed: int,
    kept: int,
) -> None:
    monkeypatch.setattr(files_module, "OPEN_INDEXES_MAX", 3)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (allowed, -1))
    files = Files(disk, files.layout, LOG_ID)
    for number in (1, 2, 3, 4):
        files.index(segment(number, number * 100))
    disk.opened.clear()

    for number in (4, 3, 2, 1):
        files.index(segment(number, number * 100))

    assert len(disk.opened) == 4 - kept


def test_a_damaged_side_file_is_named(files: Files) -> None:
    path = files.layout.index(3, 300)
    path.write_bytes(path.read_bytes()[:-1] + b"!")

    with pytest.raises(CorruptLog, match=r"00000003-12c\.index"):
        files.index(segment(3, 300))


def test_a_file_that_is_named_no_more_is_closed_with_its_last_user(files: Files) -> None:
    before = len(open_files(files.layout.root))
    first, second = files.log(1), files.log(2)
    files.index(segment(1, 100))

    files.retain([segment(2, 200)])

    assert len(open_files(files.layout.root)) == before + 2
    assert first.read(100, 0) == b"log 1"
    del first
    assert len(open_files(files.layout.root)) == before + 1
    assert files.log(2) is second


def test_a_file_that_is_named_no_more_can_be_read_and_is_not_kept(
    files: Files, disk: CountingDisk
) -> None:
    files.retain([segment(2, 200)])
    before = len(open_files(files.layout.root))

    assert files.log(1).read(100, 0) == b"log 1"
    assert files.index(segment(1, 100)).end == 100

    assert len(open_files(files.layout.root)) == before


def test_a_longer_side_file_takes_the_place_of_the_one_before(files: Files) -> None:
    write_index(OsDisk(), files.layout, 1, 150)
    before = len(open_files(files.layout.root))
    files.index(segment(1, 100))
    longer = files.index(segment(1, 150))

    files.retain([segment(1, 150)])

    assert len(open_files(files.layout.root)) == before + 1
    assert files.index(segment(1, 150)) is longer
