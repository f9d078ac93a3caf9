from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CorruptLog
from moorage.stores.journal import format as fmt
from moorage.stores.journal import gather as gather_module
from moorage.stores.journal.changes import encode_events
from moorage.stores.journal.files import Files
from moorage.stores.journal.gather import (
    Budget,
    Located,
    Part,
    check_no_gap,
    fetch,
    gather,
    memory_part,
    read_block,
    sealed_part,
)
from moorage.stores.journal.index import Span
from moorage.stores.journal.manifest import Layout
from moorage.stores.journal.sealed import SealedIndex
from moorage.stores.journal.sealing import SealedWriter, SessionBlocks
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LAYOUT = Layout(Path("/journal"))
LOG_ID = bytes(16)
LENGTH = 100


def blocks_of(first_seq: int, *counts: int) -> array[int]:
    """Blocks of 100 bytes that follow each other and hold so many events."""
    blocks = array("Q")
    for position, count in enumerate(counts):
        blocks.extend((first_seq, 64 + LENGTH * position, LENGTH | count << 32))
        first_seq += count
    return blocks


def in_memory(number: int, first_seq: int, *counts: int) -> Part:
    return memory_part(number, blocks_of(first_seq, *counts))


def in_a_side_file(number: int, first_seq: int, *counts: int) -> Part:
    disk = SimulatedDisk()
    disk.make_directory(LAYOUT.segments)
    path = LAYOUT.index(number, 1)
    writer = SealedWriter(disk.create(path), log_id=LOG_ID, number=number, end=1)
    writer.add(SessionBlocks("a", blocks_of(first_seq, *counts), (0, 0, 0), 0))
    writer.finish([], [])
    index = SealedIndex(disk.open(path), str(path), log_id=LOG_ID, number=number, end=1)
    row = index.find("a")
    assert row is not None
    return sealed_part(number, index, row)


def found(
    parts: Sequence[Part], low: int, high: int, *, budget: int = 1_000, backwards: bool = False
) -> list[tuple[int, int]]:
    """The (segment, first seq) of the blocks that are found."""
    located = gather(iter(parts), low, high, Budget(budget, 10**9), backwards=backwards)
    return [(number, span.first_seq) for number, span in located]


@pytest.fixture(params=[in_memory, in_a_side_file])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """Seqs 1 to 12 in three segments, two blocks each, newest first."""
    monkeypatch.setattr(gather_module, "_SEALED_BLOCKS_PER_READ", 1)
    make = request.param
    return [make(3, 9, 2, 2), make(2, 5, 3, 1), make(1, 1, 2, 2)]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, 12, [(1, 1), (1, 3), (2, 5), (2, 8), (3, 9), (3, 11)]),
        (4, 5, [(1, 3), (2, 5)]),
        (6, 7, [(2, 5)]),
        (8, 9, [(2, 8), (3, 9)]),
        (12, 12, [(3, 11)]),
    ],
)
def test_the_blocks_of_a_range_are_found_across_segments(
    parts: list[Part], low: int, high: int, expected: list[tuple[int, int]], backwards: bool
) -> None:
    assert found(parts, low, high, backwards=backwards) == expected


def test_a_budget_ends_at_the_far_end_of_the_direction(parts: list[Part]) -> None:
    assert found(parts, 1, 12, budget=5) == [(1, 1), (1, 3), (2, 5)]
    assert found(parts, 1, 12, budget=5, backwards=True) == [(2, 8), (3, 9), (3, 11)]


def test_of_a_block_only_the_events_in_range_are_charged(parts: list[Part]) -> None:
    assert found(parts, 2, 12, budget=2) == [(1, 1), (1, 3)]
    assert found(parts, 1, 11, budget=2, backwards=True) == [(3, 9), (3, 11)]


def test_one_block_is_taken_however_large_it_is(parts: list[Part]) -> None:
    budget = Budget(1_000, LENGTH // 2)

    located = gather(iter(parts), 1, 12, budget, backwards=False)

    assert [at.span.first_seq for at in located] == [1]
    assert budget.spent


def test_older_segments_than_needed_are_not_looked_at() -> None:
    def newest_first() -> Iterator[Part]:
        yield in_memory(3, 9, 4)
        yield in_memory(2, 5, 4)
        raise AssertionError("nobody needs an older one")

    for backwards in (False, True):
        located = gather(newest_first(), 6, 12, Budget(100, 10**9), backwards=backwards)

        assert [at.number for at in located] == [2, 3]


class FilesOnly:
    """As much of a view as a check for gaps looks at."""

    session_id = "a"

    def __init__(self, files: Files) -> None:
        self.files = files


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    disk.make_directory(LAYOUT.segments)
    return disk


@pytest.fixture
def files(disk: SimulatedDisk) -> Files:
    return Files(disk, LAYOUT, LOG_ID)


@pytest.mark.parametrize(
    ("blocks", "missing"),
    [
        ([(1, 2), (3, 2)], None),
        ([(1, 3), (4, 9)], None),
        ([(3, 2)], "seq 2 of"),
        ([(1, 2), (4, 1)], "seq 3 of"),
        ([(1, 3), (3, 2)], "seq 4 of"),
        ([(1, 2)], "seq 3 to 4 of"),
        ([(1, 3)], "seq 4 to 4 of"),
        ([], "seq 2 to 4 of"),
    ],
)
def test_a_gap_or_a_repeat_in_a_range_is_damage(
    files: Files, blocks: list[tuple[int, int]], missing: str | None
) -> None:
    located = [Located(1, Span(first, 64, LENGTH, count)) for first, count in blocks]
    view = cast("Any", FilesOnly(files))

    if missing is None:
        check_no_gap(located, view, 2, 4)
    else:
        with pytest.raises(CorruptLog, match=missing):
            check_no_gap(located, view, 2, 4)


def write_blocks(disk: SimulatedDisk, number: int, *blocks: tuple[str, int]) -> list[Located]:
    """Write a block of two events for each (session, first seq)."""
    file = disk.create(LAYOUT.segment(number))
    offset = fmt.SEGMENT_HEADER_SIZE
    located = []
    for session_id, first_seq in blocks:
        records = [encode_event(seq, "note", None, {"seq": seq}) for seq in (first_seq,) * 2]
        [change], [block] = encode_events(session_id, first_seq, records, None)
        file.write([block], offset)
        located.append(Located(number, Span(first_seq, offset, change.length, 2)))
        offset += change.length
    return located


@pytest.mark.parametrize("gap_bytes_max", [0, gather_module.GAP_BYTES_MAX])
@pytest.mark.parametrize("read_bytes_max", [1, gather_module.READ_BYTES_MAX])
def test_blocks_are_fetched_whether_they_are_read_together_or_apart(
    disk: SimulatedDisk,
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
    gap_bytes_max: int,
    read_bytes_max: int,
) -> None:
    monkeypatch.setattr(gather_module, "GAP_BYTES_MAX", gap_bytes_max)
    monkeypatch.setattr(gather_module, "READ_BYTES_MAX", read_bytes_max)
    first = write_blocks(disk, 1, ("a", 1), ("b", 1), ("a", 3), ("a", 5))
    # in its segment the last block begins where the one before it ends in the other
    last = write_blocks(disk, 2, *[("b", seq) for seq in (1, 3, 5, 7)], ("a", 7))[-1]

    events = fetch([first[0], *first[2:], last], "a", files)

    assert [[event.seq for event in block] for block in events] == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert {event.session_id for block in events for event in block} == {"a"}


def test_a_block_of_another_session_is_never_handed_out(disk: SimulatedDisk, files: Files) -> None:
    located = write_blocks(disk, 1, ("a", 1), ("b", 1))

    with pytest.raises(CorruptLog, match=r"00000001\.log"):
        fetch(located, "a", files)


def test_a_block_that_is_not_the_expected_one_is_damage_at_its_place(
    disk: SimulatedDisk, files: Files
) -> None:
    [(number, span)] = write_blocks(disk, 1, ("a", 1))

    block = read_block(files, number, span.offset, span.length, (fmt.EVENTS, "a", 1))
    with pytest.raises(CorruptLog, match="another block") as damage:
        read_block(files, number, span.offset, span.length, (fmt.EVENTS, "a", 2))

    assert (block.session_id, block.seq, block.events) == ("a", 1, 2)
    assert damage.value.offset == span.offset
