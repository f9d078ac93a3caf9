"""What Codex's app server asks of us within a turn, and how it wants the answers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..provider.approvals import ToolCall

if TYPE_CHECKING:
    from ..provider.tool_decisions import ToolEffect

Params = Mapping[str, Any]
Calls = Mapping[str, Mapping[str, Any]]
"""Data of tool_call_started, by id."""

READS = frozenset({"read", "listFiles", "search"})
"""Kinds of Codex's commandActions that change nothing."""


@attrs.frozen
class Answer:
    """How a request is answered: ``call`` says which call it is about, from its params and the
    calls that were started, or None if nobody is to be asked and the answer is no. ``response`` is
    the result for the server."""

    call: Callable[[Params, Calls], ToolCall | None]
    response: Callable[[Params, bool], dict[str, Any]]


def _command(params: Params, calls: Calls) -> ToolCall:
    asked = {"command": params.get("command"), "cwd": params.get("cwd")}
    return _item(params, calls, "command_execution", asked)


def _file_change(params: Params, calls: Calls) -> ToolCall:
    return _item(params, calls, "file_change", {"reason": params.get("reason")})


def _permissions(params: Params, calls: Calls) -> ToolCall:
    asked = {name: params.get(name) for name in ("permissions", "reason")}
    return ToolCall(str(params.get("itemId")), "request_permissions", asked)


def _elicitation(params: Params, calls: Calls) -> ToolCall | None:
    """Codex asks whether a tool of an MCP server may be called by way of an elicitation, which
    names the server and the input; what servers themselves want to know, nobody can answer."""
    about = params.get("_meta")
    about = about if isinstance(about, Mapping) else {}
    if about.get("codex_approval_kind") != "mcp_tool_call":
        return None
    prefix = f"mcp__{params.get('serverName')}__"
    for id, call in reversed(list(calls.items())):
        if call["tool_name"].startswith(prefix) and call["tool_input"] == about.get("tool_params"):
            return ToolCall(id, call["tool_name"], call["tool_input"])
    return ToolCall(str(params.get("turnId")), prefix, about.get("tool_params"))


def _nobody(params: Params, calls: Calls) -> None:
    return None


def _item(params: Params, calls: Calls, name: str, asked: dict[str, Any]) -> ToolCall:
    id = str(params.get("itemId"))
    return ToolCall(id, name, calls[id]["tool_input"] if id in calls else asked)


def _decided(params: Params, approved: bool) -> dict[str, Any]:
    return {"decision": "accept" if approved else "decline"}


def _granted(params: Params, approved: bool) -> dict[str, Any]:
    return {"permissions": params.get("permissions") if approved else {}, "scope": "turn"}


def _elicited(params: Params, approved: bool) -> dict[str, Any]:
    content: dict[str, Any] | None = {} if approved else None
    return {"action": "accept" if approved else "decline", "content": content, "_meta": None}


def _unanswered(params: Params, approved: bool) -> dict[str, Any]:
    return {"answers": {}}


ANSWERS: Mapping[str, Answer] = {
    "item/commandExecution/requestApproval": Answer(_command, _decided),
    "item/fileChange/requestApproval": Answer(_file_change, _decided),
    "item/permissions/requestApproval": Answer(_permissions, _granted),
    "mcpServer/elicitation/request": Answer(_elicitation, _elicited),
    "item/tool/requestUserInput": Answer(_nobody, _unanswered),
}
"""Method -> how it is answered. Others are refused."""


def effect_of(actions: Mapping[str, Any]) -> Callable[[ToolCall], ToolEffect]:
    """What a call does, told by its name and by the commandActions of its item, by call id."""

    def effect(call: ToolCall) -> ToolEffect:
        if call.tool_name == "file_change":
            return "edits"
        known = actions.get(call.tool_call_id)
        kinds = [action.get("type") for action in known or () if isinstance(action, Mapping)]
        if call.tool_name == "command_execution" and kinds and READS.issuperset(kinds):
            return "reads"
        return "other"

    return effect
