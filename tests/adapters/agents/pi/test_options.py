from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.pi.options import launch, tool_effect
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.runtime.errors import InvalidArgument


def arguments(**settings: Any) -> list[str]:
    command = launch("pi", AgentSettings(**settings), gate="/gate.js").command
    assert command[:5] == ("pi", "--mode", "rpc", "--extension", "/gate.js")
    return list(command[5:])


def test_settings_are_flags() -> None:
    given = arguments(model="twin/twin", system_prompt="Be brief.")

    assert given == ["--model", "twin/twin", "--system-prompt", "Be brief."]
    assert arguments() == []


def test_a_conversation_is_continued_by_its_file() -> None:
    made = launch(
        "pi",
        AgentSettings(),
        gate="g",
        instructions="And kind.",
        session_file="/s.jsonl",
        session_directory="/sessions",
    )

    assert made.command[5:] == (
        "--session",
        "/s.jsonl",
        "--session-dir",
        "/sessions",
        "--append-system-prompt",
        "And kind.",
    )


def test_plan_mode_offers_what_reads_alone() -> None:
    assert arguments(permission_mode="plan") == ["--tools", "read,grep,find,ls"]

    with pytest.raises(InvalidArgument, match="permission_mode 'plan' sets"):
        arguments(permission_mode="plan", provider_options={"tools": "bash"})


def test_provider_options_become_flags() -> None:
    options = {"thinking": "high", "no_tools": True, "verbose": False, "skill": ["a", "b"]}

    assert arguments(provider_options=options) == [
        "--thinking",
        "high",
        "--no-tools",
        "--skill",
        "a",
        "--skill",
        "b",
    ]


def test_some_are_commands() -> None:
    made = launch("pi", AgentSettings(provider_options={"auto_retry": False}), gate="g")

    assert made.commands == ({"type": "set_auto_retry", "enabled": False},)
    assert "auto" not in " ".join(made.command)


@pytest.mark.parametrize(
    "options",
    [
        {"session": "/other"},
        {"mode": "json"},
        {"x; rm": "1"},
        {"thinking": {"level": 1}},
        {"auto_retry": "no"},
    ],
)
def test_what_pi_cannot_be_given_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="provider_options"):
        launch("pi", AgentSettings(provider_options=options), gate="g")


def test_tools_are_told_by_what_they_do() -> None:
    effects = {name: tool_effect(ToolCall("c", name, {})) for name in ("ls", "edit", "bash", "x")}

    assert effects == {"ls": "reads", "edit": "edits", "bash": "other", "x": "other"}
