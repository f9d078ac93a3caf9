from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.claude_code import mapping
from moorage.adapters.agents.claude_code.session_store import TRANSCRIPT_TYPE
from moorage.runtime.events import AGENT_TYPES


def stream_event(**event: Any) -> dict[str, Any]:
    return {"type": "stream_event", "event": event}


def test_the_table_has_only_types_that_agents_may_emit() -> None:
    types = {type for row in mapping.EVENT_TABLE.values() for type in row}

    assert types - {TRANSCRIPT_TYPE} <= AGENT_TYPES


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"type": "assistant", "message": {"content": []}}, "assistant"),
        ({"type": "assistant", "error": "rate_limit", "message": {}}, "assistant.error"),
        ({"type": "user", "message": {"content": "typed"}}, "user"),
        (
            {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "t"}]}},
            "user.tool_result",
        ),
        (
            stream_event(type="content_block_delta", delta={"type": "text_delta"}),
            "stream_event.text_delta",
        ),
        (stream_event(type="message_stop"), "stream_event.message_stop"),
        (stream_event(type="ping"), "stream_event"),
        ({"type": "system", "subtype": "api_retry"}, "system.api_retry"),
        ({"type": "system", "subtype": "init"}, "system"),
        ({"type": "command_lifecycle", "state": "started"}, "command_lifecycle.started"),
        ({"type": "command_lifecycle", "state": "completed"}, "command_lifecycle"),
        ({"type": "result", "subtype": "success"}, "result"),
        ({"type": "of the future"}, "*"),
        ({}, "*"),
        ({"type": "user", "message": None}, "user"),
        ({"type": "stream_event", "event": "no map"}, "stream_event"),
    ],
)
def test_a_message_falls_under_the_most_special_row(message: dict[str, Any], kind: str) -> None:
    assert mapping.kind_of(message) == kind


def test_metadata_has_session_parent_and_time() -> None:
    message = {
        "session_id": "s-1",
        "parent_tool_use_id": "call-1",
        "timestamp": "2026-11-27T04:07:55.232Z",
    }

    assert mapping.metadata_of(message) == {
        "provider": "claude",
        "provider_session": "s-1",
        "parent_tool_call_id": "call-1",
        "provider_time_ns": 1_795_752_475_232_000_000,
    }


@pytest.mark.parametrize("timestamp", [None, 7, "yesterday", "2026-11-27T04:07:55"])
def test_a_time_that_cannot_be_read_is_left_out(timestamp: object) -> None:
    assert mapping.metadata_of({"timestamp": timestamp}) == {"provider": "claude"}


def test_a_message_of_text_is_content_alone() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]

    data = mapping.received(parts, model="m", stop_reason="end_turn", message_id="id")

    assert data == {
        "content": "Hello",
        "model": "m",
        "stop_reason": "end_turn",
        "message_id": "id",
    }


def test_a_message_with_more_than_text_has_blocks_calls_and_the_original() -> None:
    parts = [
        {"type": "thinking", "thinking": "hmm", "signature": "sig"},
        {"type": "text", "text": "Look:"},
        {"type": "tool_use", "id": "t1", "name": "mcp__moorage__add", "input": {"a": 1}},
        {"type": "server_tool_use", "id": "t2", "name": "web_search", "input": {}},
    ]

    data = mapping.received(parts)

    call = {"tool_call_id": "t1", "tool_name": "add", "tool_input": {"a": 1}}
    assert data == {
        "content": "Look:",
        "blocks": [
            {"type": "thinking", "text": "hmm"},
            {"type": "text", "text": "Look:"},
            {"type": "tool_call", **call},
        ],
        "original": {"provider": "claude", "content": parts},
        "tool_calls": [call],
    }


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ("hi", "hi"),
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        (
            [{"type": "text", "text": "a"}, {"type": "image"}],
            [
                {"type": "text", "text": "a"},
                {"type": "image"},
            ],
        ),
        ([{"type": "text", "text": 7}], [{"type": "text", "text": 7}]),
        ({"stdout": "x"}, {"stdout": "x"}),
        ([], ""),
    ],
)
def test_a_tools_output_is_text_where_it_is_nothing_else(content: Any, output: Any) -> None:
    assert mapping.tool_output(content) == output


def test_usage_of_one_message_leaves_out_what_is_zero_or_strange() -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 0,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": None,
        "service_tier": "standard",
    }

    assert mapping.usage_of(usage) == {"input_tokens": 10, "cache_read_tokens": 3}


def test_usage_of_all_models_is_added_up() -> None:
    models = {
        "large": {"inputTokens": 10, "outputTokens": 7, "costUSD": 0.5, "contextWindow": 200_000},
        "small": {"inputTokens": 1, "cacheReadInputTokens": 2, "costUSD": 0.25},
        "broken": None,
    }

    assert mapping.total_usage(models) == {
        "input_tokens": 11,
        "output_tokens": 7,
        "cache_read_tokens": 2,
        "cost_usd": 0.75,
    }
    assert mapping.total_usage(None) == {}


def test_an_increment_is_what_was_not_told_before() -> None:
    total = {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.3}

    rest = mapping.increment(total, {"input_tokens": 4, "cost_usd": 0.1}, {"output_tokens": 6})

    assert rest == {"input_tokens": 6, "cost_usd": pytest.approx(0.2)}


@pytest.mark.parametrize("message", [{}, {"message": None}, {"message": {"content": 7}}])
def test_a_message_without_content_has_no_blocks(message: dict[str, Any]) -> None:
    assert mapping.content_of(message) == []
