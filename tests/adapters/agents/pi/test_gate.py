from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from moorage.adapters.agents.pi.gate import (
    GATE_FILE,
    TITLE,
    answer,
    dismissal,
    gate_environment,
    question_of,
)

ROOT = Path(__file__).parents[4]
ASKED = {
    "about": "call",
    "toolCallId": "c1",
    "toolName": "bash",
    "input": {"command": "ls"},
}


def dialog(asked: object, **fields: Any) -> dict[str, Any]:
    return {
        "type": "extension_ui_request",
        "id": "d1",
        "method": "input",
        "title": TITLE,
        "placeholder": json.dumps(asked),
        **fields,
    }


def test_a_dialog_of_the_gate_is_a_question() -> None:
    question = question_of(dialog(ASKED))

    assert question is not None
    assert (question.dialog_id, question.about, question.tool_call_id) == ("d1", "call", "c1")
    assert (question.tool_name, question.tool_input) == ("bash", {"command": "ls"})


@pytest.mark.parametrize(
    "message",
    [
        {"type": "agent_start"},
        dialog(ASKED, title="Allow?"),
        dialog({"about": "call"}),
        dialog(ASKED, placeholder="{"),
        dialog(ASKED, placeholder=None),
    ],
)
def test_anything_else_is_none(message: dict[str, Any]) -> None:
    assert question_of(message) is None


def test_the_answer_goes_to_the_dialog_that_asked() -> None:
    question = question_of(dialog(ASKED))
    assert question is not None

    told = answer(question, {"allow": False, "reason": "no"})

    assert told["id"] == "d1"
    assert json.loads(told["value"]) == {"allow": False, "reason": "no"}


def test_dialogs_of_other_extensions_are_dismissed_and_notices_are_not_answered() -> None:
    assert dismissal({"type": "extension_ui_request", "id": "x", "method": "confirm"}) == {
        "type": "extension_ui_response",
        "id": "x",
        "cancelled": True,
    }
    assert dismissal({"type": "extension_ui_request", "id": "x", "method": "notify"}) is None
    assert dismissal({"type": "agent_start"}) is None


def test_the_file_comes_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]

    assert TITLE in Path(GATE_FILE).read_text()
    assert project["package-data"]["moorage.adapters.agents.pi"] == [os.path.basename(GATE_FILE)]


def test_the_gate_is_told_by_variables() -> None:
    assert gate_environment(turns_max=3, asks_results=True) == {
        "MOORAGE_PI_TURNS_MAX": "3",
        "MOORAGE_PI_ASK_RESULTS": "1",
    }
    assert set(gate_environment(turns_max=None, asks_results=False).values()) == {None}


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_tool_runs_only_if_the_gate_was_answered_yes(tmp_path: Path) -> None:
    driver = """
import gate from %r;
const handlers = {};
gate({ on: (name, handler) => { handlers[name] = handler; } });
const results = [];
for (const value of [undefined, '{"allow":true}', '{"allow":false,"reason":"no"}', '{}',
                     '{"allow":true,"input":{"b":2}}']) {
  const event = { toolCallId: "c", toolName: "t", input: { a: 1 } };
  const result = await handlers.tool_call(event, { ui: { input: async () => value } });
  results.push([result ?? null, event.input]);
}
console.log(JSON.stringify(results));
"""
    module = tmp_path / "gate.mjs"
    shutil.copy(GATE_FILE, module)
    run = subprocess.run(
        ["node", "--input-type=module", "-e", driver % f"file://{module}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert json.loads(run.stdout) == [
        [{"block": True, "reason": "not allowed"}, {"a": 1}],
        [None, {"a": 1}],
        [{"block": True, "reason": "no"}, {"a": 1}],
        [{"block": True, "reason": "not allowed"}, {"a": 1}],
        [None, {"b": 2}],
    ]
