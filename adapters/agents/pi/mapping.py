"""What pi says in RPC mode, as our events. Pure: no program, no clock, no context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..provider.failure_texts import failure_of_text

PROVIDER = "pi"

Emitted = tuple[str, dict[str, Any], dict[str, Any]]
"""(type, data, metadata) of an event to emit."""

EVENT_TABLE: Mapping[str, tuple[str, ...]] = {
    "message_update text_delta": ("message_streamed",),
    "message_update thinking_delta": ("message_streamed",),
    "message_update": (),  # parts of what message_end has whole
    "message_start": (),
    "message_end user": ("message_sent",),
    "message_end assistant": ("message_received", "token_usage_updated"),
    "message_end toolResult": (),  # tool_execution_end has said it
    "message_end": ("provider_event",),
    "tool_execution_start": ("tool_call_started",),
    "tool_execution_update": ("provider_event",),
    "tool_execution_end": ("tool_call_completed", "tool_call_failed"),
    "turn_end": (),  # repeats the messages of the turn
    "agent_end": ("turn_completed",),
    "auto_retry_start": ("error_occurred",),
    "auto_retry_end": ("error_recovered",),
    "extension_error": ("error_occurred",),
    "extension_ui_request approval": (
        "tool_approval_requested",
        "tool_approval_granted",
        "tool_approval_denied",
    ),
    "response": (),  # to a command of ours
    "*": ("provider_event",),
}
"""Kind of what pi says -> types of our events. ``message_sent`` is emitted for a prompt by the
agent itself, and for a steer when pi tells that it went to the model; ``turn_completed`` once pi
has nothing left to do."""


def kind_of(message: Mapping[str, Any]) -> str:
    """The key of EVENT_TABLE that ``message`` falls under."""
    kind = str(message.get("type"))
    if kind == "message_update":
        kind = f"{kind} {_map(message.get('assistantMessageEvent')).get('type')}"
        return kind if kind in EVENT_TABLE else "message_update"
    if kind == "message_end":
        kind = f"{kind} {_map(message.get('message')).get('role')}"
        return kind if kind in EVENT_TABLE else "message_end"
    return kind if kind in EVENT_TABLE else "*"


def delta_of(message: Mapping[str, Any]) -> tuple[Literal["text", "thinking"], str] | None:
    """What the model said or thought next, or None if ``message`` is nothing of that kind."""
    if message.get("type") != "message_update":
        return None
    event = _map(message.get("assistantMessageEvent"))
    delta = event.get("delta")
    if not isinstance(delta, str):
        return None
    if event.get("type") == "text_delta":
        return "text", delta
    return ("thinking", delta) if event.get("type") == "thinking_delta" else None


def events_of(message: Mapping[str, Any]) -> list[Emitted]:
    """The events that ``message`` stands for, without those that need more than the message:
    deltas, approvals, prompts and the end."""
    kind = kind_of(message)
    if kind == "message_end assistant":
        return _assistant(_map(message.get("message")))
    if kind in _SIMPLE:
        type_, data = _SIMPLE[kind](message)
        return [(type_, data, {})] if type_ else []
    if "provider_event" in EVENT_TABLE[kind]:
        return [("provider_event", {"provider": PROVIDER, "original": dict(message)}, {})]
    return []


def text_of(content: object) -> str:
    """The text of a content that is a str or a list of blocks."""
    if isinstance(content, str):
        return content
    texts = (block.get("text") for block in _maps(content) if block.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


_FACTS = (("model", "model"), ("stop_reason", "stopReason"), ("message_id", "responseId"))


def _assistant(said: Mapping[str, Any]) -> list[Emitted]:
    content = _maps(said.get("content"))
    metadata = _when(said)
    data: dict[str, Any] = {"content": text_of(content)}
    blocks = [block for block in map(_block, content) if block is not None]
    if any(block["type"] != "text" for block in blocks):
        data["blocks"] = blocks
    if calls := [_without_type(b) for b in blocks if b["type"] == "tool_call"]:
        data["tool_calls"] = calls
    for name, key in (
        ("model", "model"),
        ("stop_reason", "stopReason"),
        ("message_id", "responseId"),
    ):
        if isinstance(said.get(key), str):
            data[name] = said[key]
    data["original"] = {"provider": PROVIDER, "content": list(content)}
    events: list[Emitted] = []
    # What failed on its way is no message: pi takes it out of the conversation and asks again.
    if content and said.get("stopReason") not in ("error", "aborted"):
        events.append(("message_received", data, metadata))
    if usage := usage_of(said.get("usage")):
        events.append(("token_usage_updated", usage, metadata))
    return events


def usage_of(usage: object) -> dict[str, Any]:
    """Data of token_usage_updated, or an empty map if nothing was used."""
    counts = _map(usage)
    names = {
        "input_tokens": "input",
        "output_tokens": "output",
        "cache_read_tokens": "cacheRead",
        "cache_write_tokens": "cacheWrite",
    }
    told: dict[str, Any] = {name: _count(counts.get(key)) for name, key in names.items()}
    if not any(told.values()):
        return {}
    cost = _map(counts.get("cost")).get("total")
    if isinstance(cost, int | float) and cost > 0:  # 0 stands for a model without a price
        told["cost_usd"] = cost
    return {name: n for name, n in told.items() if n or name in ("input_tokens", "output_tokens")}


def _tool_started(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "tool_call_started", {**_call(message), "tool_input": message.get("args")}


def _tool_ended(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    result = _map(message.get("result"))
    content = result.get("content")
    output: Any = text_of(content)
    if any(block.get("type") != "text" for block in _maps(content)):
        output = list(_maps(content))
    if message.get("isError") is True:
        error = {"code": "tool_failed", "message": text_of(content)}
        return "tool_call_failed", {**_call(message), "error": error}
    return "tool_call_completed", {**_call(message), "tool_output": output}


def _retry_started(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    failure = failure_of_text(PROVIDER, str(message.get("errorMessage")))
    told = {"message": f"pi tries again: {message.get('errorMessage')}", "retryable": True}
    return "error_occurred", {**failure.event(), **told}


def _retry_ended(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if message.get("success") is not True:
        return "", {}  # the run fails with what the model answered last
    return "error_recovered", {
        "code": "provider_retried",
        "message": f"attempt {message.get('attempt')} of pi worked",
    }


def _extension_failed(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    where = f"{message.get('extensionPath')}, {message.get('event')}"
    return "error_occurred", {
        "code": "extension_failed",
        "category": "protocol",
        "message": f"an extension of pi ({where}) raised: {message.get('error')}",
        "retryable": False,
    }


_SIMPLE = {
    "tool_execution_start": _tool_started,
    "tool_execution_end": _tool_ended,
    "auto_retry_start": _retry_started,
    "auto_retry_end": _retry_ended,
    "extension_error": _extension_failed,
}


def _block(block: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": str(block.get("text", ""))}
    if kind == "thinking":
        return {"type": "thinking", "text": str(block.get("thinking", ""))}
    if kind == "toolCall":
        return {
            "type": "tool_call",
            "tool_call_id": str(block.get("id")),
            "tool_name": str(block.get("name")),
            "tool_input": block.get("arguments"),
        }
    return None


def _without_type(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "type"}


def _call(message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tool_call_id": str(message.get("toolCallId")),
        "tool_name": str(message.get("toolName")),
    }


def _when(said: Mapping[str, Any]) -> dict[str, Any]:
    milliseconds = said.get("timestamp")
    if not isinstance(milliseconds, int | float):
        return {}
    return {"provider_time_ns": int(milliseconds * 1_000_000)}


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: object) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
