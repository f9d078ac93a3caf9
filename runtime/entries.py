"""Entries: what a transcript keeps of an event, in a shape that can be relied on.

Agents and hosts may emit anything under the types of the vocabulary. What can be read of it is
kept, what cannot is left out. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .messages import ROLES, readable_blocks, received_blocks, tool_result_block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .events import Data


@attrs.define
class Entry:
    """What is kept of one event, or of a stream of them from ``seq`` to ``last_seq``."""

    seq: int
    last_seq: int
    time_ns: int
    type: str
    run_id: str | None
    data: dict[str, Any]


def kept(type: str, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is kept of an event's data; None if nothing of it can be told."""
    return _KEPT[type](data)


def _sent(data: Mapping[str, Any]) -> dict[str, Any]:
    role = data.get("role")
    sent = {
        "role": role if role in ROLES else "user",
        "blocks": readable_blocks(data.get("content")),
    }
    return {**sent, "steer_id": data["steer_id"]} if "steer_id" in data else sent


def _received(data: Mapping[str, Any]) -> dict[str, Any]:
    original = data.get("original")
    return {
        "blocks": received_blocks(data),
        "original": original if type(original) is dict else None,
        "partial": data.get("partial") is True,
    }


def _call(data: Mapping[str, Any]) -> dict[str, Any] | None:
    if type(data.get("tool_call_id")) is not str:
        return None
    return {
        "tool_call_id": data["tool_call_id"],
        "tool_name": _text(data, "tool_name"),
        "tool_input": data.get("tool_input", {}),
    }


def _asked(data: Mapping[str, Any]) -> dict[str, Any] | None:
    call = _call(data)
    if call is None:
        return None
    return {**call, "request_id": _text(data, "request_id") or call["tool_call_id"]}


def _completed(data: Mapping[str, Any]) -> dict[str, Any] | None:
    if type(data.get("tool_call_id")) is not str:
        return None
    output = data.get("tool_output")
    return tool_result_block(data["tool_call_id"], _text(data, "tool_name"), output)


def _failed(data: Mapping[str, Any]) -> dict[str, Any] | None:
    block = _completed(data)
    if block is None:
        return None
    block["is_error"] = True
    error = data.get("error")
    if "tool_output" not in data and type(error) is dict:
        block["tool_output"] = _text(error, "message") or _text(error, "code")
    return block


def _compacted(data: Mapping[str, Any]) -> dict[str, Any] | None:
    first = data.get("first_kept_seq")
    if type(data.get("summary")) is not str or type(first) is not int:
        return None
    return {"summary": data["summary"], "first_kept_seq": first}


def _restored(data: Mapping[str, Any]) -> dict[str, Any] | None:
    summary = _text(data, "summary")
    return {"summary": summary} if summary else None


def _configured(data: Mapping[str, Any]) -> dict[str, Any]:
    return dict(data)


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if type(value) is str else ""


def output_blocks(output: Data) -> list[dict[str, Any]]:
    """What a run's output says: it is a str, or a map with content or text."""
    if type(output) is dict:
        output = output["content"] if "content" in output else output.get("text")
    return readable_blocks(output)


_KEPT: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any] | None]] = {
    "message_sent": _sent,
    "message_received": _received,
    "tool_call_started": _call,
    "tool_call_completed": _completed,
    "tool_call_failed": _failed,
    "tool_approval_requested": _asked,
    "tool_approval_granted": _call,
    "tool_approval_denied": _call,
    "context_compacted": _compacted,
    "session_restored": _restored,
    "conversation_configured": _configured,
}
