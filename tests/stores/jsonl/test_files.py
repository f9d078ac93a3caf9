from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moorage.stores.jsonl import files as module
from moorage.stores.jsonl.commit_log import REMOVE, REPLACE, Change
from moorage.stores.jsonl.files import Files, file_number
from moorage.stores.jsonl.layout import Layout

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/store"))
NAME = "sessions/a.jsonl"
PATH = LAYOUT.path(NAME)


def numbered(number: int) -> bytes:
    return b'{"moorage":"session","file":"%016x"}\n' % number


@pytest.fixture
def files(disk: SimulatedDisk) -> Files:
    for path in (LAYOUT.sessions, LAYOUT.snapshots):
        disk.make_directory(path)
    return Files(disk, LAYOUT)


def test_changes_are_made_and_durable_after_a_sync(disk: SimulatedDisk, files: Files) -> None:
    first = numbered(1)
    files.make([Change(NAME, 1, REPLACE, first), Change(NAME, 1, len(first), b"more\n")])
    assert files.unsynced == {NAME}
    assert PATH not in disk.crashed(lambda count: count - 1).files()

    files.sync()

    assert disk.crashed(lambda count: count - 1).files()[PATH] == first + b"more\n"
    assert files.unsynced == set()


def test_what_is_removed_may_be_gone_already(disk: SimulatedDisk, files: Files) -> None:
    files.make([Change(NAME, 1, REPLACE, b"x"), Change(NAME, 0, REMOVE, b"")])
    files.make([Change(NAME, 0, REMOVE, b"")])
    files.sync()

    assert PATH not in disk.files()


def test_done_again_over_what_was_done_it_is_the_same(disk: SimulatedDisk, files: Files) -> None:
    first = numbered(1)
    changes = [Change(NAME, 1, REPLACE, first), Change(NAME, 1, len(first), b"more\n")]
    files.make(changes)

    files.make_again(changes)

    assert disk.files()[PATH] == first + b"more\n"


def test_a_file_that_was_replaced_since_is_left_alone(disk: SimulatedDisk, files: Files) -> None:
    files.make([Change(NAME, 2, REPLACE, numbered(2))])

    files.make_again([Change(NAME, 1, REPLACE, numbered(1)), Change(NAME, 1, 3, b"xyz")])

    assert disk.files()[PATH] == numbered(2)


def test_a_file_that_was_lost_is_made_again(disk: SimulatedDisk, files: Files) -> None:
    disk.create(PATH).write([bytes(50)], 0)

    files.make_again([Change(NAME, 3, REPLACE, numbered(3))])

    assert disk.files()[PATH] == numbered(3)


def test_a_change_of_a_file_that_is_gone_cannot_be_made(files: Files) -> None:
    with pytest.raises(FileNotFoundError):
        files.make_again([Change(NAME, 3, 10, b"more")])


def test_few_files_are_open_at_once(
    disk: SimulatedDisk, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_FILES_MAX", 2)
    for number in range(4):
        name = f"sessions/{number}.jsonl"
        files.make([Change(name, 1, REPLACE, numbered(1))])
        files.make([Change(name, 1, len(numbered(1)), b"x")])

    assert len(files._open) == 2
    files.sync()
    files.forget("sessions/3.jsonl")
    files.close()
    assert not files._open
    assert all(content.endswith(b"x") for content in disk.files().values())


@pytest.mark.parametrize(
    ("content", "number"),
    [(numbered(2**40), 2**40), (b"", -1), (b'{"file":"12"}', -1), (b'{"file":"xx"}' * 9, -1)],
)
def test_the_number_stands_in_the_first_line(
    content: bytes, number: int, disk: SimulatedDisk, files: Files
) -> None:
    file = disk.create(PATH)
    file.write([content], 0)

    assert file_number(file) == number
