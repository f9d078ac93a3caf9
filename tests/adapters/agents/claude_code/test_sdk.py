"""What is used of the SDK's internals still is what it was when it was looked at.

A newer SDK that builds another command line, or another folder to resume from, fails here.
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import pytest
from moorage.adapters.agents.claude_code.session_store import LoadedTranscript
from moorage.adapters.agents.provider.failures import ProviderNotInstalled
from moorage.runtime.errors import InvalidArgument

from tests.adapters.agents.real_agents import require

require("claude_agent_sdk")
pytestmark = pytest.mark.real_agent
sdk = require("moorage.adapters.agents.claude_code.sdk")
subprocess_cli = require("claude_agent_sdk._internal.transport.subprocess_cli")
query = require("claude_agent_sdk._internal.query")

SESSION = "5e551011-0000-4000-8000-000000000001"


class Files:
    """Stands for a store with one transcript and one of a subagent's."""

    async def load(self, key):
        return [{"type": "assistant", "uuid": "u2"}] if key.get("subpath") else None

    async def list_subkeys(self, key):
        return ["subagents/agent-1"]


def texts_in(directory):
    """Path below the directory -> text, for each file."""
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_text() for path in paths}


def test_the_command_line_is_the_sdks_own():
    options = sdk.make_options(
        {
            "model": "m",
            "system_prompt": {"type": "preset", "preset": "claude_code", "append": "Be brief."},
            "permission_mode": "acceptEdits",
            "include_partial_messages": True,
            "max_turns": 3,
            "cwd": "/srv/work",
            "resume": SESSION,
        }
    )

    command = sdk.command_line(options, "/bin/claude", asks=True, offers=True)

    assert command == [
        "/bin/claude",
        "--output-format",
        "stream-json",
        "--verbose",
        "--append-system-prompt",
        "Be brief.",
        "--max-turns",
        "3",
        "--model",
        "m",
        "--permission-prompt-tool",
        "stdio",
        "--permission-mode",
        "acceptEdits",
        f"--resume={SESSION}",
        "--mcp-config",
        '{"mcpServers": {"moorage": {"type": "sdk", "name": "moorage"}}}',
        "--include-partial-messages",
        "--input-format",
        "stream-json",
        "--session-mirror",
    ]


def test_without_people_to_ask_and_tools_to_offer_nothing_is_said_of_them():
    command = sdk.command_line(sdk.make_options({}), "/bin/claude", asks=False, offers=False)

    assert "--permission-prompt-tool" not in command
    assert "--mcp-config" not in command


def test_the_sdks_transport_sets_the_variables_that_ours_sets():
    source = inspect.getsource(subprocess_cli.SubprocessCLITransport.connect)
    ours = sdk.child_variables({}, "/srv/work", offers=False)

    names = {name for name in ours if f'"{name}"' in source}
    names |= {"CLAUDE_CODE_SDK_READS_SESSION_STATE"} & {subprocess_cli._SDK_READS_SESSION_STATE_ENV}
    assert set(ours) == names
    assert ours["CLAUDE_CODE_ENTRYPOINT"] == "sdk-py"
    assert ours["PWD"] == "/srv/work"


def test_a_users_environment_beats_ours():
    variables = sdk.child_variables(
        {"CLAUDE_CODE_ENTRYPOINT": "mine", "ENABLE_TOOL_SEARCH": None}, None, offers=True
    )

    assert variables["CLAUDE_CODE_ENTRYPOINT"] == "mine"
    assert variables["ENABLE_TOOL_SEARCH"] is None
    assert "PWD" not in variables
    assert sdk.child_variables({}, None, offers=True)["ENABLE_TOOL_SEARCH"] == "false"


def test_the_sdk_reads_of_a_transport_what_ours_has():
    transport = require("moorage.adapters.agents.claude_code.transport").ClaudeTransport
    abstract = sdk.ClaudeSDKClient.__init__.__globals__["Transport"].__abstractmethods__

    assert {name for name in abstract if not hasattr(transport, name)} == set()


def test_the_sdk_asks_no_more_of_a_transport_than_the_control_protocol():
    source = inspect.getsource(query.Query._read_messages)

    types = {"control_response", "control_request", "control_cancel_request"}
    assert types <= {name for name in types if f'"{name}"' in source}


async def test_what_is_resumed_lies_in_a_folder_of_its_own_with_the_users_login(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    login = {"claudeAiOauth": {"accessToken": "a", "refreshToken": "r"}}
    (home / ".credentials.json").write_text(json.dumps(login))
    options = sdk.make_options({"resume": SESSION, "cwd": str(tmp_path)})
    store = LoadedTranscript(Files(), [{"type": "user", "uuid": "u1"}])

    async with sdk.resumable(options, store, {"CLAUDE_CONFIG_DIR": str(home)}) as environment:
        directory = Path(environment["CLAUDE_CONFIG_DIR"])
        files = texts_in(directory)

    (project,) = {name.split("/")[1] for name in files if name.startswith("projects/")}
    assert directory != home
    assert json.loads(files[f"projects/{project}/{SESSION}.jsonl"]) == {
        "type": "user",
        "uuid": "u1",
    }
    assert f"projects/{project}/{SESSION}/subagents/agent-1.jsonl" in files
    assert json.loads(files[".credentials.json"]) == {"claudeAiOauth": {"accessToken": "a"}}
    assert texts_in(directory) == {}


async def test_nothing_to_resume_needs_no_folder():
    async with sdk.resumable(sdk.make_options({}), None, {"A": "1", "B": None}) as environment:
        assert environment == {"A": "1", "B": None}


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"CLAUDE_CONFIG_DIR": "/etc/claude"}, "/etc/claude"),
        ({"CLAUDE_CONFIG_DIR": None, "HOME": "/srv"}, "/srv/.claude"),
        ({"CLAUDE_CONFIG_DIR": None, "HOME": None}, os.path.expanduser("~/.claude")),
    ],
)
def test_where_claude_code_keeps_its_files(environment, directory):
    assert sdk.configuration_directory(environment) == directory


def test_a_transcripts_path_is_told_by_project_and_session():
    path = f"/etc/claude/projects/-srv-work/{SESSION}/subagents/agent-1.jsonl"

    assert sdk.file_path_to_session_key(path, "/etc/claude/projects") == {
        "project_key": "-srv-work",
        "session_id": SESSION,
        "subpath": "subagents/agent-1",
    }


def test_an_option_that_this_sdk_does_not_have_is_refused():
    with pytest.raises(InvalidArgument, match="'no_such'"):
        sdk.make_options({"no_such": 1})


def test_subagents_may_come_as_plain_data():
    given = {"one": {"description": "d", "prompt": "p"}}

    options = sdk.make_options({"agents": given})

    assert options.agents["one"].prompt == "p"
    with pytest.raises(InvalidArgument, match="'one'"):
        sdk.make_options({"agents": {"one": {"no_such": 1}}})


def test_a_program_that_cannot_be_found_is_not_installed(monkeypatch):
    def missing(transport):
        raise subprocess_cli.CLINotFoundError("nowhere")

    monkeypatch.setattr(subprocess_cli.SubprocessCLITransport, "_find_cli", missing)

    with pytest.raises(ProviderNotInstalled, match="nowhere"):
        sdk.find_program()


def test_who_answers_is_laid_over_the_options():
    async def can_use_tool(name, tool_input, asked):
        return None

    options = sdk.make_options({"resume": SESSION, "mcp_servers": {"theirs": {"command": "x"}}})

    answering = sdk.answering(
        options, hooks={}, can_use_tool=can_use_tool, servers={"moorage": {"type": "sdk"}}
    )

    assert answering.can_use_tool is can_use_tool
    assert answering.hooks is None
    assert set(answering.mcp_servers) == {"theirs", "moorage"}
    assert answering.resume is None
