from __future__ import annotations

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

    def executable(self, scenario: str) -> str:
        path = self.directory / f"claude-{scenario}"
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" {scenario} "$@"\n')
        path.chmod(0o755)
        return str(path)

    def agent(self, scenario: str, **options) -> ClaudeAgent:
        environment = {
            "CLAUDE_CONFIG_DIR": str(self.configuration),
            "FAKE_CLAUDE_HEARD": str(self._heard),
            **options.pop("environment", {}),
        }
        return ClaudeAgent(executable=self.executable(scenario), environment=environment, **options)

    def heard(self) -> list[dict]:
        """The messages of users that it was told."""
        if not self._heard.exists():
            return []
        messages = [json.loads(line) for line in self._heard.read_text().splitlines()]
        return [message for message in messages if message["type"] == "user"]


@pytest.fixture
def fake(tmp_path: Path) -> FakeClaude:
    return FakeClaude(tmp_path)
