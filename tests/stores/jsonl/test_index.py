from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from moorage.runtime.codec import encode_info
from moorage.stores.conformance.scenario import facts as info_facts
from moorage.stores.jsonl.index import closed_with, load_index, store_index
from moorage.stores.jsonl.layout import Layout
from moorage.stores.jsonl.lines import close
from moorage.stores.jsonl.scanning import Facts

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/store"))
A = Facts("ä", "~a", 5, 0, 0, 7, 1, 9, 3, 400, 8, encode_info(info_facts("ä", summary="s")))
GONE = attrs.evolve(A, session_id="gone", stem="gone", info=None)


@pytest.fixture
def stored(disk: SimulatedDisk) -> SimulatedDisk:
    disk.make_directory(LAYOUT.root)
    store_index(disk, LAYOUT, [A, GONE], {"~a": 77})
    return disk


def test_the_index_has_the_facts_of_every_session(stored: SimulatedDisk) -> None:
    assert load_index(stored, LAYOUT) == {"~a": (A, 77), "gone": (GONE, -1)}


def test_a_missing_index_knows_nothing(stored: SimulatedDisk) -> None:
    stored.unlink(LAYOUT.index)

    assert load_index(stored, LAYOUT) == {}


def test_a_damaged_line_is_left_out(stored: SimulatedDisk) -> None:
    content = stored.files()[LAYOUT.index]
    stored.put(LAYOUT.index, content.replace(b'"head_seq":7', b'"head_seq":8', 1) + b"torn")

    assert load_index(stored, LAYOUT) == {"gone": (GONE, -1)}


def test_an_index_of_other_fields_knows_nothing(stored: SimulatedDisk) -> None:
    stored.put(LAYOUT.index, close([b'{"session_id":"a"}'], "index", 1))

    assert load_index(stored, LAYOUT) == {}


def test_the_end_of_a_batch_is_known_by_its_checksum(disk: SimulatedDisk) -> None:
    disk.make_directory(LAYOUT.root)
    file = disk.create(LAYOUT.index)
    line = close([b'{"trim":5}'], "a", 1)
    file.write([line, b"behind"], 0)

    assert f"{closed_with(file, len(line)):08x}".encode() in line
    assert closed_with(file, len(line) - 1) == -1
    assert closed_with(file, len(line) + 6) == -1
