from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.pi.mapping import (
    EVENT_TABLE,
    delta_of,
    events_of,
    kind_of,
    text_of,
    usage_of,
)
from moorage.runtime.events import AGENT_TYPES

ANSWER: dict[str, Any] = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "I look."},
        {"type": "toolCall", "id": "c1", "name": "ls", "arguments": {"path": "."}},
    ],
    "model": "twin",
    "usage": {"input": 10, "output": 5, "cacheRead": 3, "cacheWrite": 0, "cost": {"total": 0.5}},
    "stopReason": "toolUse",
    "timestamp": 1_700_000_000_123,
    "responseId": "r1",
}


def update(**event: Any) -> dict[str, Any]:
    return {"type": "message_update", "assistantMessageEvent": event, "message": {}}


def test_an_answer_is_a_message_with_its_calls_and_the_tokens_it_took() -> None:
    received, usage = events_of({"type": "message_end", "message": ANSWER})

    call = {"tool_call_id": "c1", "tool_name": "ls", "tool_input": {"path": "."}}
    assert received == (
        "message_received",
        {
            "content": "I look.",
            "blocks": [
                {"type": "thinking", "text": "hm"},
                {"type": "text", "text": "I look."},
                {"type": "tool_call", **call},
            ],
            "tool_calls": [call],
            "model": "twin",
            "stop_reason": "toolUse",
            "message_id": "r1",
            "original": {"provider": "pi", "content": ANSWER["content"]},
        },
        {"provider_time_ns": 1_700_000_000_123_000_000},
    )
    tokens = {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 3, "cost_usd": 0.5}
    assert usage[:2] == ("token_usage_updated", tokens)


def test_an_answer_of_text_alone_has_no_blocks() -> None:
    said = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}

    ((_, data, _),) = events_of({"type": "message_end", "message": said})

    assert data["content"] == "Hello"
    assert "blocks" not in data
    assert "tool_calls" not in data


@pytest.mark.parametrize("reason", ["error", "aborted"])
@pytest.mark.parametrize("content", [[], [{"type": "text", "text": "Well,"}]])
def test_an_answer_that_failed_on_its_way_is_no_message(content: Any, reason: str) -> None:
    said = {"role": "assistant", "content": content, "stopReason": reason, "usage": {"input": 0}}

    assert events_of({"type": "message_end", "message": said}) == []


def test_a_model_without_a_price_tells_no_cost() -> None:
    assert usage_of({"input": 1, "output": 0, "cost": {"total": 0}}) == {
        "input_tokens": 1,
        "output_tokens": 0,
    }
    assert usage_of(None) == {}


def test_text_and_thoughts_are_deltas_and_nothing_else_is() -> None:
    assert delta_of(update(type="text_delta", delta="a")) == ("text", "a")
    assert delta_of(update(type="thinking_delta", delta="b")) == ("thinking", "b")
    assert delta_of(update(type="toolcall_delta", delta="{")) is None
    assert delta_of(update(type="text_end", content="a")) is None
    assert delta_of({"type": "agent_start"}) is None


def test_a_tool_starts_and_ends() -> None:
    call = {"toolCallId": "c1", "toolName": "ls"}
    content = [{"type": "text", "text": "a\n"}, {"type": "text", "text": "b"}]

    started = events_of({"type": "tool_execution_start", **call, "args": {"path": "."}})
    ended = events_of({"type": "tool_execution_end", **call, "result": {"content": content}})
    failed = events_of(
        {"type": "tool_execution_end", **call, "result": {"content": content}, "isError": True}
    )

    ours = {"tool_call_id": "c1", "tool_name": "ls"}
    assert started == [("tool_call_started", {**ours, "tool_input": {"path": "."}}, {})]
    assert ended == [("tool_call_completed", {**ours, "tool_output": "a\nb"}, {})]
    error = {"code": "tool_failed", "message": "a\nb"}
    assert failed == [("tool_call_failed", {**ours, "error": error}, {})]


def test_a_tool_that_gives_more_than_text_keeps_its_blocks() -> None:
    content = [{"type": "text", "text": "see"}, {"type": "image", "data": "AA=="}]

    ((_, data, _),) = events_of(
        {"type": "tool_execution_end", "toolCallId": "c", "result": {"content": content}}
    )

    assert data["tool_output"] == content


def test_a_retry_is_an_error_and_its_success_a_recovery() -> None:
    ((begun, problem, _),) = events_of({"type": "auto_retry_start", "errorMessage": "429 slow"})
    recovered = events_of({"type": "auto_retry_end", "success": True, "attempt": 2})
    given_up = events_of({"type": "auto_retry_end", "success": False, "attempt": 3})

    assert (begun, problem["code"]) == ("error_occurred", "provider_rate_limited")
    assert problem["retryable"] is True
    assert "429 slow" in problem["message"]
    assert recovered[0][0] == "error_recovered"
    assert given_up == []


def test_what_has_no_counterpart_is_kept_whole() -> None:
    for message in (
        {"type": "queue_update", "steering": ["x"]},
        {"type": "compaction_start", "reason": "threshold"},
        {"type": "invented_tomorrow", "value": 1},
        {"type": "message_end", "message": {"role": "custom"}},
    ):
        assert events_of(message) == [
            ("provider_event", {"provider": "pi", "original": message}, {})
        ]


def test_what_is_told_twice_is_mapped_once() -> None:
    for message in (
        {"type": "turn_end", "message": ANSWER},
        {"type": "message_start", "message": ANSWER},
        {"type": "message_end", "message": {"role": "toolResult"}},
        {"type": "response", "command": "prompt"},
        update(type="toolcall_end"),
    ):
        assert events_of(message) == []


SAMPLES: tuple[dict[str, Any], ...] = (
    {"type": "message_end", "message": ANSWER},
    {"type": "message_end", "message": {"role": "user"}},
    {"type": "tool_execution_start"},
    {"type": "tool_execution_end"},
    {"type": "tool_execution_end", "isError": True},
    {"type": "tool_execution_update"},
    {"type": "auto_retry_start"},
    {"type": "auto_retry_end", "success": True},
    {"type": "extension_error"},
    {"type": "agent_start"},
    {},
)


@pytest.mark.parametrize("message", SAMPLES)
def test_only_what_the_table_says_comes_of_a_message(message: dict[str, Any]) -> None:
    types = [type_ for type_, _, _ in events_of(message)]

    assert set(types) <= set(EVENT_TABLE[kind_of(message)])


def test_the_table_names_types_of_agents_alone() -> None:
    assert {type_ for types in EVENT_TABLE.values() for type_ in types} <= AGENT_TYPES


def test_content_may_be_a_text_or_blocks() -> None:
    assert text_of("a") == "a"
    assert text_of([{"type": "text", "text": "a"}, {"type": "image"}, "odd"]) == "a"
    assert text_of(None) == ""
