"""The index of a log alone; pages over it are tested with test_memory_log.py against a model."""

from __future__ import annotations

import pytest
from moorage.runtime.errors import CursorExpired
from moorage.stores.log_index import SCAN_RECORDS_MAX, LogIndex, Selection


def index_of(*events: tuple[str, str | None, str | None]) -> LogIndex:
    index = LogIndex("a", head_seq=0)
    for event in events:
        index.add(*event)
    return index


def select(index: LogIndex, **wanted: object) -> Selection:
    values = {"after": 0, "before": None, "limit": 9, "types": None, "run_id": None}
    return index.select(**{**values, "backwards": False, **wanted})  # type: ignore[arg-type]


def test_adding_tells_whether_a_run_ended() -> None:
    index = LogIndex("a", head_seq=3)

    assert index.add("run_submitted", "r", "k") is False
    assert index.add("run_completed", None, None) is False
    assert index.add("run_failed", "r", None) is True
    assert (index.head_seq, index.oldest_seq) == (6, 4)
    assert (index.run_seqs("r"), index.run_ended("r"), index.find_key("k")) == ((4, 6), True, "r")


def test_a_run_that_is_submitted_again_has_not_ended() -> None:
    index = index_of(("run_failed", "r", None), ("run_submitted", "r", None))

    assert (index.run_seqs("r"), index.run_ended("r")) == ((2, 0), False)


def test_a_selection_is_cheap_when_nothing_is_asked_of_events() -> None:
    index = index_of(*[("t", None, None)] * 8)

    assert select(index, after=2, limit=3) == Selection(range(3, 6), 5)
    assert select(index, limit=3, backwards=True) == Selection(range(6, 9), 6)
    assert select(index, after=8) == Selection(range(9, 9), 8)


def test_an_unselective_filter_is_bounded() -> None:
    index = index_of(*[("t", None, None)] * (SCAN_RECORDS_MAX + 5))

    assert select(index, types=frozenset({"x"})) == Selection([], SCAN_RECORDS_MAX)
    assert select(index, types=frozenset({"x"}), backwards=True) == Selection([], 6)


def test_what_is_trimmed_is_forgotten_with_runs_and_keys() -> None:
    index = index_of(
        ("run_submitted", "old", "k1"), ("t", "old", None), ("run_submitted", "new", "k2")
    )

    assert index.trim(3) == 2
    assert index.trim(1) == 0
    assert (index.run_seqs("old"), index.find_key("k1")) == (None, None)
    assert (index.run_seqs("new"), index.find_key("k2")) == ((3, 0), "new")
    with pytest.raises(CursorExpired):
        select(index, after=1)
    assert select(index, after=0, backwards=True).seqs == range(3, 4)


def test_a_run_whose_request_is_trimmed_away_is_unknown_but_its_events_are_there() -> None:
    index = index_of(("run_submitted", "r", "k"), ("t", "r", None), ("run_failed", "r", None))

    index.trim(2)

    assert index.run_seqs("r") is None
    assert index.find_key("k") is None
    assert list(select(index, after=1, run_id="r").seqs) == [2, 3]
