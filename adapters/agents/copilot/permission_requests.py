"""What Copilot's server asks permission for, and how it wants the answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..provider.approvals import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..provider.approvals import Decision
    from ..provider.tool_decisions import ToolEffect

PATHS: Mapping[str, tuple[str, ToolEffect]] = {
    "read": ("path", "reads"),
    "write": ("fileName", "edits"),
}
"""Kind of a permissionRequest -> where its path is, and what it does within the directory that the
agent works in. Outside of that, and of all other kinds, it is "other"."""

_INPUT_KEYS = ("fullCommandText", "fileName", "path", "url", "args", "toolName", "serverName")


def asked_call(request: Mapping[str, Any], calls: Mapping[str, Mapping[str, Any]]) -> ToolCall:
    """The call that a permissionRequest is about; ``calls`` has those that were started, by id.

    One that is about no call, as one for access to an address can be, is named by its kind.
    """
    kind = str(request.get("kind"))
    call_id = str(request.get("toolCallId") or kind)
    known = calls.get(call_id)
    if known is not None:
        return ToolCall(call_id, known["tool_name"], known["tool_input"])
    asked = {key: request[key] for key in _INPUT_KEYS if request.get(key) is not None}
    return ToolCall(call_id, kind, asked)


def request_effect(request: Mapping[str, Any], directory: str) -> ToolEffect:
    """What a request wants to do; links are followed, so that none leads out unnoticed."""
    key, effect = PATHS.get(str(request.get("kind")), ("", "other"))
    path = request.get(key)
    if not isinstance(path, str):
        return "other"
    inside = os.path.realpath(directory)
    target = os.path.realpath(os.path.join(directory, path))
    return effect if os.path.commonpath([inside, target]) == inside else "other"


def effect_of(effects: Mapping[str, ToolEffect]) -> Callable[[ToolCall], ToolEffect]:
    """What a call does; ``effects`` has what was asked about it, by call id."""

    def effect(call: ToolCall) -> ToolEffect:
        return effects.get(call.tool_call_id, "other")

    return effect


def permission_result(decision: Decision) -> dict[str, Any]:
    """The result by which a request is answered; the reason of a denial goes to the model."""
    if decision.approved:
        return {"kind": "approve-once"}
    return {"kind": "reject", "feedback": decision.reason or "it was denied"}
