from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.codex.server_requests import ANSWERS, effect_of
from moorage.adapters.agents.provider.approvals import ToolCall

COMMAND = "item/commandExecution/requestApproval"
FILES = "item/fileChange/requestApproval"
PERMISSIONS = "item/permissions/requestApproval"
ELICITATION = "mcpServer/elicitation/request"
PUSH = {"tool_name": "mcp__git__push", "tool_input": {"n": 1}}
CALLS = {
    "c": {"tool_name": "command_execution", "tool_input": {"command": "ls"}},
    "m1": PUSH,
    "m2": PUSH,
    "m3": {"tool_name": "mcp__git__push", "tool_input": {"n": 2}},
}


def approval(server: str, tool_input: Any) -> dict[str, Any]:
    about = {"codex_approval_kind": "mcp_tool_call", "tool_params": tool_input}
    return {"turnId": "t", "serverName": server, "_meta": about}


@pytest.mark.parametrize(
    ("method", "params", "call"),
    [
        (
            COMMAND,
            {"itemId": "i", "command": "ls", "cwd": "/w"},
            ToolCall("i", "command_execution", {"command": "ls", "cwd": "/w"}),
        ),
        (COMMAND, {"itemId": "c"}, ToolCall("c", "command_execution", {"command": "ls"})),
        (FILES, {"itemId": "i", "reason": "why"}, ToolCall("i", "file_change", {"reason": "why"})),
        (
            PERMISSIONS,
            {"itemId": "i", "permissions": {"network": True}, "reason": None},
            ToolCall(
                "i", "request_permissions", {"permissions": {"network": True}, "reason": None}
            ),
        ),
        (ELICITATION, approval("git", {"n": 1}), ToolCall("m2", "mcp__git__push", {"n": 1})),
        (ELICITATION, approval("git", {"n": 3}), ToolCall("t", "mcp__git__", {"n": 3})),
        (ELICITATION, approval("hub", {"n": 1}), ToolCall("t", "mcp__hub__", {"n": 1})),
        (ELICITATION, {"serverName": "git", "message": "Your name?"}, None),
        ("item/tool/requestUserInput", {"itemId": "c"}, None),
    ],
)
def test_a_request_is_about_a_call_or_for_nobody(
    method: str, params: Any, call: ToolCall | None
) -> None:
    assert ANSWERS[method].call(params, CALLS) == call


@pytest.mark.parametrize(
    ("method", "yes", "no"),
    [
        (COMMAND, {"decision": "accept"}, {"decision": "decline"}),
        (FILES, {"decision": "accept"}, {"decision": "decline"}),
        (
            PERMISSIONS,
            {"permissions": {"network": True}, "scope": "turn"},
            {"permissions": {}, "scope": "turn"},
        ),
        (
            ELICITATION,
            {"action": "accept", "content": {}, "_meta": None},
            {"action": "decline", "content": None, "_meta": None},
        ),
    ],
)
def test_yes_and_no_are_said_in_codex_words(method: str, yes: Any, no: Any) -> None:
    respond = ANSWERS[method].response
    params = {"permissions": {"network": True}}

    assert (respond(params, True), respond(params, False)) == (yes, no)


def test_a_question_to_people_is_answered_by_nobody() -> None:
    assert ANSWERS["item/tool/requestUserInput"].response({}, False) == {"answers": {}}


@pytest.mark.parametrize(
    ("name", "actions", "effect"),
    [
        ("file_change", None, "edits"),
        ("command_execution", [{"type": "read"}, {"type": "search"}], "reads"),
        ("command_execution", [{"type": "read"}, {"type": "unknown"}], "other"),
        ("command_execution", [], "other"),
        ("command_execution", None, "other"),
        ("web_search", [{"type": "read"}], "other"),
    ],
)
def test_what_a_call_does_is_told_by_its_actions(name: str, actions: Any, effect: str) -> None:
    assert effect_of({"i": actions})(ToolCall("i", name, {})) == effect
