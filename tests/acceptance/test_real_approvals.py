"""A real program that waits for an approval is killed with its service: its tool runs once.

The model is a ModelTwin. Services are processes, and the first one dies by SIGKILL.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from moorage.adapters.agents.copilot.executable import VARIABLE as COPILOT
from moorage.adapters.agents.model_twin import ModelTwin, Text, ToolUse

from tests.adapters.agents.killed_host import Host
from tests.adapters.agents.real_agents import require, require_program
from tests.adapters.agents.real_scenarios import Place

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real_agent

COMMAND = "echo ran >> executed"


def claude(twin: ModelTwin, place: Place) -> dict[str, Any]:
    require("claude_agent_sdk")
    configuration = {"CLAUDE_CONFIG_DIR": str(place.path / "claude")}
    environment = {**twin.environment("claude"), **configuration, **place.environment}
    return {"model": "claude-sonnet-4-5", "environment": environment}


def codex(twin: ModelTwin, place: Place) -> dict[str, Any]:
    require("codex_cli_bin")
    configuration = twin.configure("codex", place.path / "codex")
    return {"environment": {**configuration, **place.environment}}


def copilot(twin: ModelTwin, place: Place) -> dict[str, Any]:
    if not os.environ.get(COPILOT):
        require_program("copilot")
    # it unpacks itself there, which takes it longer than all the rest
    cache = {"XDG_CACHE_HOME": str(place.path / "cache")}
    configuration = twin.configure("copilot", place.path / "copilot")
    return {"environment": {**configuration, **cache, **place.environment}}


def pi(twin: ModelTwin, place: Place) -> dict[str, Any]:
    program = require_program("pi", variable="MOORAGE_PI")
    configuration = twin.configure("pi", place.path / "pi")
    return {
        "executable": program,
        "environment": {**configuration, **place.environment},
        "session_directory": str(place.path / "sessions"),
    }


def opencode(twin: ModelTwin, place: Place) -> dict[str, Any]:
    require("acp")
    program = require_program("opencode", variable="MOORAGE_OPENCODE")
    kinds = ("CONFIG", "STATE", "CACHE")
    folders = {f"XDG_{kind}_HOME": str(place.path / kind.lower()) for kind in kinds}
    configuration = twin.configure("opencode", place.path / "data")
    return {
        "command": [program, "acp"],
        "name": "opencode",
        "environment": {**configuration, **folders, **place.environment},
    }


@attrs.frozen
class Program:
    """``agent`` is its "module:class" below the agents, and ``call`` how a model calls its shell;
    ``arguments`` skips the test where it is not installed."""

    agent: str
    arguments: Callable[[ModelTwin, Place], dict[str, Any]]
    call: ToolUse


PROGRAMS = {
    "claude": Program(
        "claude_code.agent:ClaudeAgent", claude, ToolUse("Bash", {"command": COMMAND})
    ),
    "codex": Program("codex:CodexAgent", codex, ToolUse("exec_command", {"cmd": COMMAND})),
    "copilot": Program(
        "copilot:CopilotAgent",
        copilot,
        ToolUse("bash", {"command": COMMAND, "description": "leaves a mark"}),
    ),
    "pi": Program("pi.agent:PiAgent", pi, ToolUse("bash", {"command": COMMAND})),
    "opencode": Program(
        "acp.agent:AcpAgent",
        opencode,
        ToolUse("bash", {"command": COMMAND, "description": "leaves a mark"}),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_an_approval_behind_a_kill_executes_the_tool_once(name: str, tmp_path: Path) -> None:
    await kill_and_approve(PROGRAMS[name], Place(tmp_path), once_it_asks_again=True)


@pytest.mark.parametrize("name", ["claude", "codex"])
async def test_so_does_one_that_comes_before_the_program_asks_again(
    name: str, tmp_path: Path
) -> None:
    await kill_and_approve(PROGRAMS[name], Place(tmp_path), once_it_asks_again=False)


async def kill_and_approve(program: Program, place: Place, *, once_it_asks_again: bool) -> None:
    executed = place.work / "executed"
    async with ModelTwin([[program.call], [program.call], Text("It ran.")]).serving() as twin:
        arguments = {"working_directory": str(place.work), **program.arguments(twin, place)}
        made = (place.path, f"moorage.adapters.agents.{program.agent}", arguments)
        with Host(*made) as host:
            run_id = await host.do("submit", input="Run it.", on_interrupt="requeue")
            asked = {"run_id": run_id, "type": "tool_approval_requested"}
            first = await host.do("event", **asked)
            waiting = place.processes()
            host.kill()
        await place.wait_gone()
        ran_before = executed.exists()
        with Host(*made) as host:
            if once_it_asks_again:
                second = await host.do("event", **asked, count=2)
                assert second["tool_call_id"] != first["tool_call_id"]
                assert second["request_id"] == first["request_id"]
            answers = [await host.do("approve", request_id=first["request_id"]) for _ in range(2)]
            ended = await host.do("wait", run_id=run_id)
            late = await host.do("approve", request_id=first["request_id"])
            granted = await host.do("events", type="tool_approval_granted")

    last = twin.requests[-1]
    assert waiting
    assert not ran_before
    assert (answers, late) == ([True, False], False)
    assert ended["state"] == "completed"
    assert ended["output"]["content"] == "It ran."
    assert executed.read_text() == "ran\n"
    assert [event["request_id"] for event in granted] == [first["request_id"]]
    assert {call.id for call in last.tool_calls} == {result.id for result in last.tool_results}
