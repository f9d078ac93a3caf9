from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tomllib
from pathlib import Path

import pytest
import trio
from moorage.adapters.agents.model_twin import ModelTwin, Text, ToolUse
from moorage.adapters.agents.model_twin.client_settings import CLIENTS, configure, environment
from moorage.runtime.errors import InvalidArgument

from tests.adapters.agents.real_agents import require, require_program

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("kind", "variable", "value"),
    [
        ("anthropic", "ANTHROPIC_BASE_URL", URL),
        ("openai", "OPENAI_BASE_URL", f"{URL}/v1"),
        ("claude", "ANTHROPIC_BASE_URL", URL),
        ("claude", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("copilot", "COPILOT_PROVIDER_BASE_URL", f"{URL}/v1"),
        ("copilot", "COPILOT_MODEL", "twin"),
    ],
)
def test_variables_point_a_client_to_the_twin(kind, variable, value):
    assert environment(kind, URL)[variable] == value


@pytest.mark.parametrize(
    ("kind", "variable"), [("claude", "ANTHROPIC_MODEL"), ("copilot", "COPILOT_MODEL")]
)
def test_a_command_line_can_be_told_what_to_ask_for(kind, variable):
    assert environment(kind, URL, "small")[variable] == "small"


def test_claude_code_keeps_its_own_default_model():
    assert "ANTHROPIC_MODEL" not in environment("claude", URL)


@pytest.mark.parametrize("kind", CLIENTS)
def test_no_client_asks_a_proxy_for_this_machine(kind, tmp_path):
    assert "127.0.0.1" in configure(kind, URL, tmp_path)["NO_PROXY"]


@pytest.mark.parametrize("kind", ["codex", "pi"])
def test_a_client_that_needs_files_is_not_told_by_variables(kind):
    with pytest.raises(InvalidArgument, match=f"configure\\('{kind}'"):
        environment(kind, URL)


def test_an_unknown_kind_is_refused_and_nothing_is_made(tmp_path):
    with pytest.raises(InvalidArgument, match="anthropic, openai, claude"):
        environment("gpt", URL)
    with pytest.raises(InvalidArgument, match="not 'gpt'"):
        configure("gpt", URL, tmp_path / "new")

    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("kind", "variable"),
    [
        ("claude", "CLAUDE_CONFIG_DIR"),
        ("codex", "CODEX_HOME"),
        ("copilot", "COPILOT_HOME"),
        ("pi", "PI_CODING_AGENT_DIR"),
        ("opencode", "XDG_DATA_HOME"),
    ],
)
def test_the_directory_becomes_the_clients_own(kind, variable, tmp_path):
    found = configure(kind, URL, tmp_path / "own")

    assert found[variable] == str(tmp_path / "own")
    assert (tmp_path / "own").is_dir()


def test_codex_gets_a_provider_that_may_be_written_again(tmp_path):
    configure("codex", "http://127.0.0.1:1", tmp_path)
    configure("codex", URL, tmp_path, 'odd "model"')

    config = tomllib.loads((tmp_path / "config.toml").read_text())
    assert config["model"] == 'odd "model"'
    provider = config["model_providers"][config["model_provider"]]
    assert provider["base_url"] == f"{URL}/v1"
    assert provider["wire_api"] == "responses"
    assert provider["env_key"] in configure("codex", URL, tmp_path)


def test_command_lines_ask_once_more_after_an_error_and_not_for_ever(tmp_path):
    variables = configure("claude", URL, tmp_path)
    for kind in ("codex", "pi"):
        configure(kind, URL, tmp_path)

    codex = tomllib.loads((tmp_path / "config.toml").read_text())["model_providers"]["twin"]
    pi = json.loads((tmp_path / "settings.json").read_text())
    assert variables["CLAUDE_CODE_MAX_RETRIES"] == "1"
    assert (codex["request_max_retries"], codex["stream_max_retries"]) == (1, 1)
    assert pi["retry"]["maxRetries"] == 1


def test_how_often_pi_asks_again_stays_what_somebody_chose(tmp_path):
    (tmp_path / "settings.json").write_text('{"retry": {"enabled": false}}')

    configure("pi", URL, tmp_path)

    assert json.loads((tmp_path / "settings.json").read_text())["retry"] == {"enabled": False}


def test_somebody_elses_codex_configuration_is_left_alone(tmp_path):
    (tmp_path / "config.toml").write_text('model = "mine"\n')

    with pytest.raises(InvalidArgument, match="give another directory"):
        configure("codex", URL, tmp_path)

    assert (tmp_path / "config.toml").read_text() == 'model = "mine"\n'


def test_pi_gets_a_provider_beside_those_it_has(tmp_path):
    (tmp_path / "models.json").write_text('{"providers": {"mine": {"api": "x"}}}')
    (tmp_path / "settings.json").write_text('{"theme": "dark"}')

    configure("pi", URL, tmp_path)

    providers = json.loads((tmp_path / "models.json").read_text())["providers"]
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert providers["mine"] == {"api": "x"}
    assert providers["twin"]["baseUrl"] == f"{URL}/v1"
    assert providers["twin-messages"]["baseUrl"] == URL
    assert settings["theme"] == "dark"
    assert (settings["defaultProvider"], settings["defaultModel"]) == ("twin", "twin")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_file_of_pi_is_left_alone(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)

    with pytest.raises(InvalidArgument, match=r"settings\.json"):
        configure("pi", URL, tmp_path)

    assert not (tmp_path / "models.json").exists()
    assert (tmp_path / "settings.json").read_text() == content


BUNDLED = {"claude": "_bundled/claude", "codex": "bin/codex"}
PACKAGES = {"claude": "claude_agent_sdk", "codex": "codex_cli_bin"}
"""Programs that come in wheels: the package and the place in it; npm puts the others on PATH."""

COMMANDS = {
    "claude": ["-p", "go", "--allowedTools", "Bash"],
    "codex": ["exec", "--skip-git-repo-check", "-s", "danger-full-access", "go"],
    "copilot": ["-p", "go", "--allow-all-tools"],
    "pi": ["-p", "go"],
}
ECHO = "echo from-$((40+2))"
CALLS = {
    "claude": ToolUse("Bash", {"command": ECHO}),
    "codex": ToolUse("exec_command", {"cmd": ECHO}),
    "copilot": ToolUse("bash", {"command": ECHO, "description": "count"}),
    "pi": ToolUse("bash", {"command": ECHO}),
}


def program(kind):
    """The path of the real program of that kind."""
    if kind not in BUNDLED:
        return require_program(kind)
    return str(Path(require(PACKAGES[kind]).__file__).parent / BUNDLED[kind])


@pytest.mark.real_agent
@pytest.mark.parametrize("kind", COMMANDS)
async def test_the_real_program_talks_to_the_twin_and_calls_a_tool(kind, tmp_path):
    command = [program(kind), *COMMANDS[kind]]
    (tmp_path / "here").mkdir()

    async with ModelTwin([CALLS[kind], Text("All went well")]).serving() as twin:
        told = {**os.environ, **twin.configure(kind, tmp_path / "own"), "HOME": str(tmp_path)}
        said = await output(command, told, tmp_path / "here")

    assert "All went well" in said
    first, second = twin.requests
    assert first.prompt.endswith("go")
    (result,) = second.tool_results
    assert "from-42" in result.text
    assert twin.statistics().out_of_script == 0


async def output(command, environment, cwd, seconds=120):
    """What a program says until it ends; nothing of it is left, whatever happens."""
    told = {"env": environment, "cwd": cwd, "stdin": subprocess.DEVNULL}
    with (cwd / "said").open("w+b") as said:
        process = await trio.lowlevel.open_process(
            command, **told, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            with trio.fail_after(seconds):
                await process.wait()
        finally:
            # Copilot's loader is a parent that keeps signals to itself
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await process.wait()
        said.seek(0)
        return said.read().decode()


def test_opencode_is_told_its_provider_in_a_variable():
    found = json.loads(environment("opencode", URL, "small")["OPENCODE_CONFIG_CONTENT"])

    assert found["model"] == found["small_model"] == "twin/small"
    assert found["provider"]["twin"]["options"]["baseURL"] == f"{URL}/v1"
    assert list(found["provider"]["twin"]["models"]) == ["small"]
