from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from moorage.runtime.codec import encode_event
from moorage.stores.journal import state as state_module
from moorage.stores.journal.changes import encode_events, encode_tombstone, encode_trim
from moorage.stores.journal.directory import Directory
from moorage.stores.journal.files import Files
from moorage.stores.journal.format import SEGMENT_HEADER_SIZE
from moorage.stores.journal.manifest import Layout, Segment
from moorage.stores.journal.sealing import write_side_file
from moorage.stores.journal.state import State, View
from moorage.stores.simulated_disk import SimulatedDisk

LAYOUT = Layout(Path("/journal"))
END = 1_000


def sealed(number: int) -> Segment:
    return Segment(number, low=number, high=number, end=END, index_end=END)


def active(number: int) -> Segment:
    return Segment(number, low=number, high=number)


class Writer:
    """Feeds a state as a commit loop and the maintenance do."""

    def __init__(self, new_info: Any) -> None:
        self.disk = SimulatedDisk()
        self.disk.make_directory(LAYOUT.segments)
        self.state = State(Files(self.disk, LAYOUT, bytes(16)), (active(1),), Directory())
        self.state.end = SEGMENT_HEADER_SIZE
        self._new_info = new_info

    def write(self, session_id: str, first_seq: int, count: int = 1) -> None:
        records = [encode_event(1, "note", None, {}) for _ in range(count)]
        info = self._new_info(session_id)
        self.apply(encode_events(session_id, first_seq, records, info)[0][0])

    def apply(self, change: Any) -> None:
        self.state.apply(change, self.state.end)
        self.state.end += change.length

    def rotate(self) -> None:
        number = self.state.active_segment.number
        done = tuple(sealed(before) for before in range(1, number))
        old = Segment(number, low=number, high=number, end=END)
        self.state.rotate((*done, old, active(number + 1)))
        self.state.end = SEGMENT_HEADER_SIZE

    def seal(self) -> None:
        state = self.state
        assert state.sealing is not None
        write_side_file(
            state.files, state.sealing.segment, END, state.sealing.index, state.directory
        )
        number = state.active_segment.number
        state.sealed((*(sealed(before) for before in range(1, number)), active(number)))

    def view(self, session_id: str) -> View:
        return self.state.view(session_id, self.state.directory.entries[session_id])


@pytest.fixture
def writer(new_info: Any) -> Writer:
    return Writer(new_info)


def numbers_of(view: View) -> list[int]:
    """The segments that a session's chain leads through."""
    chain = view.chain()
    numbers = []
    while (found := chain.next()) is not None:
        segment, index = found
        numbers.append(segment.number)
        row = index.find(view.session_id)
        assert row is not None
        chain.follow(row.previous)
    return numbers


def test_what_was_applied_is_in_the_directory_and_in_the_index(writer: Writer) -> None:
    writer.write("a", 1, count=3)
    writer.apply(encode_trim("a", 3)[0][0])

    view = writer.view("a")

    assert (view.head, view.oldest, view.closed, view.start) == (3, 3, False, 0)
    assert [(part.number, part.first_seq) for part in view.memory_parts()] == [(1, 1)]


def test_a_view_stays_as_it_was_while_the_state_goes_on(writer: Writer) -> None:
    writer.write("a", 1)
    view = writer.view("a")

    writer.write("a", 2)
    writer.rotate()
    writer.seal()

    assert (view.head, view.recents[0].segment.number, view.indexed) == (1, 1, ())


def test_a_view_keeps_the_blocks_of_a_session_that_is_deleted_meanwhile(writer: Writer) -> None:
    writer.write("a", 1)
    writer.rotate()
    writer.write("a", 2)
    view = writer.view("a")

    writer.apply(encode_tombstone("a", 2)[0][0])
    writer.write("a", 3)

    assert [(part.number, part.first_seq) for part in view.memory_parts()] == [(2, 2), (1, 1)]
    newest = view.newest_part()
    assert newest is not None
    assert (newest.number, newest.first_seq) == (2, 2)
    assert [part.first_seq for part in writer.view("a").memory_parts()] == [3, 1]


def test_a_session_that_is_not_in_the_active_segment_has_no_newest_part(writer: Writer) -> None:
    writer.write("a", 1)
    writer.rotate()

    assert [part.number for part in writer.view("a").memory_parts()] == [1]
    assert writer.view("a").newest_part() is None


def test_a_segment_stays_in_memory_until_its_side_file_is_there(writer: Writer) -> None:
    writer.write("a", 1)
    writer.rotate()
    writer.write("a", 2)
    sealing = [part.number for part in writer.view("a").memory_parts()]
    before = writer.view("a").start

    writer.seal()

    assert (sealing, before) == ([2, 1], 0)
    assert [part.number for part in writer.view("a").memory_parts()] == [2]
    assert numbers_of(writer.view("a")) == [1]


def test_a_chain_skips_the_segments_that_do_not_hold_the_session(writer: Writer) -> None:
    for number, session_id in enumerate(("a", "b", "a", "b"), 1):
        writer.write(session_id, (number + 1) // 2)
        writer.rotate()
        writer.seal()

    assert numbers_of(writer.view("a")) == [3, 1]
    assert numbers_of(writer.view("b")) == [4, 2]


def test_a_chain_leads_to_the_segment_that_stands_for_the_place_and_ends_where_none_does(
    writer: Writer,
) -> None:
    for number in range(1, 4):
        writer.write("a", number)
        writer.rotate()
        writer.seal()
    merged = Segment(3, low=2, high=3, end=END, index_end=END)
    writer.state.set_segments((merged, active(4)))

    chain = writer.view("a").chain(2)
    found = chain.next()
    chain.follow(2)  # the link is within the merged segment: compaction dropped what was there

    assert found is not None
    assert found[0] == merged
    assert chain.next() is None
    assert writer.view("a").chain(1).next() is None
    assert writer.view("a").chain(0).next() is None


def test_a_session_that_was_deleted_while_its_segment_was_sealed_can_be_used_again(
    writer: Writer,
) -> None:
    writer.write("a", 1)
    writer.rotate()
    writer.apply(encode_tombstone("a", 1)[0][0])
    writer.seal()

    writer.write("a", 2)

    view = writer.view("a")
    assert (view.head, view.oldest) == (2, 2)
    assert [(part.number, part.first_seq) for part in view.memory_parts()] == [(2, 2)]


def test_only_the_end_of_the_active_segment_is_recent(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "INLINE_BYTES_MAX", 100)
    writer.rotate()
    writer.seal()
    writer.write("a", 1)
    writer.state.end = 500
    view = writer.view("a")

    recent = [view.is_recent(number, offset) for number, offset in ((2, 400), (2, 399), (1, 450))]

    assert recent == [True, False, False]


def test_a_second_segment_is_not_sealed_before_the_first(writer: Writer) -> None:
    writer.rotate()

    with pytest.raises(AssertionError, match="still being sealed"):
        writer.rotate()
