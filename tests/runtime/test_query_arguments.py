from __future__ import annotations

import pytest
from moorage.runtime import InvalidArgument, RunState, SessionState
from moorage.runtime.query_arguments import (
    PAGE_ITEMS_MAX,
    TEXT_BYTES_MAX,
    check_flag,
    check_grouping,
    check_page_limit,
    check_where,
    event_filter,
    run_filter,
    session_filter,
)


def test_filters_take_names_and_values():
    sessions = session_filter(prefix="a", tags={"k": "v"}, states=["open"], text="ÄB")
    runs = run_filter(states={RunState.FAILED, "completed"}, agent="x", key="k", ended_after_ns=7)
    events = event_filter(types={"note"}, run_id="r", text="T", after_ns=0)

    assert sessions.states == {SessionState.OPEN}
    assert (sessions.prefix, sessions.tags, sessions.text) == ("a", {"k": "v"}, "äb")
    assert runs.states == {RunState.FAILED, RunState.COMPLETED}
    assert (runs.agent, runs.key, runs.ended_after_ns) == ("x", "k", 7)
    assert (events.types, events.run_id, events.text, events.after_ns) == ({"note"}, "r", "t", 0)


def test_no_filter_is_none():
    assert session_filter(tags={}) == session_filter()
    assert run_filter().states is None


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: session_filter(prefix=7), "prefix must be a str"),
        (lambda: session_filter(prefix="a\n"), "control character"),
        (lambda: session_filter(prefix="a" * 257), "limit is 256"),
        (lambda: session_filter(text=""), "text must not be empty"),
        (lambda: session_filter(text="a" * (TEXT_BYTES_MAX + 1)), f"limit is {TEXT_BYTES_MAX}"),
        (lambda: session_filter(states="open"), "set of open, paused"),
        (lambda: session_filter(states=[]), "set of open, paused"),
        (lambda: session_filter(states=["running"]), "'running' is not"),
        (lambda: run_filter(states=[["x"]]), "is not"),
        (lambda: run_filter(agent=""), "agent name must not be empty"),
        (lambda: run_filter(key=b"k"), "key must be a str"),
        (lambda: run_filter(ended_before_ns=1.5), "ended_before_ns must be a whole number"),
        (lambda: run_filter(submitted_after_ns=-1), "or None"),
        (lambda: event_filter(types="note"), "set of event types"),
        (lambda: event_filter(run_id=""), "run id"),
        (lambda: check_page_limit(0), f"from 1 to {PAGE_ITEMS_MAX}"),
        (lambda: check_page_limit(PAGE_ITEMS_MAX + 1), f"from 1 to {PAGE_ITEMS_MAX}"),
        (lambda: check_flag("descending", 1), "True or False"),
        (lambda: check_where("a", "b"), "not both"),
        (lambda: check_where("", ""), "session id"),
        (lambda: check_grouping("color"), "tag:NAME"),
        (lambda: check_grouping(["day"]), "tag:NAME"),
        (lambda: check_grouping("tag:"), "tag must not be empty"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(make, remedy):
    with pytest.raises(InvalidArgument, match=remedy):
        make()


def test_groupings_and_places_are_as_given():
    assert [check_grouping(by) for by in ("day", "tag:a b")] == ["day", "tag:a b"]
    assert (check_where(None, "a"), check_where("s", "")) == (None, "s")
