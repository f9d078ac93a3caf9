"""From what Claude Code says (lines of stream-json, parsed) to our events. Pure.

Claude Code tells a message of the model twice: in partial messages as it is streamed, and block by
block when each block is whole. Text that streams becomes ``message_streamed``; the blocks of one
message are collected by ``messages.MessageReader`` into one ``message_received``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..provider.provider_times import time_ns_of

PROVIDER = "claude"
TOOL_SERVER = "moorage"
"""Name of the in-process server that offers our own tools."""
TOOL_PREFIX = f"mcp__{TOOL_SERVER}__"
"""What Claude Code puts in front of the names of our own tools."""

EVENT_TABLE: Mapping[str, tuple[str, ...]] = {
    "assistant": ("message_received", "tool_call_started"),
    "assistant.error": ("error_occurred",),
    "user.tool_result": ("tool_call_completed", "tool_call_failed"),
    "user": ("provider_event",),
    "stream_event.text_delta": ("message_streamed",),
    "stream_event.thinking_delta": ("message_streamed",),
    "stream_event.message_delta": ("token_usage_updated",),
    "stream_event.message_stop": ("message_received", "tool_call_started"),
    "stream_event": (),
    "command_lifecycle.started": ("message_sent",),
    "command_lifecycle": (),
    "control_request.can_use_tool": (
        "tool_approval_requested",
        "tool_approval_granted",
        "tool_approval_denied",
    ),
    "system.api_retry": ("error_occurred", "error_recovered"),
    "system.session_state_changed": (),
    "system.thinking_tokens": (),
    "system": ("provider_event",),
    "rate_limit_event": ("provider_event",),
    "result": ("token_usage_updated", "turn_completed"),
    "transcript_mirror": ("claude_transcript",),
    "*": ("provider_event",),
}
"""What Claude Code says, from the special to the general -> the types of the events it becomes.

Where it is (), the same is told by another message that is mapped. "*" is everything else.
"""

Mapped = tuple[str, dict[str, Any], dict[str, Any]]
"""(type, data, metadata) of an event."""

_USAGE = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
}
_MODEL_USAGE = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadInputTokens": "cache_read_tokens",
    "cacheCreationInputTokens": "cache_write_tokens",
    "costUSD": "cost_usd",
}


def kind_of(message: Mapping[str, Any]) -> str:
    """The key of EVENT_TABLE that a message falls under."""
    kind = str(message.get("type"))
    for special in _specials(kind, message):
        if special in EVENT_TABLE:
            return special
    return kind if kind in EVENT_TABLE else "*"


def _specials(kind: str, message: Mapping[str, Any]) -> list[str]:
    if kind == "assistant":
        return ["assistant.error"] if message.get("error") else []
    if kind == "user":
        return ["user.tool_result"] if tool_results(message) else []
    if kind == "stream_event":
        event = mapping_at(message, "event")
        return [f"{kind}.{mapping_at(event, 'delta').get('type')}", f"{kind}.{event.get('type')}"]
    detail = message.get("subtype") or message.get("state")
    return [f"{kind}.{detail}"] if isinstance(detail, str) else []


def metadata_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of the events that come from ``message``."""
    metadata: dict[str, Any] = {"provider": PROVIDER}
    if isinstance(session := message.get("session_id"), str):
        metadata["provider_session"] = session
    if isinstance(parent := message.get("parent_tool_use_id"), str):
        metadata["parent_tool_call_id"] = parent
    if (time_ns := time_ns_of(message.get("timestamp"))) is not None:
        metadata["provider_time_ns"] = time_ns
    return metadata


def mapping_at(value: object, key: str) -> Mapping[str, Any]:
    """``value[key]`` where both are maps, else an empty one: what a provider says may lack it."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def content_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of an assistant's or a user's message; a text is one block."""
    content = mapping_at(message, "message").get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return []
    return [block for block in content if isinstance(block, dict)]


def tool_results(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tool_result blocks of a user message, which name the call that they answer."""
    return [
        block
        for block in content_of(message)
        if block.get("type") == "tool_result" and isinstance(block.get("tool_use_id"), str)
    ]


def own_name(tool_name: str) -> str:
    """A tool's name as its owner knows it: Claude Code puts a prefix in front of ours."""
    return tool_name.removeprefix(TOOL_PREFIX)


def block_of(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """Our block for one of Claude's content blocks, None if we have no word for it."""
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": str(block.get("text", ""))}
    if kind == "thinking":
        return {"type": "thinking", "text": str(block.get("thinking", ""))}
    if kind == "tool_use":
        return {"type": "tool_call", **tool_call(block)}
    return None


def tool_call(block: Mapping[str, Any]) -> dict[str, Any]:
    """tool_call_id, tool_name and tool_input of a tool_use block."""
    return {
        "tool_call_id": str(block.get("id")),
        "tool_name": own_name(str(block.get("name"))),
        "tool_input": block.get("input"),
    }


def received(
    parts: Sequence[Mapping[str, Any]],
    *,
    model: str | None = None,
    stop_reason: str | None = None,
    message_id: str | None = None,
) -> dict[str, Any]:
    """Data of ``message_received`` for the content blocks of one message."""
    blocks = [block for block in map(block_of, parts) if block is not None]
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = [tool_call(part) for part in parts if part.get("type") == "tool_use"]
    data: dict[str, Any] = {"content": text}
    if any(part.get("type") != "text" for part in parts):
        data["blocks"] = blocks
        data["original"] = {"provider": PROVIDER, "content": [dict(part) for part in parts]}
    if calls:
        data["tool_calls"] = calls
    facts = {"model": model, "stop_reason": stop_reason, "message_id": message_id}
    return data | {name: value for name, value in facts.items() if value is not None}


def tool_output(content: object) -> Any:
    """What a tool returned: text if that is all there is, else Claude's own blocks."""
    if not isinstance(content, list):
        return "" if content is None else content
    texts = [
        block.get("text")
        for block in content
        if isinstance(block, dict) and block.get("type") == "text"
    ]
    if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
        return "\n".join(str(text) for text in texts)
    return content


def usage_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of one message of the model, in our words; what is 0 is left out."""
    return {
        ours: usage[theirs]
        for theirs, ours in _USAGE.items()
        if type(usage.get(theirs)) is int and usage[theirs]
    }


def total_usage(models: object) -> dict[str, float]:
    """Tokens and cost of all models together, from ``modelUsage`` as it is told so far."""
    total: dict[str, float] = {}
    for usage in models.values() if isinstance(models, Mapping) else ():
        for theirs, ours in _MODEL_USAGE.items():
            value = usage.get(theirs) if isinstance(usage, Mapping) else None
            if isinstance(value, int | float):
                total[ours] = total.get(ours, 0) + value
    return total


def increment(total: Mapping[str, float], *earlier: Mapping[str, float]) -> dict[str, float]:
    """What of ``total`` none of ``earlier`` has told; what is not above 0 is left out."""
    rest = {
        name: value - sum(part.get(name, 0) for part in earlier) for name, value in total.items()
    }
    # a sum of floats may be off by its last bits, and nobody is charged those
    return {name: value for name, value in rest.items() if value > 1e-9}


def provider_event(message: object, metadata: dict[str, Any]) -> Mapped:
    """What has no counterpart, whole."""
    return "provider_event", {"provider": PROVIDER, "original": message}, metadata
