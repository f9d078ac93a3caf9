from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.adapters.gateways.http.encoding import (
    data_of,
    encode,
    event_line,
    events_to_json,
    fields,
    page_to_json,
    run_to_json,
)
from moorage.runtime import (
    DrainReport,
    Event,
    InvalidArgument,
    RunOutcome,
    RunProblem,
    RunState,
    SteerOutcome,
)
from moorage.runtime.reversible_json import event_from_json, to_json

EVENT = Event("s", 7, 1, "note", None, {"text": "one\u2028two\n", "raw": b"\xff"}, {"k": 1})


def test_an_event_is_one_line_from_which_it_can_be_made_again():
    line = event_line(EVENT)

    assert line.count(b"\n") == 1
    assert len(line.decode().splitlines()) == 1
    assert event_from_json(json.loads(line)) == EVENT
    assert [json.loads(line)] == events_to_json([EVENT])


def test_a_page_says_where_the_next_begins():
    assert page_to_json([EVENT], 3)["next_after"] == 7
    assert page_to_json([], 3) == {"events": [], "next_after": 3}


def test_values_have_their_fields_and_tuples_are_lists():
    assert fields(SteerOutcome("a", "b", True)) == {
        "steer_id": "a",
        "run_id": "b",
        "steered": True,
    }
    assert fields(DrainReport(completed=("x",)))["completed"] == ["x"]


def test_a_run_has_its_outcome_and_that_its_problem():
    problem = RunProblem("c", "m", details={"raw": b"x"})
    outcome = RunOutcome("r", "s", RunState.FAILED, None, problem, None, 1, 1, None, 2)
    told = json.loads(encode(run_to_json("s", "r", RunState.FAILED, outcome)))

    assert told["state"] == told["outcome"]["state"] == "failed"
    assert told["outcome"]["error"]["details"] == {"raw": {"$bytes": "eA=="}}
    assert run_to_json("s", "r", RunState.QUEUED, None)["outcome"] is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_data_come_in_as_they_went_out(value):
    assert data_of(to_json(value)) == value


def test_a_key_that_nobody_wrote_is_refused():
    with pytest.raises(InvalidArgument, match=r"\$\$"):
        data_of({"$ref": "x"})
