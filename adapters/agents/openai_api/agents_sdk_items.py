"""Items of the OpenAI Agents SDK as our events, and back: pure.

Each item is in its event as it was given, so that the SDK gets back what it put in; around it the
event says the same in our words, so that a transcript tells it and other agents can go on from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moorage.runtime.events import NewEvent

from ..model_api.arguments import parsed_arguments

if TYPE_CHECKING:
    from moorage.runtime.events import Event

PROVIDER = "openai-agents"

METADATA = {"provider": PROVIDER}

ITEM_TYPES = frozenset(
    {"message_sent", "message_received", "tool_call_completed", "provider_event"}
)
"""Types of events that may hold an item."""


def event_of_item(item: Mapping[str, Any]) -> NewEvent:
    """The event that holds an item, which is plain data."""
    kind, role = item.get("type") or "message", item.get("role")
    data: dict[str, Any]
    original = {"provider": PROVIDER, "content": [dict(item)]}
    if kind == "message" and role == "assistant":
        data = {"content": _text(item.get("content")), "original": original}
        return NewEvent("message_received", data, METADATA)
    if kind == "message" and role in ("user", "system", "developer"):
        said = "system" if role == "developer" else role
        data = {"role": said, "content": _text(item.get("content")), "original": original}
        return NewEvent("message_sent", data, METADATA)
    if kind == "function_call":
        call = {
            "tool_call_id": str(item.get("call_id")),
            "tool_name": str(item.get("name")),
            "tool_input": parsed_arguments(str(item.get("arguments") or "")),
        }
        data = {"content": "", "tool_calls": [call], "original": original}
        return NewEvent("message_received", data, METADATA)
    if kind == "function_call_output":
        data = {
            "tool_call_id": str(item.get("call_id")),
            "tool_name": "",
            "tool_output": item.get("output"),
            "original": original,
        }
        return NewEvent("tool_call_completed", data, METADATA)
    return NewEvent("provider_event", {"provider": PROVIDER, "original": dict(item)}, METADATA)


def item_of_event(event: Event) -> dict[str, Any] | None:
    """The item that an event holds, or None if it holds none."""
    if event.type not in ITEM_TYPES or (event.metadata or {}).get("provider") != PROVIDER:
        return None
    original = event.data.get("original")
    if event.type == "provider_event" or not isinstance(original, dict):
        return original if isinstance(original, dict) else None
    (item,) = original["content"]
    return dict(item)


def _text(content: object) -> str:
    """What can be read of an item's content; pictures and files stay in the item alone."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part for part in content if isinstance(part, Mapping)]
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)
