from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.copilot.mapping import (
    EVENT_TABLE,
    SessionReader,
    data_of,
    kind_of,
    parent_of,
)
from moorage.adapters.agents.provider.steering import ReadSteer
from moorage.adapters.agents.provider.text_prompts import TextPrompt
from moorage.runtime.events import AGENT_TYPES

CALL = {"toolCallId": "c", "name": "bash", "arguments": {"command": "ls"}}


def tell(reader: SessionReader, type: str, **data: Any) -> list[tuple[str, Any]]:
    """What an event becomes, without the metadata."""
    return [(kind, told) for kind, told, _ in reader.read({"type": type, "data": data})]


def test_the_table_leads_to_types_that_agents_may_emit() -> None:
    types = {type for row in EVENT_TABLE.values() for type in row}

    assert types <= AGENT_TYPES


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"type": "assistant.message", "data": {}}, "assistant.message"),
        (
            {"type": "assistant.message", "data": {"parentToolCallId": "c"}},
            "assistant.message.sub_agent",
        ),
        ({"type": "assistant.streaming_delta", "data": {}}, "assistant.*"),
        ({"type": "model.messages_snapshot", "data": {}}, "model.*"),
        ({"type": "session.warning", "data": {}}, "*"),
        ({}, "*"),
    ],
)
def test_an_event_falls_under_the_most_special_kind(event: dict[str, Any], kind: str) -> None:
    assert kind_of(event) == kind


def test_text_and_reasoning_stream() -> None:
    reader = SessionReader()

    assert tell(reader, "assistant.message_delta", deltaContent="Hi") == [
        ("message_streamed", {"delta": "Hi"})
    ]
    assert tell(reader, "assistant.reasoning_delta", deltaContent="hm") == [
        ("message_streamed", {"delta": "", "thinking": "hm"})
    ]


def test_a_message_has_its_calls_and_its_reasoning() -> None:
    reader = SessionReader()

    ((type, data),) = tell(
        reader,
        "assistant.message",
        content="Hi",
        messageId="m",
        model="gpt",
        reasoningText="hm",
        toolRequests=[CALL, "nonsense"],
    )

    call = {"tool_call_id": "c", "tool_name": "bash", "tool_input": {"command": "ls"}}
    assert type == "message_received"
    assert data == {
        "content": "Hi",
        "message_id": "m",
        "model": "gpt",
        "tool_calls": [call],
        "blocks": [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "Hi"}],
    }
    assert reader.asks_again


def test_a_message_that_is_all_there_is_to_say_asks_nothing_again() -> None:
    reader = SessionReader()

    told = tell(reader, "assistant.message", content="Hi", messageId="m", toolRequests=None)

    assert told == [("message_received", {"content": "Hi", "message_id": "m"})]
    assert not reader.asks_again


def test_what_a_sub_agent_says_is_no_message_of_the_conversation() -> None:
    reader = SessionReader()

    deltas = [
        tell(reader, f"assistant.{kind}_delta", deltaContent="x", parentToolCallId="c")
        for kind in ("message", "reasoning")
    ]
    ((type, _),) = tell(reader, "assistant.message", content="x", parentToolCallId="c")
    tell(reader, "assistant.turn_start", parentToolCallId="c")

    assert deltas == [[], []]
    assert (type, reader.turns) == ("provider_event", 0)


def test_a_call_is_told_with_its_result() -> None:
    reader = SessionReader()

    started = tell(
        reader, "tool.execution_start", toolCallId="c", toolName="bash", arguments={"command": "ls"}
    )
    completed = tell(
        reader, "tool.execution_complete", toolCallId="c", success=True, result={"content": "a"}
    )

    call = {"tool_call_id": "c", "tool_name": "bash", "tool_input": {"command": "ls"}}
    assert started == [("tool_call_started", call)]
    assert completed == [
        ("tool_call_completed", {"tool_call_id": "c", "tool_name": "bash", "tool_output": "a"})
    ]
    assert reader.calls == {"c": call}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"code": "denied", "message": "no"}, {"code": "denied", "message": "no"}),
        ({"message": "no"}, {"code": "failed", "message": "no"}),
        ("no", {"code": "failed", "message": "no"}),
    ],
)
def test_a_call_that_failed_has_an_error(error: Any, told: Any) -> None:
    ((type, data),) = tell(
        SessionReader(), "tool.execution_complete", toolCallId="c", success=False, error=error
    )

    assert (type, data["error"]) == ("tool_call_failed", told)


def test_usage_is_counted_without_what_came_from_a_cache() -> None:
    told = tell(
        SessionReader(),
        "assistant.usage",
        inputTokens=10,
        outputTokens=0,
        cacheReadTokens=4,
        cacheWriteTokens=0,
        cost=0.5,
    )

    counts = {"input_tokens": 6, "output_tokens": 0, "cache_read_tokens": 4}
    assert told == [("token_usage_updated", counts)]
    assert tell(SessionReader(), "assistant.usage", model="gpt") == []


def test_a_call_of_the_model_that_is_tried_again_is_recovered_by_its_words() -> None:
    reader = SessionReader()
    tell(reader, "model.call_failure", statusCode=429, errorMessage="slow down")

    occurred = tell(reader, "assistant.turn_retry", reason="rate_limit")
    silent = tell(reader, "assistant.streaming_delta")
    recovered = tell(reader, "assistant.message_start", messageId="m")

    ((type, data),) = occurred
    assert (type, data["code"], silent) == ("error_occurred", "provider_rate_limited", [])
    assert [(type, data["code"]) for type, data in recovered] == [
        ("error_recovered", "provider_rate_limited")
    ]


def test_a_steer_is_told_when_the_server_says_that_it_is_in() -> None:
    reader = SessionReader()
    reader.steers["m2"] = ReadSteer("s", "Blue", TextPrompt("Blue"))
    reader.idle = True

    first = tell(reader, "user.message", messageId="m1")
    steered = tell(reader, "user.message", messageId="m2")

    sent = {"role": "user", "content": "Blue", "steer_id": "s"}
    assert (first, steered) == ([], [("message_sent", sent)])
    assert (reader.said, reader.steers, reader.idle) == ({"m1", "m2"}, {}, False)


@pytest.mark.parametrize(
    ("error", "aborted", "reason"),
    [(None, False, "end_turn"), (None, True, "interrupted"), ({"message": "x"}, False, "failed")],
)
def test_an_idle_session_says_why(error: Any, aborted: bool, reason: str) -> None:
    reader = SessionReader()
    if error is not None:
        assert tell(reader, "session.error", **error) == []

    told = tell(reader, "session.idle", aborted=aborted)

    assert told == [("turn_completed", {"stop_reason": reason, "turns": 0})]
    assert (reader.idle, reader.aborted, reader.stop_reason) == (True, aborted, reason)
    assert reader.error == (error or {})


def test_what_has_no_counterpart_is_kept_whole_with_its_time() -> None:
    event = {
        "type": "session.warning",
        "data": {"message": "careful"},
        "timestamp": "1970-01-01T00:00:01Z",
    }

    ((type, data, metadata),) = SessionReader().read(event)

    assert (type, data) == ("provider_event", {"provider": "copilot", "original": event})
    assert metadata == {"provider_time_ns": 1_000_000_000}


def test_the_parent_of_an_event_is_a_call_or_an_agent() -> None:
    assert parent_of({"data": {"parentToolCallId": "c"}}) == "c"
    assert parent_of({"agentId": "a", "data": None}) == "a"
    assert parent_of({"data": {}}) is None
    assert data_of({"data": "nonsense"}) == {}
