"""Rows and port values."""

from __future__ import annotations

import pytest
from moorage.runtime.errors import CorruptLog, InvalidArgument
from moorage.runtime.ports import Snapshot
from moorage.runtime.sessions import SessionState
from moorage.stores.conformance.scenario import facts, note
from moorage.stores.relational.rows import (
    RunRow,
    SessionRow,
    checked_info_values,
    event_rows,
    info_values,
    run_rows,
    snapshot_of,
)


def test_an_info_comes_back_with_what_the_store_knows_better() -> None:
    info = facts("a", tags={"x": "y"}, state=SessionState.CLOSED, runs={"queued": 1})
    values = info_values(info)
    row = SessionRow(7, "a", 12, 3, 99, values.closed, values.body)

    found = row.decoded()

    assert found is not None
    assert (found.head_seq, found.modified_at_ns, found.tags) == (12, 99, {"x": "y"})
    assert (values.closed, values.needs_worker) == (True, True)


def test_an_info_is_encoded_while_it_is_checked() -> None:
    info = facts("a", tags={"x": "y"}, state=SessionState.CLOSED)

    assert checked_info_values(info) == info_values(info)
    with pytest.raises(InvalidArgument, match="cannot be kept"):
        checked_info_values(facts("a", summary="\ud800"))


def test_a_tombstone_has_no_info() -> None:
    assert SessionRow(7, "a", 12, 13, 99, False, None).decoded() is None


def test_an_info_that_is_none_is_damage() -> None:
    with pytest.raises(CorruptLog, match=r"'a'.*cannot be decoded"):
        SessionRow(7, "a", 12, 13, 99, False, b"\x00").decoded()


def test_events_are_numbered_from_the_first() -> None:
    records = [note(1), note(2, "message_received", "r")]

    rows = event_rows(7, 5, records)

    assert [row[:4] for row in rows] == [
        (7, 5, "message_sent", None),
        (7, 6, "message_received", "r"),
    ]
    assert [row[4] for row in rows] == [record.body for record in records]


def test_each_run_has_one_row_that_tells_what_the_batch_says_of_it() -> None:
    records = [
        note(1, "run_submitted", "new", key="k"),
        note(2, "run_completed", "old"),
        note(3, "run_submitted", "quick"),
        note(4, "run_started", "new"),
        note(5, "run_failed", "quick"),
        note(6, "run_cancelled", "again"),
        note(7, "run_submitted", "again"),
        note(8),
    ]

    rows, ended = run_rows(11, records)

    assert rows == [
        RunRow("new", 11, 0, "k"),
        RunRow("old", 0, 12, None),
        RunRow("quick", 13, 15, None),
        RunRow("again", 17, 0, None),
    ]
    assert ended == ["old", "quick", "again"]


def test_a_snapshot_is_there_or_not() -> None:
    assert snapshot_of((3, memoryview(b"state"))) == Snapshot(3, b"state")
    assert snapshot_of(None) is None
    assert snapshot_of((None, None)) is None
