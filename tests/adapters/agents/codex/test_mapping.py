from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.codex.mapping import EVENT_TABLE, TurnReader, kind_of
from moorage.adapters.agents.provider.steering import ReadSteer
from moorage.adapters.agents.provider.text_prompts import TextPrompt
from moorage.runtime.events import AGENT_TYPES


@pytest.fixture
def reader() -> TurnReader:
    reader = TurnReader("thread")
    tell(reader, "turn/started", turn={"id": "turn"})
    return reader


def tell(reader: TurnReader, method: str, **params: Any) -> list[tuple[str, Any]]:
    """What a notification becomes, without the metadata."""
    whole = {"threadId": "thread", **params}
    return [(type, data) for type, data, _ in reader.read(method, whole)]


def used(reader: TurnReader, total: int, last: int, **params: Any) -> list[tuple[str, Any]]:
    counts = {
        name: {"inputTokens": 10 * count, "cachedInputTokens": 4 * count, "outputTokens": count}
        for name, count in (("total", total), ("last", last))
    }
    whole = {"turnId": "turn", "tokenUsage": counts, **params}
    return tell(reader, "thread/tokenUsage/updated", **whole)


def test_the_table_leads_to_types_that_agents_may_emit() -> None:
    types = {type for row in EVENT_TABLE.values() for type in row}

    assert types <= AGENT_TYPES


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        ("item/started", {"item": {"type": "fileChange"}}, "item/started.fileChange"),
        ("item/started", {"item": {"type": "plan"}}, "item/started"),
        ("item/completed", {"item": {"type": "plan"}}, "*"),
        ("item/completed", {"item": None}, "*"),
        ("error", {"willRetry": True}, "error.retrying"),
        ("error", {"willRetry": False}, "error"),
        ("something/new", {}, "*"),
    ],
)
def test_a_notification_falls_under_the_most_special_kind(
    method: str, params: dict[str, Any], kind: str
) -> None:
    assert kind_of(method, params) == kind


def test_text_and_reasoning_stream(reader: TurnReader) -> None:
    text = tell(reader, "item/agentMessage/delta", turnId="turn", delta="Hi")
    thought = tell(reader, "item/reasoning/summaryTextDelta", turnId="turn", delta="hm")

    assert text == [("message_streamed", {"delta": "Hi"})]
    assert thought == [("message_streamed", {"delta": "", "thinking": "hm"})]


def test_a_message_has_the_reasoning_before_it_as_a_block(reader: TurnReader) -> None:
    reader.model = "gpt"
    reasoning = {"type": "reasoning", "id": "r", "summary": ["one", "two"], "content": []}
    message = {"type": "agentMessage", "id": "m", "text": "Hi"}

    nothing = tell(reader, "item/completed", turnId="turn", item=reasoning)
    told = tell(reader, "item/completed", turnId="turn", item=message)
    again = tell(reader, "item/completed", turnId="turn", item=message)

    blocks = [{"type": "thinking", "text": "one\n\ntwo"}, {"type": "text", "text": "Hi"}]
    plain = {"content": "Hi", "message_id": "m", "model": "gpt"}
    assert nothing == []
    assert told == [("message_received", {**plain, "blocks": blocks})]
    assert again == [("message_received", plain)]


def test_a_call_is_told_as_started_and_as_completed(reader: TurnReader) -> None:
    item = {"type": "commandExecution", "id": "c", "command": "ls", "cwd": "/w"}
    done = {**item, "status": "completed", "aggregatedOutput": "a", "exitCode": 0}

    started = tell(reader, "item/started", turnId="turn", item=item)
    completed = tell(reader, "item/completed", turnId="turn", item=done)

    assert [type for type, _ in started] == ["tool_call_started"]
    assert [type for type, _ in completed] == ["tool_call_started", "tool_call_completed"]
    assert reader.calls["c"]["tool_input"] == {"command": "ls", "cwd": "/w"}


def test_usage_is_what_was_added_without_what_came_from_a_cache(reader: TurnReader) -> None:
    first = used(reader, 1, 1)
    second = used(reader, 3, 2)

    assert first == [
        ("token_usage_updated", {"input_tokens": 6, "output_tokens": 1, "cache_read_tokens": 4})
    ]
    assert second == [
        ("token_usage_updated", {"input_tokens": 12, "output_tokens": 2, "cache_read_tokens": 8})
    ]
    assert reader.turns == 2


def test_usage_that_is_repeated_is_not_told_again(reader: TurnReader) -> None:
    used(reader, 1, 1)

    assert used(reader, 1, 1) == []
    assert reader.turns == 1


def test_usage_of_the_turns_before_is_where_counting_starts(reader: TurnReader) -> None:
    before = used(reader, 5, 5, turnId="turn-before")
    now = used(reader, 6, 1)

    assert before == []
    assert now[0][1]["output_tokens"] == 1


def test_usage_of_a_resumed_thread_counts_the_last_answer_alone(reader: TurnReader) -> None:
    assert used(reader, 9, 1)[0][1]["output_tokens"] == 1


def test_it_is_known_whether_the_model_will_be_asked_again(reader: TurnReader) -> None:
    item = {"type": "webSearch", "id": "s", "query": "q"}
    tell(reader, "item/started", turnId="turn", item=item)
    used(reader, 1, 1)
    after_a_call = reader.asks_again
    used(reader, 2, 1)

    assert (after_a_call, reader.asks_again) == (True, False)


def test_a_steer_is_told_when_the_server_says_that_it_is_in(reader: TurnReader) -> None:
    reader.steers["s"] = ReadSteer("s", "Blue", TextPrompt("Blue"))
    own = {"type": "userMessage", "id": "u", "clientId": None}

    first = tell(reader, "item/started", turnId="turn", item=own)
    steered = tell(reader, "item/started", turnId="turn", item={**own, "clientId": "s"})

    sent = {"role": "user", "content": "Blue", "steer_id": "s"}
    assert (first, steered) == ([], [("message_sent", sent)])
    assert reader.steers == {}


def test_an_error_that_is_tried_again_is_recovered_by_the_next_item(reader: TurnReader) -> None:
    error = {"message": "Reconnecting", "codexErrorInfo": "serverOverloaded"}
    occurred = tell(reader, "error", turnId="turn", willRetry=True, error=error)
    recovered = tell(reader, "item/agentMessage/delta", turnId="turn", delta="Hi")
    after = tell(reader, "item/agentMessage/delta", turnId="turn", delta="!")

    assert [(type, data["code"]) for type, data in occurred] == [
        ("error_occurred", "provider_overloaded")
    ]
    assert [type for type, _ in recovered] == ["error_recovered", "message_streamed"]
    assert [type for type, _ in after] == ["message_streamed"]


@pytest.mark.parametrize(
    ("status", "reason"), [("completed", "end_turn"), ("interrupted", "interrupted")]
)
def test_the_end_of_a_turn_says_why(reader: TurnReader, status: str, reason: str) -> None:
    told = tell(reader, "turn/completed", turn={"id": "turn", "status": status})

    assert told == [("turn_completed", {"stop_reason": reason, "turns": 0})]
    assert (reader.status, reader.stop_reason, reader.error) == (status, reason, {})


def test_a_failed_turn_keeps_its_error(reader: TurnReader) -> None:
    silent = tell(reader, "error", turnId="turn", willRetry=False, error={"message": "early"})
    tell(reader, "turn/completed", turn={"id": "turn", "status": "failed", "error": None})

    assert silent == []
    assert reader.error == {"message": "early"}


def test_other_threads_and_turns_are_passed_over(reader: TurnReader) -> None:
    assert tell(reader, "item/agentMessage/delta", turnId="other", delta="x") == []
    assert tell(reader, "something/new", threadId="other") == []
    assert tell(reader, "turn/started", threadId="other", turn={"id": "x"}) == []
    assert reader.turn_id == "turn"


def test_what_has_no_counterpart_is_kept_whole(reader: TurnReader) -> None:
    params = {"threadId": "thread", "message": "careful"}

    told = tell(reader, "warning", message="careful")

    original = {"method": "warning", "params": params}
    assert told == [("provider_event", {"provider": "codex", "original": original})]


def test_the_time_of_an_item_is_kept(reader: TurnReader) -> None:
    item = {"type": "webSearch", "id": "s", "query": "q"}
    params = {"threadId": "thread", "turnId": "turn", "item": item, "startedAtMs": 7}

    ((_, _, metadata),) = reader.read("item/started", params)

    assert metadata == {"provider_time_ns": 7_000_000}
