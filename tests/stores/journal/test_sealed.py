from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from moorage.runtime.errors import CorruptLog
from moorage.stores.journal.changes import name_hash, session_hash
from moorage.stores.journal.sealed import SealedIndex
from moorage.stores.journal.sealing import SealedWriter, SessionBlocks
from moorage.stores.simulated_disk import SimulatedDisk

LOG_ID = bytes(16)
PATH = Path("/segments/1.index")
SESSIONS = 300
BLOCKS = 10_000
"""Of the longest session: more than are read in one go."""


def blocks_of(number: int) -> array[int]:
    count = BLOCKS if number == 7 else number % 4
    return array(
        "Q",
        [
            value
            for position in range(count)
            for value in (1 + 2 * position, 64 + 100 * position, 100 | 2 << 32)
        ],
    )


@pytest.fixture(scope="module")
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory(PATH.parent)
    writer = SealedWriter(disk.create(PATH), log_id=LOG_ID, number=1, end=10_000_000)
    numbers = sorted(range(SESSIONS), key=lambda number: session_hash(f"session-{number}"))
    for number in numbers:
        snapshot = (number, 5, 6) if number % 2 else (0, 0, 0)
        writer.add(SessionBlocks(f"session-{number}", blocks_of(number), snapshot, number))
    runs = sorted((name_hash("session-1", "run", f"run-{n}"), n, 2 * n) for n in range(1, 500))
    keys = sorted((name_hash("session-1", "key", f"key-{n}"), n) for n in range(1, 500))
    writer.finish(runs, keys)
    return disk


@pytest.fixture
def index(disk: SimulatedDisk) -> SealedIndex:
    return SealedIndex(disk.open(PATH), str(PATH), log_id=LOG_ID, number=1, end=10_000_000)


def test_every_session_is_found_with_its_blocks(index: SealedIndex) -> None:
    for number in range(SESSIONS):
        row = index.find(f"session-{number}")

        assert row is not None
        blocks = blocks_of(number)
        assert index.blocks(row, 0, BLOCKS) == blocks
        assert row.first_seq == (blocks[0] if blocks else 0)
        assert row.last_seq == (blocks[-3] + 1 if blocks else 0)
        assert row.size == 100 * len(blocks) // 3
        assert row.previous == number
        assert row.snapshot_seq == (number if number % 2 else 0)
    assert index.find("session-x") is None


@pytest.mark.parametrize("seq", [1, 2, 3, 9_999, 10_000, 19_999, 20_000, 99_999])
def test_a_block_is_found_by_seq(index: SealedIndex, seq: int) -> None:
    row = index.find("session-7")
    assert row is not None

    assert index.find_block(row, seq) == min((seq - 1) // 2, BLOCKS - 1)


def test_spans_cover_a_session_in_order(index: SealedIndex) -> None:
    row = index.find("session-7")
    assert row is not None

    spans = list(index.spans(row))

    assert [span.first_seq for span in spans] == list(range(1, 2 * BLOCKS, 2))


def test_runs_and_keys_are_found_by_name(index: SealedIndex) -> None:
    for number in range(1, 500):
        assert index.find_run("session-1", f"run-{number}") == (number, 2 * number)
        assert index.find_key("session-1", f"key-{number}") == number
    assert index.find_run("session-2", "run-1") == (0, 0)
    assert index.find_key("session-1", "key-500") == 0


def test_the_index_of_another_segment_is_refused(disk: SimulatedDisk) -> None:
    for log_id, number, end in (
        (bytes(15) + b"1", 1, 10_000_000),
        (LOG_ID, 2, 10_000_000),
        (LOG_ID, 1, 5),
    ):
        with pytest.raises(CorruptLog, match="another segment or log"):
            SealedIndex(disk.open(PATH), str(PATH), log_id=log_id, number=number, end=end)


@pytest.mark.parametrize("size", [0, 40, 80, 1000])
def test_a_side_file_that_is_cut_off_is_refused(disk: SimulatedDisk, size: int) -> None:
    short = SimulatedDisk()
    short.make_directory(PATH.parent)
    short.create(PATH).write([disk.files()[PATH][:size]], 0)

    with pytest.raises(CorruptLog, match="ends"):
        SealedIndex(short.open(PATH), str(PATH), log_id=LOG_ID, number=1, end=10_000_000)
