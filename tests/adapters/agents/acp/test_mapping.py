from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.acp.mapping import EVENT_TABLE, AcpMapping, usage_of
from moorage.runtime.events import AGENT_TYPES


def chunk(text: str, *, thought: bool = False, **more: Any) -> dict[str, Any]:
    kind = "agent_thought_chunk" if thought else "agent_message_chunk"
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}, **more}


def call(status: str | None = None, *, first: bool = False, **more: Any) -> dict[str, Any]:
    kind = "tool_call" if first else "tool_call_update"
    return {"sessionUpdate": kind, "toolCallId": "c1", "status": status, **more}


def followed(*updates: dict[str, Any]) -> tuple[AcpMapping, list[Any]]:
    mapping = AcpMapping("acp")
    return mapping, [event for update in updates for event in mapping.update(update)]


def types(events: list[Any]) -> list[str]:
    return [type_ for type_, _ in events]


def test_chunks_are_deltas_and_the_end_of_the_turn_makes_them_a_message() -> None:
    mapping, events = followed(chunk("hm", thought=True), chunk("Hel"), chunk("lo"))

    events += mapping.finish({"stopReason": "end_turn", "usage": {"inputTokens": 3}})

    assert events == [
        ("thinking", {"text": "hm"}),
        ("delta", {"text": "Hel"}),
        ("delta", {"text": "lo"}),
        (
            "message_received",
            {
                "content": "Hello",
                "stop_reason": "end_turn",
                "blocks": [
                    {"type": "thinking", "text": "hm"},
                    {"type": "text", "text": "Hello"},
                ],
            },
        ),
        ("token_usage_updated", {"input_tokens": 3}),
    ]


def test_a_message_of_another_id_ends_the_one_before() -> None:
    mapping, events = followed(chunk("one", messageId="a"), chunk("two", messageId="b"))

    events += mapping.cut()

    messages = [data for type_, data in events if type_ == "message_received"]
    assert [(m["content"], m["message_id"]) for m in messages] == [("one", "a"), ("two", "b")]


def test_a_call_is_told_with_what_was_said_before_it_once_its_input_is_known() -> None:
    _, events = followed(
        chunk("I look."),
        call("pending", first=True, title="bash", kind="execute", rawInput={"cwd": "/"}),
        call("in_progress", title="ls", rawInput={"command": "ls"}),
        call("completed", content=[{"type": "content", "content": {"type": "text", "text": "a"}}]),
    )

    facts = {"tool_call_id": "c1", "tool_name": "execute"}
    told = {**facts, "tool_input": {"command": "ls"}}
    assert events[1:] == [
        (
            "message_received",
            {
                "content": "I look.",
                "blocks": [{"type": "text", "text": "I look."}, {"type": "tool_call", **told}],
                "tool_calls": [told],
            },
        ),
        ("tool_call_started", {**told, "title": "bash"}),
        ("tool_call_completed", {**facts, "tool_output": "a"}),
    ]


def test_a_call_without_a_telling_kind_is_named_by_its_title() -> None:
    _, events = followed(call("in_progress", first=True, title="weather", kind="other"))

    assert events[-1][1]["tool_name"] == "weather"


def test_a_failed_call_says_why() -> None:
    _, events = followed(call("failed", first=True, kind="read", rawOutput="no such file"))

    assert events[-1][0] == "tool_call_failed"
    assert events[-1][1]["error"] == {"code": "tool_failed", "message": "no such file"}


def test_what_is_no_text_is_kept_as_it_came() -> None:
    diff = {"type": "diff", "path": "/a", "oldText": "x", "newText": "y"}

    _, events = followed(call("completed", first=True, kind="edit", content=[diff]))

    assert events[-1][1]["tool_output"] == [diff]


def test_a_call_that_ends_twice_is_told_once() -> None:
    _, events = followed(call("completed", first=True), call("completed"), call("failed"))

    assert types(events).count("tool_call_completed") == 1
    assert "tool_call_failed" not in types(events)


def test_a_permission_that_is_asked_makes_the_call_known() -> None:
    mapping = AcpMapping("acp")

    events = mapping.asked({"toolCallId": "c9", "kind": "edit", "rawInput": {"path": "/a"}})

    assert types(events) == ["message_received", "tool_call_started"]
    assert mapping.asked({"toolCallId": "c9"}) == []
    known = mapping.call("c9")
    assert known is not None
    assert (known.name, known.input) == ("edit", {"path": "/a"})


def test_turns_are_counted_by_when_the_model_begins_to_speak() -> None:
    mapping, _ = followed(
        chunk("I look."),
        call("in_progress", first=True),
        call("completed"),
        chunk("And"),
        chunk(" done"),
    )

    assert mapping.turns == 2


def test_cost_is_told_in_increments() -> None:
    def usage(amount: float, currency: str = "USD") -> dict[str, Any]:
        return {"sessionUpdate": "usage_update", "cost": {"amount": amount, "currency": currency}}

    _, events = followed(usage(0.5), usage(0.75), usage(0.75), usage(9, "EUR"))
    continued = AcpMapping("acp")
    continued.cost_unknown()
    later = [*continued.update(usage(5.0)), *continued.update(usage(5.5))]

    costs = [data["cost_usd"] for type_, data in events if type_ == "token_usage_updated"]
    assert costs == [0.5, 0.25]
    assert [data for type_, data in later if type_ == "token_usage_updated"] == [{"cost_usd": 0.5}]


def test_usage_leaves_out_what_is_not_told() -> None:
    assert usage_of({"inputTokens": 1, "outputTokens": 2, "cachedReadTokens": None}) == {
        "input_tokens": 1,
        "output_tokens": 2,
    }
    assert usage_of(None) == {}
    assert usage_of({"inputTokens": 0, "outputTokens": 0}) == {}


@pytest.mark.parametrize("kind", ["plan", "available_commands_update", "invented_tomorrow"])
def test_what_has_no_counterpart_is_kept_whole(kind: str) -> None:
    update = {"sessionUpdate": kind, "value": [1]}

    assert followed(update)[1] == [("provider_event", {"provider": "acp", "original": update})]


def test_an_echo_of_the_user_is_nothing_new_and_an_image_is_kept() -> None:
    image = {"sessionUpdate": "agent_message_chunk", "content": {"type": "image", "data": "A"}}

    assert followed({"sessionUpdate": "user_message_chunk"})[1] == []
    assert types(followed(image)[1]) == ["provider_event"]


def test_the_table_names_types_of_agents_alone() -> None:
    assert {type_ for types in EVENT_TABLE.values() for type_ in types} <= AGENT_TYPES
