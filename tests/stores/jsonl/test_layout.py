from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import CorruptLog, StoreFailed
from moorage.stores.jsonl.layout import (
    Layout,
    load_generation,
    log_name,
    replace,
    snapshot_name,
    store_generation,
)
from moorage.stores.jsonl.lines import close, note_line

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/store"))


@pytest.fixture
def made(disk: SimulatedDisk) -> SimulatedDisk:
    disk.make_directory(LAYOUT.root)
    return disk


def test_files_are_named_from_the_root() -> None:
    assert LAYOUT.path(log_name("a")) == Path("/store/sessions/a.jsonl")
    assert LAYOUT.path(snapshot_name("a")) == Path("/store/snapshots/a.json")


def test_the_generation_is_durable_and_none_before_the_first(made: SimulatedDisk) -> None:
    assert load_generation(made, LAYOUT) is None

    store_generation(made, LAYOUT, 7)

    assert load_generation(made, LAYOUT) == 7
    assert load_generation(made.crashed(lambda count: count - 1), LAYOUT) == 7


def test_a_newer_format_is_refused(made: SimulatedDisk) -> None:
    line = close([note_line(moorage="store", format=99, generation=1)], "store", 0)
    replace(made, LAYOUT.store, line)

    with pytest.raises(StoreFailed, match="use a newer moorage"):
        load_generation(made, LAYOUT)


def test_a_damaged_one_is_refused(made: SimulatedDisk) -> None:
    store_generation(made, LAYOUT, 7)
    made.put(LAYOUT.store, made.files()[LAYOUT.store].replace(b"7", b"8", 1))

    with pytest.raises(CorruptLog, match=r"store\.json.*line 1: its checksum is wrong"):
        load_generation(made, LAYOUT)


def test_a_replacement_that_fails_leaves_the_old_content(made: SimulatedDisk) -> None:
    replace(made, LAYOUT.index, b"old")
    made.fail("write", 1)

    with pytest.raises(OSError, match="injected"):
        replace(made, LAYOUT.index, b"new")

    assert made.files() == {LAYOUT.index: b"old"}
