from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import CorruptLog
from moorage.stores.jsonl import cursors as module
from moorage.stores.jsonl.cursors import (
    Cursors,
    cursor_line,
    follow_cursors,
    load_cursors,
    new_cursors,
)
from moorage.stores.jsonl.layout import CURSORS, Layout

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/store"))
PATH = LAYOUT.path(CURSORS)


@pytest.fixture
def cursors(disk: SimulatedDisk) -> Cursors:
    disk.make_directory(LAYOUT.root)
    return new_cursors(disk, LAYOUT, 5, None, {})


def write(disk: SimulatedDisk, cursors: Cursors, *lines: bytes) -> None:
    disk.open(PATH, write=True).write(lines, cursors.end)


def test_the_last_line_of_a_name_counts(disk: SimulatedDisk, cursors: Cursors) -> None:
    lines = [("a", 0, "x", 1), ("a", 0, "y", 2), ("b", 3, "x", 4), ("a", 0, "x", 5)]
    write(disk, cursors, *(cursor_line(*line) for line in lines))

    found = load_cursors(disk, LAYOUT)

    assert found is not None
    assert (found.file, found.lines) == (5, 5)
    assert found.of("a", 0) == {"x": 5, "y": 2}
    assert found.of("b", 3) == {"x": 4}


def test_cursors_of_a_former_life_are_gone(cursors: Cursors) -> None:
    cursors.put("a", 0, "x", 1)
    cursors.put("a", 7, "y", 8)
    cursors.put("a", 0, "z", 2)

    assert cursors.of("a", 7).get("y") == 8
    assert cursors.of("a", 7).get("x") is None
    assert cursors.of("a", 0).get("z") is None
    assert cursors.of("a", 9).get("y") is None


def test_a_new_file_has_what_is_still_good(disk: SimulatedDisk, cursors: Cursors) -> None:
    for session_id in ("a", "b", "c"):
        cursors.put(session_id, 1, "x", 7)

    new = new_cursors(disk, LAYOUT, 6, cursors, {"a": 1, "b": 2})

    found = load_cursors(disk.crashed(lambda count: count - 1), LAYOUT)
    assert found == new
    assert (new.file, new.saved, new.lines) == (6, {"a": (1, {"x": 7})}, 2)


def test_a_torn_tail_is_left_out_and_damage_before_it_refused(
    disk: SimulatedDisk, cursors: Cursors
) -> None:
    one, two = cursor_line("a", 0, "x", 1), cursor_line("a", 0, "x", 2)
    write(disk, cursors, one, two[:-1])
    found = load_cursors(disk, LAYOUT)
    assert found is not None
    assert (found.of("a", 0).get("x"), found.end) == (1, cursors.end + len(one))

    write(disk, cursors, one.replace(b":1,", b":2,"), two)
    with pytest.raises(CorruptLog, match=r"cursors\.jsonl.*line 2: its checksum"):
        load_cursors(disk, LAYOUT)


def test_following_reads_only_what_is_new(disk: SimulatedDisk, cursors: Cursors) -> None:
    found = load_cursors(disk, LAYOUT)
    assert found is not None
    write(disk, cursors, cursor_line("a", 0, "x", 1))

    follow_cursors(disk.open(PATH), found, str(PATH))

    assert found.of("a", 0).get("x") == 1
    assert found.lines == 2


def test_there_are_none_without_a_file_or_in_an_empty_one(disk: SimulatedDisk) -> None:
    disk.make_directory(LAYOUT.root)
    assert load_cursors(disk, LAYOUT) is None

    disk.create(PATH)

    assert load_cursors(disk, LAYOUT) is None


def test_a_file_is_outdated_when_most_lines_are(
    cursors: Cursors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OUTDATED_LINES_MIN", 10)
    cursors.put("a", 0, "x", 1)
    cursors.lines = 14
    assert not cursors.outdated

    cursors.lines = 15

    assert cursors.outdated
