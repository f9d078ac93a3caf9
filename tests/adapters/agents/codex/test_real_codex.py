"""The real Codex, asking a ModelTwin."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from moorage.adapters.agents.codex import CodexAgent
from moorage.adapters.agents.model_twin import ModelTwin, Text, ToolUse

from tests.adapters.agents.real_agents import require
from tests.adapters.agents.real_scenarios import (
    Place,
    RealScenarios,
    error_of,
    events_of,
    place,
    talking,
)

MCP_SERVER = """
import json, sys

def answer(method, params):
    if method == "initialize":
        info = {"name": "test", "version": "1"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        return {"tools": [{"name": "shout", "description": "x", "inputSchema": schema}]}
    if method == "tools/call":
        said = params["arguments"].get("text")
        text = said.upper() if said else "nothing to shout"
        return {"content": [{"type": "text", "text": text}], "isError": not said}
    return {}

for line in sys.stdin:
    heard = json.loads(line)
    if "id" in heard:
        result = answer(heard["method"], heard.get("params"))
        print(json.dumps({"jsonrpc": "2.0", "id": heard["id"], "result": result}), flush=True)
"""

require("codex_cli_bin")
pytestmark = pytest.mark.real_agent

__all__ = ["place"]


class TestRealCodex(RealScenarios):
    provider = "codex"

    def agent(self, twin: ModelTwin, place: Place, **options: Any) -> CodexAgent:
        variables = {**twin.configure("codex", place.path / "codex"), **place.environment}
        return CodexAgent(**{"working_directory": place.work, "environment": variables, **options})

    def shell(self, command: str) -> ToolUse:
        return ToolUse("exec_command", {"cmd": command, "yield_time_ms": 20_000})

    def impatient(self, twin: ModelTwin) -> dict[str, Any]:
        entry = {
            "name": "impatient",
            "base_url": f"{twin.url}/v1",
            "wire_api": "responses",
            "env_key": "TWIN_API_KEY",
            "request_max_retries": 0,
            "stream_max_retries": 0,
        }
        options = {"model_provider": "impatient", "model_providers": {"impatient": entry}}
        return {"provider_options": options}

    def script_of_kill(self, url: str, place: Place) -> str:
        return f"""
    import os, pathlib
    from moorage.adapters.agents.codex import CodexAgent
    from moorage.adapters.agents.model_twin.client_settings import configure
    os.chdir({str(place.work)!r})
    variables = configure("codex", {url!r}, pathlib.Path({str(place.path / "codex")!r}))
    variables |= {place.environment!r}
    agent = CodexAgent(environment=variables, permission_mode="full_auto")
"""

    async def test_it_tells_its_version(self) -> None:
        version = await CodexAgent().version()

        assert version.startswith("codex-cli 0.")

    async def test_without_a_login_nothing_is_asked(self, place: Place) -> None:
        variables = {**place.environment, "CODEX_HOME": str(place.path)}
        async with talking(CodexAgent(environment=variables)) as session:
            outcome = await session.execute("Hi")
            sent = await events_of(session, "message_sent")

        assert error_of(outcome)["code"] == "provider_not_configured"
        assert "codex login" in error_of(outcome)["message"]
        assert sent == []

    async def test_tools_of_an_mcp_server_are_approved_and_told(self, place: Place) -> None:
        server = place.path / "server.py"
        server.write_text(MCP_SERVER)
        script = [[ToolUse("shout", {"text": "hi"})], [ToolUse("shout", {})], Text("Done.")]
        options = {"mcp_servers": {"test": {"command": sys.executable, "args": [str(server)]}}}
        async with (
            # a model that Codex does not know gets the tools of servers without searching for them
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, model="plain", provider_options=options)) as session,
        ):
            run = await session.submit("Shout.")
            async with session.subscribe(after=0, types={"tool_approval_requested"}) as events:
                asked = []
                async for event in events:
                    asked.append((event.data["tool_name"], event.data["tool_input"]))
                    await session.approve(event.data["request_id"])
                    if len(asked) == 2:
                        break
            (await run.wait()).unwrap()
            (completed,) = await events_of(session, "tool_call_completed")
            (failed,) = await events_of(session, "tool_call_failed")

        assert asked == [("mcp__test__shout", {"text": "hi"}), ("mcp__test__shout", {})]
        assert completed["tool_output"]["content"] == [{"type": "text", "text": "HI"}]
        assert failed["error"] == {"code": "failed", "message": "nothing to shout"}

    async def test_a_change_of_files_is_a_tool_and_edits_may_go_through(self, place: Place) -> None:
        patch = "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch\n"
        script = [[self.shell(f"apply_patch <<'EOF'\n{patch}EOF\n")], Text("Done.")]
        async with (
            ModelTwin(script).serving() as twin,
            talking(self.agent(twin, place, permission_mode="accept_edits")) as session,
        ):
            (await session.execute("Write it.")).unwrap()
            completed = await events_of(session, "tool_call_completed")

        assert (place.work / "new.txt").read_text() == "hello\n"
        assert [event["tool_name"] for event in completed] == ["file_change"]
