from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from moorage.adapters.agents.amp.options import command_line, own_settings, tool_effect
from moorage.adapters.agents.provider.approvals import ToolCall
from moorage.adapters.agents.provider.failures import ProviderNotConfigured
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.runtime.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

STREAMING = ("--execute", "--stream-json", "--stream-json-thinking", "--stream-json-input")


def test_a_thread_is_continued_by_its_id() -> None:
    line = command_line("amp", AgentSettings(model="low"), thread="T-1", settings_file="/s.json")

    assert line == (
        "amp",
        "threads",
        "continue",
        "T-1",
        *STREAMING,
        "--settings-file",
        "/s.json",
        "--mode",
        "low",
    )


@pytest.mark.parametrize("mode", ["full_auto", "dangerously_skip_permissions"])
def test_modes_that_ask_nobody_are_told_to_amp(mode: str) -> None:
    line = command_line("amp", AgentSettings.from_options({"permission_mode": mode}))

    assert line[-1] == "--dangerously-allow-all"


def test_options_become_flags_but_for_those_that_are_ours() -> None:
    line = command_line("amp", AgentSettings(provider_options={"label": ["a", "b"]}))

    assert line[-4:] == ("--label", "a", "--label", "b")
    with pytest.raises(InvalidArgument, match="settings_file"):
        command_line("amp", AgentSettings(provider_options={"settings_file": "/x"}))


def test_amps_own_settings_are_found_where_amp_looks(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "amp"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"a": 1}))
    (tmp_path / "other.json").write_text(json.dumps({"b": 2}))

    assert own_settings({"HOME": str(tmp_path)}) == {"a": 1}
    assert own_settings({"XDG_CONFIG_HOME": str(tmp_path / ".config")}) == {"a": 1}
    assert own_settings({"AMP_SETTINGS_FILE": str(tmp_path / "other.json")}) == {"b": 2}
    assert own_settings({"HOME": str(tmp_path / "none")}) == {}


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_settings_that_cannot_be_read_are_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "settings.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ProviderNotConfigured, match="settings"):
        own_settings({"AMP_SETTINGS_FILE": str(path)})


def test_tools_are_told_by_what_they_do() -> None:
    effects = [tool_effect(ToolCall("c", name, {})) for name in ("Read", "edit_file", "Bash", "x")]

    assert effects == ["reads", "edits", "other", "other"]
