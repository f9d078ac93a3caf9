from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moorage.adapters.agents.copilot.permission_requests import (
    asked_call,
    effect_of,
    permission_result,
    request_effect,
)
from moorage.adapters.agents.provider.approvals import Decision, ToolCall

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = {"c": {"tool_call_id": "c", "tool_name": "bash", "tool_input": {"command": "ls"}}}


@pytest.mark.parametrize(
    ("request_", "call"),
    [
        ({"kind": "shell", "toolCallId": "c"}, ToolCall("c", "bash", {"command": "ls"})),
        (
            {"kind": "write", "toolCallId": "d", "fileName": "/a", "diff": "long"},
            ToolCall("d", "write", {"fileName": "/a"}),
        ),
        ({"kind": "url", "url": "http://x"}, ToolCall("url", "url", {"url": "http://x"})),
    ],
)
def test_a_request_is_about_a_call(request_: Any, call: ToolCall) -> None:
    assert asked_call(request_, KNOWN) == call


@pytest.mark.parametrize(
    ("request_", "effect"),
    [
        ({"kind": "read", "path": "a.txt"}, "reads"),
        ({"kind": "read", "path": "."}, "reads"),
        ({"kind": "read", "path": "../a.txt"}, "other"),
        ({"kind": "read", "path": "/etc/passwd"}, "other"),
        ({"kind": "read", "path": "link/a.txt"}, "other"),
        ({"kind": "read"}, "other"),
        ({"kind": "write", "fileName": "deep/new.txt"}, "edits"),
        ({"kind": "write", "fileName": "../workspace/a.txt"}, "other"),
        ({"kind": "shell", "fullCommandText": "ls"}, "other"),
        ({}, "other"),
    ],
)
def test_what_a_request_does_is_told_by_its_kind_and_its_path(
    tmp_path: Path, request_: Any, effect: str
) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "link").symlink_to(tmp_path)

    assert request_effect(request_, str(directory)) == effect


def test_a_call_does_what_was_asked_about_it() -> None:
    effect = effect_of({"c": "edits"})

    assert [effect(ToolCall(id, "bash", {})) for id in "cd"] == ["edits", "other"]


def test_yes_and_no_are_said_in_copilots_words() -> None:
    assert permission_result(Decision(True)) == {"kind": "approve-once"}
    assert permission_result(Decision(False, "no")) == {"kind": "reject", "feedback": "no"}
    assert permission_result(Decision(False))["feedback"] == "it was denied"
