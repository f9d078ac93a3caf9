from __future__ import annotations

from array import array
from typing import Any

import pytest
from moorage.runtime.codec import encode_event
from moorage.stores.journal.changes import (
    Change,
    encode_events,
    encode_snapshot,
    encode_tombstone,
    name_hash,
)
from moorage.stores.journal.format import SEQ_MAX
from moorage.stores.journal.index import (
    MemoryIndex,
    SnapshotPlace,
    Span,
    find_block,
    pack_run,
    span_at,
    unpack_run,
)


def events(session_id: str, first_seq: int, *what: tuple[str, str | None, str | None]) -> Change:
    """A block of events given as (type, run id, key)."""
    records = [encode_event(seq, t, run, {}, key=key) for seq, (t, run, key) in enumerate(what)]
    return encode_events(session_id, first_seq, records, None)[0][0]


NOTE = ("note", None, None)


@pytest.mark.parametrize(
    ("seq", "position"), [(2, -1), (3, 0), (4, 0), (5, 1), (9, 1), (10, 2), (999, 2)]
)
def test_a_block_is_found_by_any_seq_from_its_first_on(seq: int, position: int) -> None:
    blocks = array("Q", [3, 64, 1, 5, 100, 1, 10, 200, 1])

    assert find_block(blocks, seq) == position


def test_nothing_is_found_where_there_are_no_blocks() -> None:
    assert find_block(array("Q"), 1) == -1


def test_a_run_s_two_seqs_are_packed_into_one_number() -> None:
    for pair in ((1, 2), (5, 0), (0, 5), (SEQ_MAX, SEQ_MAX)):
        assert unpack_run(pack_run(*pair)) == pair


def test_blocks_are_noted_with_where_they_are_and_how_many_events_they_hold() -> None:
    index = MemoryIndex()
    first, second = events("a", 1, NOTE, NOTE), events("a", 3, NOTE)
    other = events("b", 1, NOTE)

    index.apply(first, 64)
    index.apply(other, 500)
    index.apply(second, 2**40)

    blocks = index.blocks["a"]
    assert [span_at(blocks, position) for position in range(len(blocks) // 3)] == [
        Span(1, 64, first.length, 2),
        Span(3, 2**40, second.length, 1),
    ]
    assert span_at(index.blocks["b"], 0) == Span(1, 500, other.length, 1)


def test_an_info_without_events_is_no_block(new_info: Any) -> None:
    index = MemoryIndex()

    index.apply(encode_events("a", 1, [], new_info("a"))[0][0], 64)

    assert index.blocks == {}


def test_a_run_is_known_by_its_first_and_last_event_and_a_key_by_its_run() -> None:
    index = MemoryIndex()

    index.apply(events("a", 1, ("run_submitted", "R", "K"), NOTE), 64)
    index.apply(events("a", 3, ("run_started", "R", None), ("run_completed", "R", None)), 300)

    assert unpack_run(index.runs[name_hash("a", "run", "R")]) == (1, 4)
    assert index.keys == {name_hash("a", "key", "K"): 1}


def test_a_run_that_began_in_an_older_segment_has_an_end_only() -> None:
    index = MemoryIndex()

    index.apply(events("a", 9, ("run_failed", "R", None)), 64)

    assert unpack_run(index.runs[name_hash("a", "run", "R")]) == (0, 9)


def test_a_reused_session_s_run_of_the_same_id_is_not_ended() -> None:
    index = MemoryIndex()
    index.apply(events("a", 1, ("run_submitted", "R", "K"), ("run_completed", "R", None)), 64)
    index.apply(encode_tombstone("a", 2)[0][0], 300)

    index.apply(events("a", 3, ("run_submitted", "R", "K")), 400)

    assert unpack_run(index.runs[name_hash("a", "run", "R")]) == (3, 0)
    assert index.keys == {name_hash("a", "key", "K"): 3}


def test_the_newest_snapshot_counts_and_a_tombstone_takes_all() -> None:
    index = MemoryIndex()
    older, newer = encode_snapshot("a", 1, b"older")[0][0], encode_snapshot("a", 2, b"n")[0][0]
    index.apply(events("a", 1, NOTE, NOTE), 64)
    index.apply(events("b", 1, NOTE), 200)
    index.apply(older, 300)
    index.apply(newer, 400)
    before = dict(index.snapshots)

    index.apply(encode_tombstone("a", 2)[0][0], 500)

    assert before == {"a": SnapshotPlace(2, 400, newer.length)}
    assert index.snapshots == {}
    assert list(index.blocks) == ["b"]
