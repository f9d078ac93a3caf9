from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from moorage.runtime.errors import CorruptLog
from moorage.runtime.ports import Snapshot
from moorage.stores.jsonl.layout import Layout
from moorage.stores.jsonl.scanning import Facts
from moorage.stores.jsonl.snapshots import load_snapshot, snapshot_content

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/store"))
FACTS = Facts("a", "a", 5, 2, 2, 9, 3, 1, 1, 1, 1, b"")
PATH = LAYOUT.snapshots / "a.json"


@pytest.fixture
def kept(disk: SimulatedDisk) -> SimulatedDisk:
    disk.make_directory(LAYOUT.snapshots)
    disk.create(PATH).write([snapshot_content(FACTS, Snapshot(7, b"\x00state"))], 0)
    return disk


def test_a_snapshot_is_kept_as_it_is(kept: SimulatedDisk) -> None:
    assert load_snapshot(kept, LAYOUT, FACTS) == Snapshot(7, b"\x00state")


@pytest.mark.parametrize("changes", [{"life": 3}, {"head_seq": 6}, {"stem": "b"}])
def test_one_of_another_life_or_ahead_of_the_head_is_none(
    changes: dict[str, int], kept: SimulatedDisk
) -> None:
    assert load_snapshot(kept, LAYOUT, attrs.evolve(FACTS, **changes)) is None


def test_a_damaged_one_matters_only_when_events_are_gone(kept: SimulatedDisk) -> None:
    kept.put(PATH, kept.files()[PATH].replace(b'"seq":7', b'"seq":8'))

    assert load_snapshot(kept, LAYOUT, FACTS) is None
    with pytest.raises(CorruptLog, match=r"a\.json.*checksum"):
        load_snapshot(kept, LAYOUT, attrs.evolve(FACTS, oldest_seq=4))
