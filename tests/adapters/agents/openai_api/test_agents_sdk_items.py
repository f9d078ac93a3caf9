from __future__ import annotations

from typing import Any

import attrs
import pytest
from moorage.adapters.agents.openai_api.agents_sdk_items import event_of_item, item_of_event
from moorage.runtime.events import Event
from moorage.runtime.transcript import Transcript

TEXT = {"type": "output_text", "text": "It is 3", "annotations": []}
ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": "1 + 2?"},
    {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1, "b": 2}'},
    {"type": "function_call_output", "call_id": "c1", "output": "3"},
    {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [TEXT]},
    {"type": "computer_call", "call_id": "c2", "action": {"type": "screenshot"}},
]


def recorded(items: list[dict[str, Any]]) -> list[Event]:
    return [
        Event("s", seq, 0, new.type, None, new.data, new.metadata)
        for seq, new in enumerate(map(event_of_item, items), 1)
    ]


def test_every_item_comes_back_as_it_was() -> None:
    assert [item_of_event(event) for event in recorded(ITEMS)] == ITEMS


def test_a_transcript_tells_items_as_what_was_said() -> None:
    messages = Transcript().extend(recorded(ITEMS)).messages()

    assert [(message.role, message.text) for message in messages] == [
        ("user", "1 + 2?"),
        ("system", "Be brief."),
        ("assistant", ""),
        ("tool", ""),
        ("assistant", "It is 3"),
    ]
    (call,) = messages[2].tool_calls
    (result,) = messages[3].tool_results
    assert (call["tool_name"], call["tool_input"]) == ("add", {"a": 1, "b": 2})
    assert (result["tool_name"], result["tool_output"]) == ("add", "3")


@pytest.mark.parametrize(
    ("type", "data", "provider"),
    [
        ("message_sent", {"role": "user", "content": "hi"}, "anthropic"),
        ("message_sent", {"role": "user", "content": "hi"}, "openai-agents"),
        ("run_started", {}, "openai-agents"),
    ],
)
def test_what_others_said_is_no_item(type: str, data: Any, provider: str) -> None:
    event = Event("s", 1, 0, type, None, data, {"provider": provider})

    assert item_of_event(event) is None
    assert item_of_event(attrs.evolve(event, metadata=None)) is None
