from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from moorage.adapters.agents.anthropic_api.mapping import EVENT_TABLE, MessageStream
from moorage.adapters.agents.provider.failures import (
    AuthenticationFailed,
    Overloaded,
    ProtocolViolated,
    RateLimited,
)
from moorage.runtime.events import AGENT_TYPES

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude-x",
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 1},
    },
}
STOP = {"type": "message_stop"}


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, type: str, **facts: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": type, **facts}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ended(reason: str, **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


WHOLE = [
    START,
    {"type": "ping"},
    start(0, type="thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="Let me "),
    delta(0, "thinking_delta", thinking="see"),
    delta(0, "signature_delta", signature="sig="),
    stop(0),
    start(1, type="text", text=""),
    delta(1, "text_delta", text="I "),
    delta(1, "text_delta", text="add"),
    stop(1),
    start(2, type="tool_use", id="toolu_1", name="add", input={}),
    delta(2, "input_json_delta", partial_json='{"a": 1'),
    delta(2, "input_json_delta", partial_json=', "b": 2}'),
    stop(2),
    ended("tool_use", output_tokens=42, output_tokens_details={"thinking_tokens": 30}),
    STOP,
]


def test_a_whole_message_has_blocks_calls_usage_and_what_was_said_originally() -> None:
    stream = MessageStream()

    pieces = stream.feed(WHOLE)

    assert stream.finished
    assert pieces == [("thinking", "Let me see"), ("text", "I add")]
    reply = stream.reply()
    call = {"tool_call_id": "toolu_1", "tool_name": "add", "tool_input": {"a": 1, "b": 2}}
    assert reply.blocks == [
        {"type": "thinking", "text": "Let me see"},
        {"type": "text", "text": "I add"},
        {"type": "tool_call", **call},
    ]
    assert reply.tool_calls == [call]
    assert (reply.model, reply.message_id, reply.stop_reason) == ("claude-x", "msg_1", "tool_use")
    assert reply.original == {
        "provider": "anthropic",
        "content": [
            {"type": "thinking", "thinking": "Let me see", "signature": "sig="},
            {"type": "text", "text": "I add"},
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1, "b": 2}},
        ],
    }
    assert reply.usage == {
        "input_tokens": 10,
        "cache_read_tokens": 90,
        "output_tokens": 42,
        "reasoning_tokens": 30,
    }


def test_one_event_at_a_time_gives_the_same_message() -> None:
    whole, stepwise = MessageStream(), MessageStream()
    whole.feed(WHOLE)
    for event in WHOLE:
        assert not stepwise.finished
        stepwise.feed([event])

    assert stepwise.reply() == whole.reply()


def test_arguments_that_are_no_json_stay_text_and_are_sent_back_as_an_object() -> None:
    stream = MessageStream()
    stream.feed(
        [
            START,
            start(0, type="tool_use", id="t", name="add", input={}),
            delta(0, "input_json_delta", partial_json='{"a": '),
            stop(0),
            ended("max_tokens", output_tokens=5),
            STOP,
        ]
    )

    reply = stream.reply()

    assert reply.tool_calls[0]["tool_input"] == '{"a": '
    assert reply.original["content"][0]["input"] == {"malformed_arguments": '{"a": '}


def test_a_tool_without_arguments_is_called_with_none() -> None:
    stream = MessageStream()
    stream.feed([START, start(0, type="tool_use", id="t", name="now", input={}), stop(0), STOP])

    assert stream.reply().tool_calls[0]["tool_input"] == {}


def test_what_the_server_does_by_itself_is_told_and_kept_for_the_next_request() -> None:
    stream = MessageStream()
    search = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]}

    pieces = stream.feed([START, start(0, **search), stop(0), STOP])

    assert pieces == [("event", {**stop(0), "content_block": search})]
    assert stream.reply().blocks == []
    assert stream.reply().original["content"] == [search]


def test_kinds_that_are_not_known_are_told() -> None:
    citation = delta(0, "citations_delta", citation={"cited_text": "x"})
    new = {"type": "something_new", "x": 1}

    pieces = MessageStream().feed([START, start(0, type="text", text=""), citation, new])

    assert pieces == [("event", citation), ("event", new)]


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("overloaded_error", Overloaded),
        ("rate_limit_error", RateLimited),
        ("authentication_error", AuthenticationFailed),
        ("unheard_of", ProtocolViolated),
    ],
)
def test_an_error_in_the_stream_is_a_failure_behind_what_came_before(
    kind: str, failure: type[Exception]
) -> None:
    stream = MessageStream()

    pieces = stream.feed(
        [
            START,
            start(0, type="text", text=""),
            delta(0, "text_delta", text="so far"),
            {"type": "error", "error": {"type": kind, "message": "the reason"}},
            delta(0, "text_delta", text="never"),
        ]
    )

    assert pieces == [("text", "so far")]
    assert type(stream.failure) is failure
    assert "the reason" in str(stream.failure)
    assert not stream.finished


@pytest.mark.parametrize(
    "event", [{}, {"type": "message_start"}, delta(7, "text_delta"), stop(3), {"type": None}, WHOLE]
)
def test_an_event_of_another_shape_is_a_failure(event: Any) -> None:
    stream = MessageStream()

    stream.feed([event])

    if event != {"type": None}:  # a kind that is not known, and no reason to give up
        assert isinstance(stream.failure, ProtocolViolated)


def test_the_table_leads_to_types_of_ours_only() -> None:
    assert {type for types in EVENT_TABLE.values() for type in types} <= AGENT_TYPES


def test_without_the_sdk_the_table_can_be_read_and_the_agent_says_what_it_needs() -> None:
    program = """
import sys
sys.modules["anthropic"] = None
from moorage.adapters.agents.anthropic_api.mapping import EVENT_TABLE
print(len(EVENT_TABLE))
from moorage.adapters.agents.anthropic_api import AnthropicAgent
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.stdout.strip() == str(len(EVENT_TABLE))
    assert "AnthropicAgent needs pip install 'moorage[anthropic]'" in ended.stderr
