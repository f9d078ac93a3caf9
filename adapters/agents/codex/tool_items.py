"""Codex's items that are calls of tools: what was called, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Item = Mapping[str, Any]

TOOL_ITEMS: Mapping[str, str | None] = {
    "commandExecution": "command_execution",
    "fileChange": "file_change",
    "mcpToolCall": None,
    "dynamicToolCall": None,
    "collabAgentToolCall": None,
    "webSearch": "web_search",
}
"""Type of an item -> the name of the tool, or None where the item has the name."""

_FAILED: Mapping[str, tuple[str, str]] = {
    "declined": ("denied", "it was not approved"),
    "failed": ("failed", "it failed"),
}
"""Status of an item -> code and message of the error, where it tells nothing better."""


def started_call(item: Item) -> dict[str, Any]:
    """Data of tool_call_started."""
    kind = str(item.get("type"))
    return {
        "tool_call_id": str(item.get("id")),
        "tool_name": _name(item, kind),
        "tool_input": _INPUTS[kind](item),
    }


def tool_result(item: Item) -> tuple[str, dict[str, Any]]:
    """Type and data of the event that the call's end is."""
    kind = str(item.get("type"))
    data: dict[str, Any] = {
        "tool_call_id": str(item.get("id")),
        "tool_name": _name(item, kind),
    }
    status = str(item.get("status", "completed"))
    error = item.get("error")
    if status in _FAILED or isinstance(error, Mapping) or item.get("success") is False:
        return "tool_call_failed", {**data, "error": _error(item, kind, status)}
    data["tool_output"] = _OUTPUTS[kind](item)
    milliseconds = item.get("durationMs")
    if isinstance(milliseconds, int | float):
        data["duration_seconds"] = milliseconds / 1000
    return "tool_call_completed", data


def _name(item: Item, kind: str) -> str:
    fixed = TOOL_ITEMS[kind]
    if fixed is not None:
        return fixed
    tool = str(item.get("tool"))
    if kind == "mcpToolCall":
        return f"mcp__{item.get('server')}__{tool}"
    return tool


def _error(item: Item, kind: str, status: str) -> dict[str, Any]:
    code, message = _FAILED.get(status, _FAILED["failed"])
    error = item.get("error")
    if isinstance(error, Mapping) and isinstance(error.get("message"), str):
        message = error["message"]
    elif kind == "commandExecution" and type(item.get("exitCode")) is int:
        code = "exit_code"
        message = f"exit code {item['exitCode']}\n{item.get('aggregatedOutput') or ''}".rstrip()
    elif said := _texts(item.get("contentItems")) or _texts(item.get("result")):
        message = said
    return {"code": code, "message": message}


def _texts(content: object) -> str:
    """The texts of an MCP server's result, or of a tool's content."""
    if isinstance(content, Mapping):
        content = content.get("content")
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _changes(item: Item) -> list[dict[str, Any]]:
    changes = item.get("changes")
    if not isinstance(changes, list):
        return []
    return [dict(change) for change in changes if isinstance(change, Mapping)]


def _file_output(item: Item) -> dict[str, Any]:
    return {
        "changes": [
            {"path": change.get("path"), "kind": change.get("kind")} for change in _changes(item)
        ]
    }


def _collaboration(item: Item) -> dict[str, Any]:
    names = {"prompt": "prompt", "model": "model", "receiverThreadIds": "thread_ids"}
    return {ours: item[name] for name, ours in names.items() if item.get(name)}


_INPUTS: Mapping[str, Callable[[Item], Any]] = {
    "commandExecution": lambda item: {"command": item.get("command"), "cwd": item.get("cwd")},
    "fileChange": lambda item: {"changes": _changes(item)},
    "mcpToolCall": lambda item: item.get("arguments"),
    "dynamicToolCall": lambda item: item.get("arguments"),
    "collabAgentToolCall": _collaboration,
    "webSearch": lambda item: {"query": item.get("query")},
}
_OUTPUTS: Mapping[str, Callable[[Item], Any]] = {
    "commandExecution": lambda item: {
        "output": item.get("aggregatedOutput") or "",
        "exit_code": item.get("exitCode"),
    },
    "fileChange": _file_output,
    "mcpToolCall": lambda item: item.get("result"),
    "dynamicToolCall": lambda item: item.get("contentItems"),
    "collabAgentToolCall": lambda item: {"agents": item.get("agentsStates")},
    "webSearch": lambda item: {"action": item.get("action")},
}
