"""What Amp says in its streaming JSON, as our events. Pure: no program, no clock.

The format is that of Amp's manual: one object per line, shaped as Claude Code's. It has whole
messages and no deltas, so the text of a message is streamed in one piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..provider.failure_texts import failure_of_text
from ..provider.failures import AgentFailure, TurnsExceeded

PROVIDER = "amp"

Emitted = tuple[str, dict[str, Any], dict[str, Any]]
"""(type, data, metadata) of an event to emit; ``delta`` and ``thinking`` have {"text"} for the
stream."""

EVENT_TABLE: Mapping[str, tuple[str, ...]] = {
    "assistant": (
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "tool_call_started",
    ),
    "user": ("message_sent", "tool_call_completed", "tool_call_failed"),
    "result": ("turn_completed",),
    "permission": (
        "tool_approval_requested",
        "tool_approval_granted",
        "tool_approval_denied",
    ),
    "system": ("provider_event",),
    "*": ("provider_event",),
}
"""Kind of what Amp says -> types of our events. ``message_sent`` is emitted for a prompt by the
agent itself, and for a steer when Amp repeats it; "permission" is what its delegate is asked."""


def events_of(message: Mapping[str, Any]) -> list[Emitted]:
    """The events that ``message`` stands for, without those that need more than the message:
    approvals, prompts and the end."""
    kind = message.get("type")
    if kind == "assistant":
        return _assistant(message)
    if kind == "user":
        return _results(message)
    if kind == "result":
        return []
    return [("provider_event", {"provider": PROVIDER, "original": dict(message)}, {})]


def is_last(message: Mapping[str, Any]) -> bool:
    """Whether the assistant has said its last word of a turn. With streaming input Amp need not
    say ``result``, so the reason to stop tells."""
    if message.get("type") == "result":
        return True
    if message.get("type") != "assistant" or message.get("parent_tool_use_id") is not None:
        return False
    return _map(message.get("message")).get("stop_reason") not in (None, "tool_use")


def said_by_user(message: Mapping[str, Any]) -> str:
    """The text of a message of the user, or an empty one."""
    if message.get("type") != "user" or message.get("parent_tool_use_id") is not None:
        return ""
    content = _map(message.get("message")).get("content")
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", "")) for block in _maps(content, "text"))


def failure_of_result(message: Mapping[str, Any]) -> AgentFailure | None:
    """The failure that a ``result`` is, or None for a success."""
    if message.get("type") != "result" or message.get("is_error") is not True:
        return None
    text = str(message.get("error") or message.get("result") or message.get("subtype"))
    if message.get("subtype") == "error_max_turns":
        return TurnsExceeded(f"amp: {text}", provider=PROVIDER)
    return failure_of_text(PROVIDER, text)


def session_of(message: Mapping[str, Any]) -> str | None:
    """The thread that the message belongs to."""
    thread = message.get("session_id")
    return thread if isinstance(thread, str) and thread else None


def _assistant(message: Mapping[str, Any]) -> list[Emitted]:
    said = _map(message.get("message"))
    content = said.get("content")
    metadata = _parent(message)
    blocks = [block for block in map(_block, _maps(content)) if block is not None]
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    data: dict[str, Any] = {"content": text}
    if any(block["type"] != "text" for block in blocks):
        data["blocks"] = blocks
    calls = [_without_type(block) for block in blocks if block["type"] == "tool_call"]
    if calls:
        data["tool_calls"] = calls
    for name, key in (("model", "model"), ("stop_reason", "stop_reason"), ("message_id", "id")):
        if isinstance(said.get(key), str):
            data[name] = said[key]
    data["original"] = {"provider": PROVIDER, "content": list(_maps(content))}
    events: list[Emitted] = []
    if not metadata:  # what a sub-agent says is not the answer that is streamed
        for block in blocks:
            if block["type"] in ("text", "thinking"):
                kind = "delta" if block["type"] == "text" else "thinking"
                events.append((kind, {"text": block["text"]}, {}))
    events.append(("message_received", data, metadata))
    if usage := usage_of(said.get("usage")):
        events.append(("token_usage_updated", usage, metadata))
    return [*events, *(("tool_call_started", call, metadata) for call in calls)]


def usage_of(usage: object) -> dict[str, Any]:
    """Data of token_usage_updated, or an empty map if nothing was used. Amp tells no cost."""
    counts = _map(usage)
    names = {
        "input_tokens": "input_tokens",
        "output_tokens": "output_tokens",
        "cache_read_tokens": "cache_read_input_tokens",
        "cache_write_tokens": "cache_creation_input_tokens",
    }
    told = {name: counts.get(key) for name, key in names.items()}
    known = {name: n for name, n in told.items() if type(n) is int and n > 0}
    return {"input_tokens": 0, "output_tokens": 0, **known} if known else {}


def _results(message: Mapping[str, Any]) -> list[Emitted]:
    metadata = _parent(message)
    events: list[Emitted] = []
    for block in _maps(_map(message.get("message")).get("content"), "tool_result"):
        call: dict[str, Any] = {"tool_call_id": str(block.get("tool_use_id")), "tool_name": ""}
        output = _output(block.get("content"))
        if block.get("is_error") is True:
            error = {"code": "tool_failed", "message": str(output)}
            events.append(("tool_call_failed", {**call, "error": error}, metadata))
        else:
            data = {**call, "tool_output": output}
            events.append(("tool_call_completed", data, metadata))
    return events


def _output(content: object) -> Any:
    texts = [block.get("text") for block in _maps(content)]
    if texts and all(isinstance(text, str) for text in texts):
        return "\n".join(str(text) for text in texts)
    return content


def _block(block: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": str(block.get("text", ""))}
    if kind == "thinking":
        return {"type": "thinking", "text": str(block.get("thinking", ""))}
    if kind == "tool_use":
        return {
            "type": "tool_call",
            "tool_call_id": str(block.get("id")),
            "tool_name": str(block.get("name")),
            "tool_input": block.get("input"),
        }
    return None


def _without_type(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "type"}


def _parent(message: Mapping[str, Any]) -> dict[str, Any]:
    parent = message.get("parent_tool_use_id")
    return {"parent_tool_call_id": parent} if isinstance(parent, str) else {}


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: object, kind: str | None = None) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list):
        return []
    maps = [item for item in value if isinstance(item, Mapping)]
    return maps if kind is None else [item for item in maps if item.get("type") == kind]
