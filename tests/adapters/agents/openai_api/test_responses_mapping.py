from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.openai_api.responses_mapping import ResponseStream
from moorage.adapters.agents.provider.failures import ProtocolViolated, ProviderUnavailable

OUTPUT: list[dict[str, Any]] = [
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "I see"}],
        "encrypted_content": "abc",
    },
    {
        "type": "message",
        "id": "m_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "I add", "annotations": []}],
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "add",
        "arguments": '{"a": 1}',
        "status": "completed",
    },
]
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 25},
    "total_tokens": 140,
}


def completed(type: str = "response.completed", **facts: Any) -> dict[str, Any]:
    response = {"id": "resp_1", "created_at": 5, "model": "gpt-x", "output": OUTPUT, "usage": USAGE}
    return {"type": type, "response": response | facts}


WHOLE = [
    {"type": "response.created", "response": {"id": "resp_1"}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning"}},
    {"type": "response.reasoning_summary_text.delta", "delta": "I "},
    {"type": "response.reasoning_summary_text.delta", "delta": "see"},
    {"type": "response.output_item.done", "output_index": 0, "item": OUTPUT[0]},
    {"type": "response.output_text.delta", "delta": "I "},
    {"type": "response.output_text.delta", "delta": "add"},
    {"type": "response.output_item.done", "output_index": 1, "item": OUTPUT[1]},
    {"type": "response.function_call_arguments.delta", "delta": '{"a": 1}'},
    {"type": "response.output_item.done", "output_index": 2, "item": OUTPUT[2]},
]


def test_a_whole_response_has_blocks_calls_usage_and_what_was_said_originally() -> None:
    stream = ResponseStream()

    pieces = stream.feed([*WHOLE, completed()])

    assert stream.finished
    assert pieces == [("thinking", "I see"), ("text", "I add")]
    reply = stream.reply()
    assert reply.text == "I add"
    assert [block["type"] for block in reply.blocks] == ["thinking", "text", "tool_call"]
    assert reply.tool_calls == [
        {"tool_call_id": "call_1", "tool_name": "add", "tool_input": {"a": 1}}
    ]
    assert (reply.message_id, reply.model, reply.stop_reason) == ("resp_1", "gpt-x", "tool_calls")
    assert reply.original == {"provider": "openai.responses", "content": OUTPUT}
    assert reply.time_ns == 5_000_000_000
    assert reply.usage == {
        "input_tokens": 30,
        "cache_read_tokens": 60,
        "cache_write_tokens": 10,
        "output_tokens": 40,
        "reasoning_tokens": 25,
    }


def test_a_final_event_without_output_is_filled_from_the_items_before() -> None:
    stream = ResponseStream()

    stream.feed([*WHOLE, completed(output=[], usage=None)])

    assert stream.reply().text == "I add"
    assert stream.reply().usage == {}


def test_an_incomplete_response_is_whole_and_says_why_it_stopped() -> None:
    stream = ResponseStream()

    stream.feed(
        [completed("response.incomplete", incomplete_details={"reason": "max_output_tokens"})]
    )

    assert stream.finished
    assert stream.reply().stop_reason == "max_output_tokens"


def test_a_refusal_is_text() -> None:
    stream = ResponseStream()
    item = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}

    pieces = stream.feed(
        [{"type": "response.refusal.delta", "delta": "No."}, completed(output=[item])]
    )

    assert pieces == [("text", "No.")]
    assert stream.reply().text == "No."
    assert stream.reply().stop_reason == "completed"


def test_what_the_server_does_by_itself_is_told() -> None:
    searching = {"type": "response.web_search_call.searching", "item_id": "ws_1"}
    done = {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {"type": "web_search_call", "id": "ws_1"},
    }

    assert ResponseStream().feed([searching, done]) == [("event", searching), ("event", done)]


def test_a_failed_response_and_an_error_event_are_failures() -> None:
    error = {"code": "server_error", "message": "the reason"}
    for event in (completed("response.failed", error=error), {"type": "error", **error}):
        stream = ResponseStream()

        pieces = stream.feed([WHOLE[5], event, WHOLE[6]])

        assert pieces == [("text", "I ")]
        assert isinstance(stream.failure, ProviderUnavailable)


@pytest.mark.parametrize(
    "event", [{}, {"type": "response.completed"}, {"type": "response.output_text.delta"}]
)
def test_an_event_of_another_shape_is_a_failure(event: dict[str, Any]) -> None:
    stream = ResponseStream()

    stream.feed([event])

    assert isinstance(stream.failure, ProtocolViolated)
