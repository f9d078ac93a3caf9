from __future__ import annotations

import pytest
from moorage.runtime import Event, RunState, SessionInfo, SessionState
from moorage.runtime.query_filters import (
    EventFilter,
    RunFilter,
    SessionFilter,
    has_text,
    plain_filter,
    text_bytes,
    within,
)

INFO = SessionInfo(
    id="user-Ä1",
    state=SessionState.PAUSED,
    tags={"a": "1", "b": "2"},
    metadata={},
    created_at_ns=100,
    modified_at_ns=200,
    head_seq=1,
    runs={},
    summary="Straße nach Rom",
)
SUBMITTED = Event(
    "s", 2, 150, "run_submitted", "r", {"input": {"prompt": "Go HOME"}, "agent": "x", "key": "k"}
)


@pytest.mark.parametrize(
    ("time_ns", "after_ns", "before_ns", "expected"),
    [
        (5, None, None, True),
        (5, 5, None, True),
        (5, 6, None, False),
        (5, None, 5, False),
        (5, None, 6, True),
        (None, None, None, True),
        (None, 0, None, False),
        (None, None, 9, False),
    ],
)
def test_a_range_includes_its_beginning_and_not_its_end(time_ns, after_ns, before_ns, expected):
    assert within(time_ns, after_ns, before_ns) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a Needle here", True),
        (["x", {"y": ["NEEDLE"]}], True),
        ({"needle": 1}, False),
        (b"needle", False),
        (None, False),
        (7, False),
    ],
)
def test_text_is_found_in_values_at_any_depth(data, expected):
    assert has_text(data, "needle") is expected


def test_data_nested_deeply_is_looked_through():
    data = "needle"
    for _ in range(5_000):
        data = [data]

    assert has_text(data, "needle")
    assert text_bytes(data) == 6 + 5_000 * 8


def test_the_size_of_data_is_that_of_its_texts_and_bytes():
    assert text_bytes({"a": "xyz", "b": [b"12", 7]}) == 2 * 16 + 3 + 2 * 8 + 2


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (SessionFilter(), True),
        (SessionFilter(prefix="user-"), True),
        (SessionFilter(prefix="job-"), False),
        (SessionFilter(tags={"a": "1"}), True),
        (SessionFilter(tags={"a": "1", "b": "3"}), False),
        (SessionFilter(states=frozenset({SessionState.PAUSED})), True),
        (SessionFilter(states=frozenset({SessionState.OPEN})), False),
        (SessionFilter(text="user-ä"), True),
        (SessionFilter(text="STRASSE".casefold()), True),
        (SessionFilter(text="elsewhere"), False),
        (SessionFilter(created_after_ns=101), False),
        (SessionFilter(created_before_ns=101), True),
        (SessionFilter(modified_after_ns=200), True),
        (SessionFilter(modified_before_ns=200), False),
    ],
)
def test_sessions_are_selected_by_their_infos(filter, expected):
    assert filter.matches(INFO) is expected


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (RunFilter(), True),
        (RunFilter(agent="x", key="k", text="home"), True),
        (RunFilter(agent="y"), False),
        (RunFilter(key="l"), False),
        (RunFilter(text="away"), False),
        (RunFilter(submitted_after_ns=151), False),
        (RunFilter(submitted_before_ns=151), True),
    ],
)
def test_runs_are_selected_by_their_requests(filter, expected):
    assert filter.matches_request(SUBMITTED) is expected


def test_runs_are_selected_by_their_ends():
    failed = RunFilter(states=frozenset({RunState.FAILED}), ended_after_ns=5)

    assert failed.matches_end(RunState.FAILED, 5)
    assert not failed.matches_end(RunState.FAILED, 4)
    assert not failed.matches_end(RunState.FAILED, None)
    assert not failed.matches_end(RunState.COMPLETED, 5)
    assert RunFilter().matches_end(RunState.QUEUED, None)


def test_events_are_selected_by_time_and_text():
    assert EventFilter().matches(SUBMITTED)
    assert EventFilter(text="home", after_ns=150, before_ns=151).matches(SUBMITTED)
    assert not EventFilter(text="away").matches(SUBMITTED)
    assert not EventFilter(after_ns=151).matches(SUBMITTED)


def test_equal_filters_are_equal_as_plain_json():
    one = RunFilter(states=frozenset({RunState.FAILED, RunState.COMPLETED}))
    other = RunFilter(states=frozenset({RunState.COMPLETED, RunState.FAILED}))

    assert plain_filter(one) == plain_filter(other)
    assert plain_filter(one)["states"] == ["completed", "failed"]
