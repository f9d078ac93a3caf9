from __future__ import annotations

import json

import attrs
import pytest
from moorage.adapters.gateways.http.encoding import encode, fields, page_to_json
from moorage.adapters.gateways.http_client import RequestRefused, decoding
from moorage.runtime import (
    Branch,
    Checkpoint,
    DrainReport,
    Event,
    Label,
    RunOutcome,
    RunProblem,
    RunState,
    RunSummary,
    SessionInfo,
    SessionState,
    SessionStatus,
    SteerOutcome,
    UsageRow,
)

PROBLEM = RunProblem("code", "message", "ValueError", True, {"b": b"1"})
VALUES = [
    (decoding.label, Label("l", 3, None, 4)),
    (decoding.checkpoint, Checkpoint("c", 3, "sum", {"b": b"\0", "$k": 1}, None, 4)),
    (decoding.branch, Branch("b", 1, 2, 3, True)),
    (
        decoding.run_summary,
        RunSummary("a", "r", 2, RunState.FAILED, None, "m", "k", 1, 2, 3, 4, {"t": 1}, "c", "no"),
    ),
    (decoding.usage_row, UsageRow("a", {"failed": 1}, 1, 0, 1, 3, 4.5)),
    (decoding.steer_outcome, SteerOutcome("s", "r", True)),
    (decoding.drain_report, DrainReport(("r1",), ("r2",), (), ("r3", "r4"), ())),
    (
        decoding.session_info,
        SessionInfo("a", SessionState.PAUSED, {"t": "1"}, {"b": b"1"}, 1, 2, 3, {"queued": 1}),
    ),
    (
        decoding.session_status,
        SessionStatus("a", SessionState.OPEN, 3, 2, ("r1",), (), ("r2",), 10, True, ("r1",), ()),
    ),
    (
        decoding.run_outcome,
        RunOutcome("r", "a", RunState.FAILED, None, PROBLEM, {"tokens": 1.5}, 1, 2, None, 4),
    ),
    (
        decoding.run_outcome,
        RunOutcome("r", "a", RunState.COMPLETED, [{"$k": b"1"}], None, None, 1, 2, 3, 4),
    ),
]


@pytest.mark.parametrize(("read", "value"), VALUES)
def test_a_value_comes_out_as_the_gateway_was_given_it(read, value):
    document = json.loads(encode(fields(value)))

    again = read(document)

    assert again == value
    assert [type(item) for item in attrs.astuple(again, recurse=False)] == [
        type(item) for item in attrs.astuple(value, recurse=False)
    ]


def test_what_a_newer_server_adds_is_left_out():
    assert decoding.label({"label": "l", "seq": 1, "description": None, "time_ns": 2, "new": 3})


@pytest.mark.parametrize("document", [None, [], {}, {"label": "l"}, "text"])
def test_what_is_no_such_value_is_refused(document):
    with pytest.raises(RequestRefused, match="right address"):
        decoding.label(document)
    with pytest.raises(RequestRefused):
        decoding.run_state(document)
    with pytest.raises(RequestRefused):
        decoding.events(document)


def test_events_and_messages_of_a_page():
    event = Event("a", 1, 2, "note", None, {"b": b"1"}, None)
    message = {"role": "user", "content": "hi", "seq": 3}

    assert decoding.events(json.loads(encode(page_to_json([event], 0)))) == [event]
    assert decoding.messages({"messages": [message]})[0].text == "hi"
    with pytest.raises(RequestRefused):
        decoding.events({"events": [{"seq": 1}]})
