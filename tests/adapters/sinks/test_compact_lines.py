from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.adapters.sinks.compact_lines import (
    CompactLinesReader,
    CompactLinesRenderer,
    last_seq_of,
)
from moorage.runtime import Event, InvalidArgument
from moorage.runtime.events import same_data

data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
events = st.lists(
    st.builds(
        Event,
        st.just("a"),
        st.integers(1, 2**40),
        st.integers(0, 2**62),
        st.text(min_size=1),
        st.none() | st.sampled_from(["r1", "r2", ""]),
        data,
        st.none() | st.dictionaries(st.text(), data, max_size=2),
        st.integers(1, 3),
    ),
    max_size=6,
)


def read_back(text: str) -> list[Event]:
    header, *rows = [json.loads(line) for line in text.split("\n")[:-1]]
    reader = CompactLinesReader(header)
    return [reader.event(row) for row in rows]


@given(events)
def test_what_is_written_is_read_back_identically(written: list[Event]) -> None:
    text = CompactLinesRenderer().render(written)

    read = read_back(text) if written else []

    assert len(read) == len(written)
    for one, other in zip(read, written, strict=True):
        assert same_data(one.data, other.data)
        assert same_data(one.metadata, other.metadata)
        assert (one.session_id, one.seq, one.time_ns) == (
            other.session_id,
            other.seq,
            other.time_ns,
        )
        assert (one.type, one.run_id, one.version) == (other.type, other.run_id, other.version)


def test_the_run_of_the_line_before_is_not_said_again() -> None:
    rendering = CompactLinesRenderer()
    text = rendering.render([event(1, None), event(2, "r1"), event(3, "r1")])
    text += rendering.render([event(4, "r1"), event(5, None), event(6, None), event(7, "r1")])

    runs = [json.loads(line)[3] for line in text.splitlines()[1:]]

    assert runs == [None, "r1", 0, 0, None, None, "r1"]
    assert [one.run_id for one in read_back(text)] == [None, "r1", "r1", "r1", None, None, "r1"]


def event(seq: int, run_id: str | None) -> Event:
    return Event("a", seq, seq, "note", run_id, None)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"moorage_events": 2, "session_id": "a"}, "version 2 .* reads up to 1: use a newer one"),
        ({"moorage_events": "1", "session_id": "a"}, "must have moorage_events"),
        ({"moorage_events": 1}, "session_id"),
    ],
)
def test_a_first_line_of_another_kind_is_refused(header: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        CompactLinesReader(header)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "an event is an array of 5 or 7"),
        ([1, 2, "note", None, None, None], "an array of 5 or 7"),
        ([1, 2, "note", 0, None], "the line before, which has none"),
        ([1, 2, 3, None, None], "type of an event cannot be 3"),
        ([True, 2, "note", None, None], "seq of an event"),
        ([1, 2, "note", None, {"$x": 1}], r"\$x"),
    ],
)
def test_a_line_that_is_no_event_is_refused(row: Any, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        CompactLinesReader({"moorage_events": 1, "session_id": "a"}).event(row)


def test_the_seq_of_a_line_is_found_in_either_form() -> None:
    assert last_seq_of(b'[7,1,"note",null,null]\n') == 7
    assert last_seq_of(b'{"session_id":"a","seq":8}\n') == 8
    for line in (b"", b"{}", b"[]", b'["x"]', b"hello", b"\xff"):
        with pytest.raises(InvalidArgument, match="is no event"):
            last_seq_of(line)
