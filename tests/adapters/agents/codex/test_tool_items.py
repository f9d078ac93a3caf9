from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.codex.tool_items import TOOL_ITEMS, started_call, tool_result

COMMAND = {"type": "commandExecution", "id": "c", "command": "ls", "cwd": "/w"}
CHANGE = {"path": "/w/a", "kind": {"type": "add"}, "diff": "+a"}
FILES = {"type": "fileChange", "id": "f", "changes": [CHANGE, "nonsense"], "status": "completed"}
MCP = {"type": "mcpToolCall", "id": "m", "server": "git", "tool": "log", "arguments": {"n": 1}}


@pytest.mark.parametrize(
    ("item", "name", "tool_input"),
    [
        (COMMAND, "command_execution", {"command": "ls", "cwd": "/w"}),
        (FILES, "file_change", {"changes": [CHANGE]}),
        (MCP, "mcp__git__log", {"n": 1}),
        ({"type": "dynamicToolCall", "id": "d", "tool": "t", "arguments": [1]}, "t", [1]),
        (
            {"type": "collabAgentToolCall", "id": "a", "tool": "spawn", "prompt": "go"},
            "spawn",
            {"prompt": "go"},
        ),
        ({"type": "webSearch", "id": "w", "query": "q"}, "web_search", {"query": "q"}),
    ],
)
def test_a_call_has_a_name_and_an_input(item: Any, name: str, tool_input: Any) -> None:
    call = started_call(item)

    assert call == {"tool_call_id": item["id"], "tool_name": name, "tool_input": tool_input}


def test_every_kind_of_item_has_a_start_and_a_result() -> None:
    for kind in TOOL_ITEMS:
        item = {"type": kind, "id": "x"}

        assert started_call(item)["tool_call_id"] == "x"
        assert tool_result(item)[0] == "tool_call_completed"


@pytest.mark.parametrize(
    ("item", "output"),
    [
        (
            {**COMMAND, "status": "completed", "aggregatedOutput": "a", "exitCode": 0},
            {"output": "a", "exit_code": 0},
        ),
        (FILES, {"changes": [{"path": "/w/a", "kind": {"type": "add"}}]}),
        ({**MCP, "status": "completed", "result": {"content": []}}, {"content": []}),
    ],
)
def test_a_call_that_went_well_has_an_output(item: Any, output: Any) -> None:
    type, data = tool_result({**item, "durationMs": 1_500})

    assert (type, data["tool_output"]) == ("tool_call_completed", output)
    assert data["duration_seconds"] == 1.5


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (
            {**COMMAND, "status": "declined", "exitCode": None},
            {"code": "denied", "message": "it was not approved"},
        ),
        (
            {**COMMAND, "status": "failed", "exitCode": 2, "aggregatedOutput": "no\n"},
            {"code": "exit_code", "message": "exit code 2\nno"},
        ),
        (
            {**MCP, "status": "failed", "error": {"message": "no server"}},
            {"code": "failed", "message": "no server"},
        ),
        (
            {**MCP, "status": "failed", "result": {"content": [{"type": "text", "text": "no"}]}},
            {"code": "failed", "message": "no"},
        ),
        (
            {"type": "dynamicToolCall", "id": "d", "tool": "t", "success": False},
            {"code": "failed", "message": "it failed"},
        ),
        (
            {
                "type": "dynamicToolCall",
                "id": "d",
                "tool": "t",
                "success": False,
                "contentItems": [{"text": "why"}, {"text": "so"}, "nonsense"],
            },
            {"code": "failed", "message": "why\nso"},
        ),
    ],
)
def test_a_call_that_did_not_has_an_error(item: Any, error: Any) -> None:
    type, data = tool_result(item)

    assert (type, data["error"]) == ("tool_call_failed", error)
