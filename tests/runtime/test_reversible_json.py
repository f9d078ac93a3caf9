from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime import Event, InvalidArgument
from moorage.runtime.codec import pack
from moorage.runtime.reversible_json import (
    dump_line,
    event_from_json,
    event_to_json,
    from_json,
    to_json,
)

KEYS = st.text(max_size=6) | st.sampled_from(["$bytes", "$float", "$", "$$bytes"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats().map(lambda number: math.nan if math.isnan(number) else number)  # one of many
    | st.text()
    | st.binary()
)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)


@given(value=PLAIN)
def test_every_plain_value_comes_back_through_a_line_of_json(value):
    line = dump_line(to_json(value))

    assert pack(value) == pack(from_json(json.loads(line)))
    assert line.splitlines() == [line[:-1]]  # no character in it ends a line for any reader


def test_what_json_lacks_is_written_as_an_object_with_one_key():
    assert to_json(b"hi") == {"$bytes": "aGk="}
    assert to_json([math.nan, -math.inf]) == [{"$float": "nan"}, {"$float": "-inf"}]
    assert to_json({"$bytes": "text"}) == {"$$bytes": "text"}
    assert to_json(2**63) == 2**63


@pytest.mark.parametrize(
    "value",
    [{"$bytes": "no base64!"}, {"$bytes": 5}, {"$float": "one"}, {"$other": 1}, {"a": {"$b": 1}}],
)
def test_objects_that_it_cannot_have_made_are_refused(value):
    with pytest.raises(InvalidArgument):
        from_json(value)


def test_an_event_comes_back_whole():
    event = Event("a", 3, 2**60 + 1, "provider_event", "run_1", {"b": b"\0"}, {"id": math.inf}, 2)

    line = dump_line(event_to_json(event))

    assert event == event_from_json(json.loads(line))


@pytest.mark.parametrize(
    "change",
    [
        {"seq": "1"},
        {"seq": True},
        {"time_ns": 1.5},
        {"type": None},
        {"run_id": 5},
        {"metadata": []},
        {"version": "1"},
        {"data": {"n": 2**70}},
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(change):
    fields = event_to_json(Event("a", 1, 1, "x", None, {}))

    with pytest.raises(InvalidArgument):
        event_from_json(fields | change)


@pytest.mark.parametrize("value", [None, [], "text", {"seq": 1}])
def test_what_is_no_event_at_all_is_refused(value):
    with pytest.raises(InvalidArgument):
        event_from_json(value)
