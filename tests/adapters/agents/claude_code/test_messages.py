from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moorage.adapters.agents.claude_code.messages import MessageReader

if TYPE_CHECKING:
    from moorage.adapters.agents.claude_code.mapping import Mapped

SESSION = "session-1"
METADATA = {"provider": "claude", "provider_session": SESSION}


def stream(parent: str | None = None, **event: Any) -> dict[str, Any]:
    return {
        "type": "stream_event",
        "event": event,
        "session_id": SESSION,
        "parent_tool_use_id": parent,
    }


def text_delta(text: str) -> dict[str, Any]:
    return stream(type="content_block_delta", delta={"type": "text_delta", "text": text})


def assistant(
    *content: dict[str, Any], id: str = "m1", parent: str | None = None
) -> dict[str, Any]:
    return {
        "type": "assistant",
        "message": {"id": id, "model": "model-1", "content": list(content)},
        "session_id": SESSION,
        "parent_tool_use_id": parent,
    }


def tool_use(id: str, **input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "Bash", "input": input}


def tool_result(id: str, content: Any, *, is_error: bool = False, parent: str | None = None) -> Any:
    block = {
        "type": "tool_result",
        "tool_use_id": id,
        "content": content,
        "is_error": is_error,
    }
    return {
        "type": "user",
        "message": {"role": "user", "content": [block]},
        "session_id": SESSION,
        "parent_tool_use_id": parent,
    }


def result(**fields: Any) -> dict[str, Any]:
    usual = {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1}
    return {**usual, "session_id": SESSION, "stop_reason": "end_turn", **fields}


def feed(reader: MessageReader, *messages: dict[str, Any], now: float = 0.0) -> list[Mapped]:
    return [event for message in messages for event in reader.feed(message, now)]


def told(events: list[Mapped]) -> list[tuple[str, Any]]:
    return [(type, data) for type, data, _ in events]


def types(events: list[Mapped]) -> list[str]:
    return [type for type, _, _ in events]


def test_blocks_of_one_message_become_one_event_at_its_end() -> None:
    reader = MessageReader()

    events = feed(
        reader,
        stream(type="message_start", message={"usage": {"input_tokens": 10, "output_tokens": 1}}),
        text_delta("Hel"),
        text_delta("lo"),
        assistant({"type": "text", "text": "Hello"}),
        stream(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}),
        stream(type="message_stop"),
    )

    assert told(events) == [
        ("message_streamed", {"delta": "Hel"}),
        ("message_streamed", {"delta": "lo"}),
        ("token_usage_updated", {"input_tokens": 10, "output_tokens": 7}),
        (
            "message_received",
            {
                "content": "Hello",
                "model": "model-1",
                "stop_reason": "end_turn",
                "message_id": "m1",
            },
        ),
    ]
    assert all(metadata == METADATA for _, _, metadata in events)
    assert reader.session == SESSION
    assert reader.model == "model-1"
    assert reader.text == "Hello"


def test_thinking_is_streamed_as_such() -> None:
    delta = {"type": "thinking_delta", "thinking": "hmm"}

    events = feed(MessageReader(), stream(type="content_block_delta", delta=delta))

    assert told(events) == [("message_streamed", {"delta": "", "thinking": "hmm"})]


def test_a_call_starts_behind_its_message_and_takes_the_time_between() -> None:
    reader = MessageReader()

    started = feed(
        reader,
        assistant({"type": "text", "text": "Look:"}),
        assistant(tool_use("t1", command="ls")),
        stream(type="message_stop"),
        now=1.0,
    )
    ended = feed(reader, tool_result("t1", "a file"), now=3.5)

    assert types(started) == ["message_received", "tool_call_started"]
    assert started[1][1] == {
        "tool_call_id": "t1",
        "tool_name": "Bash",
        "tool_input": {"command": "ls"},
    }
    assert told(ended) == [
        (
            "tool_call_completed",
            {
                "tool_call_id": "t1",
                "tool_name": "Bash",
                "tool_output": "a file",
                "duration_seconds": 2.5,
            },
        )
    ]


def test_without_partial_messages_the_next_message_ends_the_one_before() -> None:
    reader = MessageReader()

    events = feed(
        reader,
        assistant({"type": "text", "text": "one"}, id="m1"),
        assistant({"type": "text", "text": "two"}, id="m2"),
        result(),
    )

    received = [data["content"] for type, data, _ in events if type == "message_received"]
    assert received == ["one", "two"]


def test_a_call_that_is_asked_about_early_starts_once() -> None:
    reader = MessageReader()
    call = {"tool_call_id": "t1", "tool_name": "Bash", "tool_input": {}}

    early = reader.call_started(call, 0.0)
    late = feed(reader, assistant(tool_use("t1")), stream(type="message_stop"))

    assert types(early) == ["tool_call_started"]
    assert types(late) == ["message_received"]


@pytest.mark.parametrize(("denied", "code"), [(False, "tool_failed"), (True, "denied")])
def test_a_failed_call_says_whether_it_was_denied(denied: bool, code: str) -> None:
    reader = MessageReader()
    feed(reader, assistant(tool_use("t1")), stream(type="message_stop"))
    if denied:
        reader.call_denied("t1")

    events = feed(reader, tool_result("t1", [{"type": "text", "text": "no"}], is_error=True))

    error = {"code": code, "message": "no"}
    assert told(events) == [
        ("tool_call_failed", {"tool_call_id": "t1", "tool_name": "Bash", "error": error})
    ]


def test_what_a_subagent_says_carries_the_call_that_started_it() -> None:
    reader = MessageReader()
    feed(reader, assistant(tool_use("task")), stream(type="message_stop"))

    events = feed(
        reader,
        stream("task", type="content_block_delta", delta={"type": "text_delta", "text": "x"}),
        assistant(tool_use("inner"), id="m2", parent="task"),
        tool_result("inner", "done", parent="task"),
        tool_result("task", "all done"),
    )

    assert types(events) == [
        "message_received",
        "tool_call_started",
        "tool_call_completed",
        "tool_call_completed",
    ]
    parents = [metadata.get("parent_tool_call_id") for _, _, metadata in events]
    assert parents == ["task", "task", "task", None]


def test_a_result_for_a_call_that_nobody_made_is_kept_whole() -> None:
    message = tool_result("t9", "?")

    events = feed(MessageReader(), message)

    assert told(events) == [("provider_event", {"provider": "claude", "original": message})]


def test_every_open_call_gets_a_result_when_the_run_is_interrupted() -> None:
    reader = MessageReader()
    feed(reader, assistant(tool_use("t1"), tool_use("t2")), stream(type="message_stop"))
    feed(reader, tool_result("t1", "fine"), assistant({"type": "text", "text": "half"}, id="m2"))

    events = reader.interrupted("it was cancelled")

    error = {"code": "interrupted", "message": "it was cancelled"}
    assert types(events) == ["message_received", "tool_call_failed"]
    assert events[1][1] == {"tool_call_id": "t2", "tool_name": "Bash", "error": error}
    assert reader.interrupted("again") == []


def test_usage_is_told_in_increments_that_add_up_to_what_claude_code_says() -> None:
    reader = MessageReader(baseline={"input_tokens": 100, "cost_usd": 1.0})
    models = {"model-1": {"inputTokens": 117, "outputTokens": 7, "costUSD": 1.25}}
    more = {"model-1": {"inputTokens": 120, "outputTokens": 9, "costUSD": 1.5}}

    events = feed(
        reader,
        stream(type="message_start", message={"usage": {"input_tokens": 10}}),
        stream(type="message_delta", delta={}, usage={"output_tokens": 7}),
        result(modelUsage=models),
        result(modelUsage=more),
    )

    usage = [data for type, data, _ in events if type == "token_usage_updated"]
    assert usage == [
        {"input_tokens": 10, "output_tokens": 7},
        {"input_tokens": 7, "cost_usd": 0.25},
        {"input_tokens": 3, "output_tokens": 2, "cost_usd": 0.25},
    ]
    assert reader.turns == 2


def test_a_retry_is_an_error_from_which_the_next_answer_recovers() -> None:
    reader = MessageReader()
    retry = {
        "type": "system",
        "subtype": "api_retry",
        "attempt": 1,
        "max_retries": 10,
        "retry_delay_ms": 532,
        "error_status": 401,
        "error": "authentication_failed",
    }

    failed = feed(reader, retry)
    recovered = feed(reader, stream(type="message_start", message={}), text_delta("x"))

    ((type, data, _),) = failed
    assert type == "error_occurred"
    assert data["code"] == "provider_authentication"
    assert data["retryable"] is True
    assert data["retry_after_seconds"] == 0.532
    assert told(recovered)[0] == (
        "error_recovered",
        {"code": "provider_authentication", "message": "the model answers again"},
    )


def test_an_error_of_the_model_is_no_message_of_it() -> None:
    reader = MessageReader()
    message = assistant({"type": "text", "text": "API Error: 529 overloaded"}) | {
        "error": "overloaded"
    }

    events = feed(reader, message, result(is_error=True))

    assert types(events) == ["error_occurred", "turn_completed"]
    assert events[0][1]["code"] == "provider_overloaded"
    assert reader.error == message


def test_a_run_is_over_when_its_messages_are_answered_and_nothing_is_left_to_do() -> None:
    reader = MessageReader()
    reader.waiting.add("u1")

    def state(name: str) -> dict[str, Any]:
        return {"type": "system", "subtype": "session_state_changed", "state": name}

    def command(name: str) -> dict[str, Any]:
        return {"type": "command_lifecycle", "command_uuid": "u1", "state": name}

    over = []
    for message in (
        state("running"),
        command("queued"),
        command("started"),
        result(),
        command("completed"),
        state("idle"),
    ):
        assert types(feed(reader, message)) in ([], ["turn_completed"])
        over.append(reader.over)

    assert over == [False, False, False, False, False, True]


def test_a_claude_code_that_tells_no_state_is_over_with_its_result() -> None:
    reader = MessageReader()

    feed(reader, result())

    assert reader.over


def test_what_has_no_counterpart_is_kept_whole() -> None:
    message = {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}}

    assert told(feed(MessageReader(), message)) == [
        ("provider_event", {"provider": "claude", "original": message})
    ]


def test_what_claude_code_says_itself_names_no_model() -> None:
    reader = MessageReader()
    message = assistant({"type": "text", "text": "No response requested."})
    message["message"]["model"] = "<synthetic>"

    feed(reader, message)

    assert reader.model is None


def test_counts_of_thinking_tokens_are_not_told_twice() -> None:
    message = {"type": "system", "subtype": "thinking_tokens", "estimated_tokens": 3}

    assert feed(MessageReader(), message) == []
