from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.amp.mapping import (
    EVENT_TABLE,
    events_of,
    failure_of_result,
    is_last,
    said_by_user,
    session_of,
    usage_of,
)
from moorage.runtime.events import AGENT_TYPES

from tests.adapters.agents.amp.stand_in import answer, result

USE = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"cmd": "ls"}}


def assistant(*content: Any, reason: str | None = "tool_use", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": list(content), "stop_reason": reason}
    return {"type": "assistant", "message": message, **more}


def user(*content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "user", "message": {"role": "user", "content": list(content)}, **more}


def test_an_answer_is_streamed_in_one_piece_and_told_whole_with_its_tokens() -> None:
    events = events_of(answer("2 + 2 equals 4.", thinking="hm")[1])

    assert [type_ for type_, _, _ in events] == [
        "thinking",
        "delta",
        "message_received",
        "token_usage_updated",
    ]
    assert events[2][1]["content"] == "2 + 2 equals 4."
    assert events[3][1] == {
        "input_tokens": 12783,
        "output_tokens": 8,
        "cache_read_tokens": 12416,
        "cache_write_tokens": 367,
    }


def test_calls_are_told_in_the_message_and_as_started() -> None:
    (_, received, _), (type_, started, _) = events_of(assistant(USE))

    call = {"tool_call_id": "t1", "tool_name": "Bash", "tool_input": {"cmd": "ls"}}
    assert received["tool_calls"] == [call]
    assert (type_, started) == ("tool_call_started", call)


@pytest.mark.parametrize("content", ["a\nb", [{"type": "text", "text": "a\nb"}]])
def test_a_result_is_a_text_in_either_form(content: Any) -> None:
    given = {"type": "tool_result", "tool_use_id": "t1", "content": content, "is_error": False}

    ((type_, data, _),) = events_of(user(given))

    assert (type_, data["tool_call_id"], data["tool_output"]) == (
        "tool_call_completed",
        "t1",
        "a\nb",
    )


def test_a_failed_result_says_why() -> None:
    given = {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}

    ((type_, data, _),) = events_of(user(given))

    assert (type_, data["error"]) == ("tool_call_failed", {"code": "tool_failed", "message": "no"})


def test_what_a_sub_agent_says_is_marked_and_not_streamed() -> None:
    said = assistant({"type": "text", "text": "x"}, parent_tool_use_id="t0")

    ((type_, _, metadata),) = events_of(said)

    assert (type_, metadata) == ("message_received", {"parent_tool_call_id": "t0"})


def test_the_last_word_is_one_that_calls_no_tool_or_a_result() -> None:
    assert is_last(answer("x")[1])
    assert is_last(result("x")[1])
    assert not is_last(assistant(USE))
    assert not is_last(assistant(reason=None))
    assert not is_last({**answer("x")[1], "parent_tool_use_id": "t0"})
    assert not is_last(user())


def test_what_the_user_said_is_told_from_results_and_sub_agents() -> None:
    text = {"type": "text", "text": "Stop"}

    assert said_by_user(user(text)) == "Stop"
    assert said_by_user({"type": "user", "message": {"content": "Stop"}}) == "Stop"
    assert said_by_user(user(text, parent_tool_use_id="t0")) == ""
    assert said_by_user(user({"type": "tool_result", "content": "x"})) == ""
    assert said_by_user(assistant(text)) == ""


def test_a_result_is_a_failure_or_none() -> None:
    error = {"type": "result", "is_error": True}

    assert failure_of_result(result("x")[1]) is None
    assert failure_of_result({}) is None
    turns = failure_of_result({**error, "subtype": "error_max_turns"})
    limit = failure_of_result({**error, "error": "429 slow down"})
    assert turns is not None
    assert turns.code == "turns_exceeded"
    assert limit is not None
    assert limit.code == "provider_rate_limited"


def test_what_has_no_counterpart_is_kept_whole() -> None:
    for message in ({"type": "system", "subtype": "init"}, {"type": "invented_tomorrow"}):
        kept = ("provider_event", {"provider": "amp", "original": message}, {})
        assert events_of(message) == [kept]
    assert events_of(result("x")[1]) == []


def test_the_thread_and_the_tokens_are_read_where_they_are() -> None:
    assert session_of({"session_id": "T-1"}) == "T-1"
    assert session_of({}) is None
    assert usage_of(None) == {}
    assert usage_of({"input_tokens": None, "output_tokens": 2}) == {
        "input_tokens": 0,
        "output_tokens": 2,
    }


def test_the_table_names_types_of_agents_alone() -> None:
    assert {type_ for types in EVENT_TABLE.values() for type_ in types} <= AGENT_TYPES
