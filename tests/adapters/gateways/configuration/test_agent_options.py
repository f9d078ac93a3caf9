from __future__ import annotations

from pathlib import Path

import pytest
from moorage.adapters.agents import ProcessAgent
from moorage.adapters.gateways.configuration.agent_options import agent_with, takes_options
from moorage.adapters.gateways.configuration.given import Given, Source
from moorage.adapters.gateways.configuration.structuring import Structuring
from moorage.runtime import InvalidArgument

PATH = ("agents", "a", "options")


def made(spec, options, directory=Path("/"), *, is_text=False):
    """The agent, and what is wrong."""
    structuring = Structuring([])
    source = Source("file", "a.yaml:1", directory)
    structuring.givens = {
        (*PATH, name): Given(value, source, is_text=is_text) for name, value in options.items()
    }
    agent = agent_with(spec, options, structuring.givens, PATH, structuring)
    return agent, [str(problem) for problem in structuring.problems]


def test_options_are_arguments_of_the_agent():
    agent, problems = made("process:cat -u", {"cwd": "/tmp", "line_bytes_max": 100})

    assert not problems
    assert isinstance(agent, ProcessAgent)
    assert (agent.command, agent.cwd, agent.line_bytes_max) == (["cat", "-u"], "/tmp", 100)


def test_text_that_stands_for_a_number_is_one_where_a_number_is_wanted():
    agent, _ = made("process:cat", {"cwd": "12", "line_bytes_max": "100"}, is_text=True)

    assert (agent.cwd, agent.line_bytes_max) == ("12", 100)


def test_names_that_the_agent_has_not_are_told_with_a_hint():
    agent, problems = made("process:cat", {"line_byte_max": 1})

    assert agent is None
    assert problems == [
        "a.yaml:1: agents.a.options.line_byte_max: there is no such setting: is line_bytes_max "
        "meant?"
    ]


@pytest.mark.parametrize("name", ["command", "encode_input"])
def test_what_no_plain_value_can_be_is_no_option(name):
    assert len(made("process:cat", {name: "x"})[1]) == 1


def test_what_the_agent_itself_refuses_passes():
    with pytest.raises(InvalidArgument, match="line_bytes_max"):
        made("process:cat", {"line_bytes_max": 0})


def test_one_option_can_be_read_from_a_file(tmp_path):
    pytest.importorskip("anthropic")
    (tmp_path / "key").write_text("hunter2\n")

    agent, problems = made("anthropic:m", {"api_key_file": "key"}, tmp_path)
    _, missing = made("anthropic:m", {"api_key_file": "no"}, tmp_path)

    assert (agent is not None, problems) == (True, [])
    assert "'no' cannot be read" in missing[0]


def test_a_model_that_is_named_twice_is_refused():
    pytest.importorskip("anthropic")
    with pytest.raises(InvalidArgument, match="names the model, and so do the options"):
        made("anthropic:m", {"model": "n"})


def test_other_agents_take_no_options():
    with pytest.raises(InvalidArgument, match="options are for agents of providers"):
        made("echo", {"a": 1})
    assert (takes_options("claude"), takes_options("process:x"), takes_options("a.b:c")) == (
        True,
        True,
        False,
    )
