"""Agents of providers in a terminal, with a model that is played."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.agents.model_twin import ModelTwin, Text, ToolUse

from tests.adapters.agents.real_agents import require, require_program

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.adapters.gateways.chat.conftest import Chats


async def talk(chats: Chats, client: str, script: list[Any], person: Callable[..., None]) -> Any:
    """What the model was asked while a ``person``, in a thread, talked to a ``client`` of it."""
    async with ModelTwin(script).serving() as twin:
        environment = twin.configure(client, chats.directory / "settings")
        await trio.to_thread.run_sync(person, environment)
    return twin.requests


@pytest.mark.real_agent
async def test_a_model_remembers_what_was_said_before_a_kill(chats):
    require("anthropic")

    def person(environment: dict[str, str]) -> None:
        terminal = chats("--agent", "anthropic:claude-x", **environment)
        terminal.enter("my name is Ada")
        terminal.expect("Hello Ada\n(")
        terminal.process.kill()
        terminal.process.wait()
        again = chats("--continue", **environment)
        again.expect("> my name is Ada\nHello Ada\n")
        again.enter("/model claude-y")
        again.expect("(from now on with claude-y)")
        again.enter("who am I")
        again.expect("You are Ada\n(")
        again.enter("/quit")
        again.end()

    script = [Text("Hello Ada"), Text("You are Ada")]
    first, second = await talk(chats, "anthropic", script, person)

    assert [first.model, second.model] == ["claude-x", "claude-y"]
    said = [(message["role"], str(message["content"])) for message in second.body["messages"]]
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert "my name is Ada" in said[0][1]


TOOLS = {
    "claude": ToolUse("Bash", {"command": "touch made", "description": "make it"}),
    "codex": ToolUse("exec_command", {"cmd": "touch made"}),
    "copilot": ToolUse("bash", {"command": "touch made", "description": "make it"}),
    "pi": ToolUse("bash", {"command": "touch made"}),
}
NEEDS: dict[str, Callable[[], object]] = {
    "claude": lambda: require("claude_agent_sdk"),
    "codex": lambda: require("codex_cli_bin"),
    "copilot": lambda: require_program("copilot", variable="MOORAGE_COPILOT"),
    "pi": lambda: require_program("pi", variable="MOORAGE_PI"),
}


@pytest.mark.real_agent
@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("allowed", [True, False])
async def test_a_real_agent_asks_in_the_terminal_before_it_uses_a_tool(chats, name, allowed):
    NEEDS[name]()

    def person(environment: dict[str, str]) -> None:
        terminal = chats("--agent", name, **environment)
        terminal.enter("make it")
        terminal.expect("? may ")
        terminal.expect("touch made")
        terminal.expect("y, n, or why not: ")
        terminal.type("y\n" if allowed else "not today\n")
        terminal.expect("approved by chat" if allowed else "denied by chat: not today")
        terminal.expect("That was it\n(")
        terminal.enter("/quit")
        terminal.end()

    await talk(chats, name, [TOOLS[name], Text("That was it")], person)

    assert allowed == (chats.directory / "made").exists()
