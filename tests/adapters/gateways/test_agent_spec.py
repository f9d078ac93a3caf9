from __future__ import annotations

import sys
import textwrap

import pytest
from moorage.adapters.agents import ProcessAgent, ScriptedAgent
from moorage.adapters.gateways.agent_spec import load_agent
from moorage.runtime import InvalidArgument


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module named ``agents_of_mine`` in the current directory."""
    (tmp_path / "agents_of_mine.py").write_text(
        textwrap.dedent("""
        class Deep:
            @staticmethod
            async def agent(request, context): ...
        async def agent(request, context): ...
        both = {"a": agent, "b": agent}
        number = 5
        class Uncalled: ...
        """)
    )
    (tmp_path / "broken_of_mine.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("agents_of_mine", None)


def test_echo_and_programs_need_no_module():
    assert isinstance(load_agent("echo"), ScriptedAgent)
    agent = load_agent("process:grep -c 'two words'")
    assert isinstance(agent, ProcessAgent)
    assert agent.command == ["grep", "-c", "two words"]


def test_one_works_offline():
    assert isinstance(load_agent("scripted"), ScriptedAgent)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("acp", "acp needs a command"),
        ("acp:", "acp needs a command"),
        ("claude:opus", "claude is followed by nothing"),
    ],
)
def test_the_name_of_a_provider_is_no_module(spec, reason):
    with pytest.raises(InvalidArgument, match=reason):
        load_agent(spec)


@pytest.mark.usefixtures("module")
def test_a_module_of_the_current_directory_is_found():
    assert load_agent("agents_of_mine:agent").__name__ == "agent"
    assert load_agent("agents_of_mine:Deep.agent").__name__ == "agent"
    assert {"a", "b"} == set(load_agent("agents_of_mine:both"))


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("nothing", "names no agent"),
        (":function", "names no agent"),
        ("module:", "names no agent"),
        ("process: ", "names no agent"),
        ("process:'unclosed", "cannot be split"),
        ("no_such_module:agent", "there is no module 'no_such_module'"),
        ("agents_of_mine:absent", "has no 'absent'"),
        ("agents_of_mine:number", "an agent is an async function"),
        ("agents_of_mine:Uncalled", "an agent is an async function"),
    ],
)
def test_what_names_no_agent_is_refused_with_the_reason(spec, reason):
    with pytest.raises(InvalidArgument, match=reason):
        load_agent(spec)


@pytest.mark.usefixtures("module")
def test_a_module_that_lacks_something_itself_says_so():
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_agent("broken_of_mine:agent")
