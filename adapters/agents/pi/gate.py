"""The gate: an extension that pi loads, through which its tools ask us.

pi asks nobody before it runs a tool, but extensions may stop a call, change its input and replace
its result, and in RPC mode their dialogs come to whoever started pi. So the gate asks by a dialog
of the kind ``input``: the question is JSON in its placeholder, the answer JSON in its value.
Without an answer that can be read nothing runs. It also ends a run after ``turns_max`` turns,
before the model is asked again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import attrs

TITLE = "moorage-gate"
"""The title of the gate's dialogs, by which they are told from those of other extensions."""

TURNS_VARIABLE = "MOORAGE_PI_TURNS_MAX"
RESULTS_VARIABLE = "MOORAGE_PI_ASK_RESULTS"

GATE_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gate.js")
"""The extension. It lies here, so that no run writes one and none is left behind by a crash."""


@attrs.frozen
class Question:
    """What the gate asks: whether a call may run (``about`` "call"), or what is to become of its
    result ("result", with ``output`` and ``is_error``). ``dialog_id`` goes into the answer."""

    dialog_id: str
    about: str
    tool_call_id: str
    tool_name: str
    tool_input: Mapping[str, Any]
    content: object = None
    is_error: bool = False


def gate_environment(*, turns_max: int | None, asks_results: bool) -> dict[str, str | None]:
    """The variables that tell the gate what to do."""
    return {
        TURNS_VARIABLE: None if turns_max is None else str(turns_max),
        RESULTS_VARIABLE: "1" if asks_results else None,
    }


def question_of(message: Mapping[str, Any]) -> Question | None:
    """The question of the gate that a message of pi is, or None if it is none."""
    if message.get("type") != "extension_ui_request" or message.get("title") != TITLE:
        return None
    try:
        asked = json.loads(message["placeholder"])
        return Question(
            dialog_id=message["id"],
            about=asked["about"],
            tool_call_id=asked["toolCallId"],
            tool_name=asked["toolName"],
            tool_input=asked["input"],
            content=asked.get("content"),
            is_error=asked.get("isError") is True,
        )
    except (KeyError, TypeError, ValueError):
        return None


def answer(question: Question, value: Mapping[str, Any]) -> dict[str, Any]:
    """The command that answers a question: ``{"allow": True, "input"?: {...}}`` or ``{"allow":
    False, "reason": text}`` to a call, ``{"content"?: [...]}`` to a result."""
    return {
        "type": "extension_ui_response",
        "id": question.dialog_id,
        "value": json.dumps(value, ensure_ascii=False),
    }


def dismissal(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """The command that dismisses the dialog of some other extension, which would wait for ever;
    None for what is no dialog."""
    if message.get("type") != "extension_ui_request":
        return None
    if message.get("method") not in ("select", "confirm", "input", "editor"):
        return None
    return {"type": "extension_ui_response", "id": message.get("id"), "cancelled": True}
