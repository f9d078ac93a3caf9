from __future__ import annotations

import os
import stat
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from moorage.adapters.gateways import provider_agents
from moorage.adapters.gateways.provider_agents import PROVIDERS, provider_agent
from moorage.runtime import InvalidArgument, MoorageError


class FakeAgent:
    """Stands for the agent of a provider; keeps what it was made with."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments


@pytest.fixture
def everything(tmp_path, monkeypatch):
    """Every package and program is there, and every class is FakeAgent."""
    for provider in PROVIDERS.values():
        for package in provider.packages:
            (tmp_path / f"{package}.py").write_text("raise AssertionError('imported')")
        if provider.program is not None:
            add_program(tmp_path, provider.program)
        name = f"moorage.adapters.agents.{provider.subpackage}.agent"
        module: Any = ModuleType(name)
        setattr(module, provider.agent, FakeAgent)
        monkeypatch.setitem(sys.modules, name, module)
    add_program(tmp_path, "goose")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def add_program(folder, name: str) -> None:
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize(
    ("name", "rest", "arguments"),
    [
        ("claude", "", {}),
        ("codex", "", {}),
        ("copilot", "", {}),
        ("pi", "", {}),
        ("amp", "", {}),
        ("acp", "goose --acp 'two words'", {"command": ["goose", "--acp", "two words"]}),
        ("anthropic", "", {}),
        ("anthropic", "claude-x", {"model": "claude-x"}),
        ("openai", "gpt:x", {"model": "gpt:x"}),
    ],
)
def test_a_provider_s_agent_is_made_from_its_name(name, rest, arguments):
    agent: Any = provider_agent(name, rest)

    assert isinstance(agent, FakeAgent)
    assert agent.arguments == arguments


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("claude", r"needs claude_agent_sdk: pip install 'moorage\[claude\]'"),
        ("codex", r"needs codex_cli_bin or codex: pip install .*, or put the program codex on"),
        ("copilot", "needs copilot: put the program copilot on PATH"),
        ("pi", "needs pi: put the program pi on PATH or its path into MOORAGE_PI"),
        ("amp", "needs amp: put the program amp on PATH"),
        ("anthropic", r"needs anthropic: pip install 'moorage\[anthropic\]'"),
        ("openai", r"needs openai: pip install 'moorage\[openai\]'"),
    ],
)
def test_what_is_missing_is_told_with_the_remedy_before_anything_is_loaded(
    monkeypatch, name, remedy
):
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(provider_agents, "find_spec", lambda name: None)

    with pytest.raises(InvalidArgument, match=remedy):
        provider_agent(name, "")


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize(
    ("name", "rest", "reason"),
    [
        ("claude", "opus", "claude is followed by nothing, not 'opus': --model"),
        ("acp", "  ", "acp needs a command: acp:COMMAND"),
        ("acp", "'unclosed", "cannot be split"),
        ("acp", "nowhere --acp", "there is no program 'nowhere' on PATH"),
    ],
)
def test_what_cannot_stand_behind_a_name_is_refused(name, rest, reason):
    with pytest.raises(InvalidArgument, match=reason):
        provider_agent(name, rest)


@pytest.mark.usefixtures("everything")
def test_a_variable_may_say_where_the_program_is(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setenv("MOORAGE_PI", "elsewhere")

    assert isinstance(provider_agent("pi", ""), FakeAgent)


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("error", [ImportError("too old"), MoorageError("no such option")])
def test_an_agent_that_cannot_be_made_says_why(monkeypatch, error):
    class Refusing(FakeAgent):
        def __init__(self) -> None:
            raise error

    module: Any = sys.modules["moorage.adapters.agents.pi.agent"]
    monkeypatch.setattr(module, "PiAgent", Refusing)

    with pytest.raises(InvalidArgument, match=f"the agent pi cannot be had: {error}"):
        provider_agent("pi", "")


LOADED = textwrap.dedent("""
    import sys
    from moorage.adapters.gateways import command_line
    from moorage.adapters.gateways.provider_agents import PROVIDERS
    packages = {package for provider in PROVIDERS.values() for package in provider.packages}
    print(sorted(packages & set(sys.modules)))
""")


def test_the_command_line_loads_no_provider_until_it_is_asked_for(start):
    process = start("-c", LOADED)

    assert process.communicate(timeout=120)[0] == "[]\n"


def test_every_agent_that_has_a_name_is_there():
    for name, provider in PROVIDERS.items():
        found = find_spec(f"moorage.adapters.agents.{provider.subpackage}.agent")

        assert found is not None, name
        assert f"class {provider.agent}:" in Path(found.origin).read_text()
