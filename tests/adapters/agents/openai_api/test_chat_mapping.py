from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.openai_api.chat_mapping import ChatStream
from moorage.adapters.agents.provider.failures import ContextOverflow, ProtocolViolated


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "created": 5, "model": "gpt-x", "choices": [choice]}


def call(index: int | None, **facts: Any) -> dict[str, Any]:
    function = {key: facts.pop(key) for key in ("name", "arguments") if key in facts}
    return {"tool_calls": [{"index": index, "function": function, **facts}]}


USAGE = {
    "choices": [],
    "usage": {
        "prompt_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens": 40,
        "completion_tokens_details": {"reasoning_tokens": 25},
    },
}


def test_a_whole_completion_has_blocks_calls_usage_and_what_was_said_originally() -> None:
    stream = ChatStream()

    pieces = stream.feed(
        [
            chunk(role="assistant", content=""),
            chunk(reasoning_content="I "),
            chunk(reasoning_content="see"),
            chunk(content="I "),
            chunk(content="add"),
            chunk(**call(0, id="call_a", name="add", arguments="")),
            chunk(**call(0, arguments='{"a": ')),
            chunk(**call(1, id="call_b", name="now", arguments="{}")),
            chunk(**call(0, arguments="1}")),
            chunk("tool_calls"),
            USAGE,
        ]
    )

    assert stream.finished
    assert pieces == [("thinking", "I see"), ("text", "I add")]
    reply = stream.reply()
    assert reply.text == "I add"
    assert reply.tool_calls == [
        {"tool_call_id": "call_a", "tool_name": "add", "tool_input": {"a": 1}},
        {"tool_call_id": "call_b", "tool_name": "now", "tool_input": {}},
    ]
    assert (reply.message_id, reply.model) == ("chatcmpl-1", "gpt-x")
    assert reply.stop_reason == "tool_calls"
    assert reply.time_ns == 5_000_000_000
    assert reply.usage == {
        "input_tokens": 40,
        "cache_read_tokens": 60,
        "output_tokens": 40,
        "reasoning_tokens": 25,
    }
    (said,) = reply.original["content"]
    assert said["content"] == "I add"
    assert said["tool_calls"][0] == {
        "id": "call_a",
        "type": "function",
        "function": {"name": "add", "arguments": '{"a": 1}'},
    }


def test_an_endpoint_that_leaves_out_ids_and_indexes_is_understood() -> None:
    stream = ChatStream()

    stream.feed([chunk(**call(None, name="add", arguments="{}"))])

    assert stream.reply().tool_calls == [
        {"tool_call_id": "call_0", "tool_name": "add", "tool_input": {}}
    ]
    assert stream.reply().usage == {}
    assert stream.reply().stop_reason == "tool_calls"


def test_calls_under_one_index_are_told_apart_by_their_ids() -> None:
    stream = ChatStream()

    stream.feed(
        [
            chunk(**call(0, id="a", name="add", arguments='{"a"')),
            chunk(**call(0, id="a", arguments=": 1}")),
            chunk(**call(0, id="b", name="add", arguments='{"a"')),
            chunk(**call(0, arguments=": 2}")),
            chunk(**call(0, id="c", name="add", arguments='{"a": 3}')),
            chunk(**call(3, id="d", name="add", arguments='{"a": 4}')),
        ]
    )

    calls = [(one["tool_call_id"], one["tool_input"]) for one in stream.reply().tool_calls]
    assert calls == [("a", {"a": 1}), ("b", {"a": 2}), ("c", {"a": 3}), ("d", {"a": 4})]


def test_an_id_that_changes_within_a_call_makes_no_second_one() -> None:
    stream = ChatStream()

    stream.feed(
        [
            chunk(**call(0, id="a", name="add", arguments='{"a"')),
            chunk(**call(0, id="other", arguments=": 1}")),
        ]
    )

    assert [one["tool_input"] for one in stream.reply().tool_calls] == [{"a": 1}]


def test_reasoning_under_its_other_name_is_thinking_too() -> None:
    assert ChatStream().feed([chunk(reasoning="hm")]) == [("thinking", "hm")]


def test_a_refusal_is_text() -> None:
    stream = ChatStream()

    stream.feed([chunk(refusal="No."), chunk("stop")])

    assert stream.reply().text == "No."


def test_an_error_in_the_stream_is_a_failure_behind_what_came_before() -> None:
    stream = ChatStream()
    error = {"code": "context_length_exceeded", "message": "too long"}

    pieces = stream.feed([chunk(content="so far"), {"error": error}, chunk(content="never")])

    assert pieces == [("text", "so far")]
    assert isinstance(stream.failure, ContextOverflow)
    assert not stream.finished


@pytest.mark.parametrize("event", [{"choices": 5}, {"choices": ["x"]}, {"choices": [{"delta": 1}]}])
def test_a_chunk_of_another_shape_is_a_failure(event: dict[str, Any]) -> None:
    stream = ChatStream()

    stream.feed([event])

    assert isinstance(stream.failure, ProtocolViolated)
