"""The real Copilot, asking a ModelTwin."""

from __future__ import annotations

import os
from typing import Any

import pytest
from moorage.adapters.agents.copilot import CopilotAgent
from moorage.adapters.agents.copilot.executable import VARIABLE
from moorage.adapters.agents.model_twin import ModelTwin, Text, ToolUse

from tests.adapters.agents.real_agents import require_program
from tests.adapters.agents.real_scenarios import (
    Place,
    RealScenarios,
    error_of,
    events_of,
    place,
    talking,
)

if not os.environ.get(VARIABLE):
    require_program("copilot")
pytestmark = pytest.mark.real_agent

__all__ = ["place"]


class TestRealCopilot(RealScenarios):
    provider = "copilot"
    keeps_at_once = False

    @pytest.fixture(autouse=True)
    def _unpacked_once(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """The program unpacks itself, which takes seconds, where XDG_CACHE_HOME says."""
        unpacked = tmp_path_factory.getbasetemp() / "copilot-cache"
        monkeypatch.setenv("XDG_CACHE_HOME", str(unpacked))

    def agent(self, twin: ModelTwin, place: Place, **options: Any) -> CopilotAgent:
        variables = {**twin.configure("copilot", place.path / "copilot"), **place.environment}
        return CopilotAgent(
            **{"working_directory": place.work, "environment": variables, **options}
        )

    def shell(self, command: str) -> ToolUse:
        return ToolUse("bash", {"command": command, "description": "a test"})

    def script_of_kill(self, url: str, place: Place) -> str:
        return f"""
    import os, pathlib
    from moorage.adapters.agents.copilot import CopilotAgent
    from moorage.adapters.agents.model_twin.client_settings import configure
    os.chdir({str(place.work)!r})
    variables = configure("copilot", {url!r}, pathlib.Path({str(place.path / "copilot")!r}))
    variables |= {place.environment!r}
    agent = CopilotAgent(environment=variables, permission_mode="full_auto")
"""

    async def test_it_tells_its_version(self) -> None:
        version = await CopilotAgent().version()

        assert version.startswith("GitHub Copilot CLI 1.")

    async def test_without_a_login_nothing_is_asked(self, place: Place) -> None:
        variables = {**place.environment, "COPILOT_HOME": str(place.path)}
        tokens = dict.fromkeys(("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"))
        async with talking(CopilotAgent(environment={**variables, **tokens})) as session:
            outcome = await session.execute("Hi")
            sent = await events_of(session, "message_sent")

        assert error_of(outcome)["code"] == "provider_not_configured"
        assert "copilot login" in error_of(outcome)["message"]
        assert sent == []

    async def test_reading_within_its_directory_asks_nobody(self, place: Place) -> None:
        (place.work / "here.txt").write_text("here")
        (place.path / "there.txt").write_text("there")
        views = [
            [ToolUse("view", {"path": str(place.work / "here.txt")})],
            [ToolUse("view", {"path": str(place.path / "there.txt")})],
        ]
        async with (
            ModelTwin([*views, Text("Done.")]).serving() as twin,
            talking(self.agent(twin, place, approval_timeout_seconds=0.2)) as session,
        ):
            (await session.execute("Read them.")).unwrap()
            asked = await events_of(session, "tool_approval_requested")

        results = [result.text for result in twin.requests[-1].tool_results]
        assert "here" in results[0]
        assert "there" not in results[1]
        assert [event["tool_input"]["path"] for event in asked] == [str(place.path / "there.txt")]

    async def test_edits_may_go_through_without_asking(self, place: Place) -> None:
        create = ToolUse("create", {"path": str(place.work / "new.txt"), "file_text": "hello"})
        async with (
            ModelTwin([[create], Text("Done.")]).serving() as twin,
            talking(self.agent(twin, place, permission_mode="accept_edits")) as session,
        ):
            (await session.execute("Write it.")).unwrap()
            completed = await events_of(session, "tool_call_completed")

        assert (place.work / "new.txt").read_text() == "hello"
        assert [event["tool_name"] for event in completed] == ["create"]
