from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from moorage.adapters.agents.claude_code.agent import ClaudeAgent

FAKE = Path(__file__).with_name("fake_claude.py")


class FakeClaude:
    """Where the fake program is and what it has heard."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.configuration = directory / "configuration"
        self._heard = directory / "heard"
        self._released = directory / "released"

    def executable(self, scenario: str) -> str:
        path = self.directory / f"claude-{scenario}"
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" {scenario} "$@"\n')
        path.chmod(0o755)
        return str(path)

    def agent(self, scenario: str, **options) -> ClaudeAgent:
        environment = {
            "CLAUDE_CONFIG_DIR": str(self.configuration),
            "FAKE_CLAUDE_HEARD": str(self._heard),
            "FAKE_CLAUDE_RELEASED": str(self._released),
            **options.pop("environment", {}),
        }
        return ClaudeAgent(executable=self.executable(scenario), environment=environment, **options)

    def release(self) -> None:
        """Let a program that lingers end."""
        self._released.touch()

    def heard(self) -> list[dict]:
        """The messages of users that it was told."""
        if not self._heard.exists():
            return []
        messages = [json.loads(line) for line in self._heard.read_text().splitlines()]
        return [message for message in messages if message["type"] == "user"]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClaude:
    if importlib.util.find_spec("claude_agent_sdk"):
        # every one of them ends by itself: it may be slow to
        module = "moorage.adapters.agents.claude_code.conversation"
        monkeypatch.setattr(f"{module}.GOODBYE_SECONDS", 60.0)
    return FakeClaude(tmp_path)
