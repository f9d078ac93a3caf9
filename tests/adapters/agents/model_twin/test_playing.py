from __future__ import annotations

import json

import pytest
from moorage.adapters.agents.model_twin import Stop, Text, Thinking, ToolUse, TwinRequest, Usage
from moorage.adapters.agents.model_twin.playing import Told, dumps, event, framed, pieces, tokens
from moorage.adapters.agents.model_twin.replies import Stall


def told(*parts, body=b"{}"):
    request = TwinRequest(
        number=3,
        method="POST",
        path="/",
        query="",
        headers={},
        body_bytes=body,
        dialect="messages",
    )
    return Told(request=request, parts=parts, token="abc", created=1)


@pytest.mark.parametrize("text", ["plain", 'quo"te', "new\nline", "é 漢 🙂", "\ud800", "\x00"])
def test_framed_pieces_are_json_whatever_is_in_them(text):
    (step,) = framed([text], b'{"delta":', b"}")

    assert json.loads(step) == {"delta": text}


def test_silences_go_through_between_pieces():
    part = Text("a b c", seconds_between=2)

    assert list(framed(pieces(part, part.text), b"", b"")) == [
        b'"a "',
        Stall(2),
        b'"b "',
        Stall(2),
        b'"c"',
    ]


def test_an_event_has_a_name_and_its_data_on_one_line():
    assert event("ping", {"a": "x\ny"}) == b'event: ping\ndata: {"a":"x\\ny"}\n\n'
    assert event(None, 1) == b"data: 1\n\n"


def test_json_survives_a_lone_surrogate():
    assert json.loads(dumps({"a": "\ud800é"})) == {"a": "\ud800é"}


def test_calls_stop_for_tools_unless_the_script_says_why():
    assert told("a").stop_reason == "end_turn"
    assert told(Text("a"), ToolUse("b")).stop_reason == "tool_use"
    assert told(ToolUse("b"), Stop("max_tokens")).stop_reason == "max_tokens"


def test_usage_is_what_the_script_says_and_estimated_where_it_says_nothing():
    given = told(Text("a"), Usage(output_tokens=5, cache_read_tokens=2), body=b"x" * 40).usage
    estimated = told(Text("a" * 8), Thinking("b" * 8), ToolUse("c", raw_arguments="d" * 8)).usage

    assert (given.input_tokens, given.output_tokens, given.cache_read_tokens) == (10, 5, 2)
    assert estimated.output_tokens == 6


def test_nothing_is_free():
    assert (tokens(0), tokens(3), tokens(8)) == (1, 1, 2)


def test_ids_tell_the_request_and_the_place():
    assert told().id("msg") == "msg_twin_abc_0003"
    assert told().id("toolu", 2) == "toolu_twin_abc_0003_2"
