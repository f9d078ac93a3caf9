"""Every example does what it says, with the real program that it is an example of."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from tests.adapters.agents.real_agents import require, require_program

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS_MAX = 240
CONVERSATION = ["My name is Ada. -> Pleased to meet you.", "What is my name? -> You are Ada."]
MAKES_THE_AGENT = "        agent = agents."

WITH_A_MODEL = {
    "anthropic_api": "anthropic 2.",
    "openai_api": "openai 3.",
    "amp": "0.0.0 (a stand-in",
}
"""Example -> how the version begins."""
WITH_A_PROGRAM = {
    "claude": ("2.", "claude_agent_sdk"),
    "codex": ("codex-cli 0.", "codex_cli_bin"),
    "copilot": ("GitHub Copilot CLI 1.", "copilot"),
    "pi": ("0.", "pi"),
    "opencode": ("1.", "opencode"),
}
"""Example -> how the version begins, and the package or program that it needs."""


async def run(name, home):
    """What an example prints when it talks to the scripted model."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--twin"]
    environment = {**os.environ, "HOME": str(home)}
    with trio.fail_after(SECONDS_MAX):
        done = await trio.run_process(command, capture_stdout=True, env=environment)
    return done.stdout.decode().splitlines()


def has_the_conversation(lines, version):
    assert lines[0].startswith("version: " + version)
    assert len(lines[0]) > len("version: ")
    # a slow machine may add the watchdog's report, which goes where structlog writes
    assert "Traceback (most recent call last):" not in lines
    assert [line for line in lines[1:] if " -> " in line] == CONVERSATION


@pytest.mark.parametrize("name", WITH_A_MODEL)
async def test_an_example_tells_the_version_and_what_was_said_before(name, tmp_path):
    has_the_conversation(await run(name, tmp_path), WITH_A_MODEL[name])


@pytest.mark.real_agent
@pytest.mark.parametrize("name", WITH_A_PROGRAM)
async def test_an_example_talks_to_the_real_program(name, tmp_path):
    version, needed = WITH_A_PROGRAM[name]
    if name in ("claude", "codex"):
        require(needed)
    else:
        require_program(needed)

    has_the_conversation(await run(name, tmp_path), version)


async def test_the_model_thinks_and_acts_in_turns(tmp_path):
    lines = await run("react", tmp_path)

    # both are looked up at once, and either may be there first
    assert sorted(lines[1:3]) == ["act: population -> 291000", "act: population -> 303000"]
    assert lines[:1] + lines[3:] == [
        "thought: I need both numbers.",
        "thought: Now I can compare them.",
        "act: compare -> second",
        "thought: No: 303000 live in Graz.",
    ]


async def test_a_program_on_asyncio_has_the_supervisor_in_a_thread_and_the_agent_in_its_loop(
    tmp_path,
):
    assert await run("from_asyncio", tmp_path) == [
        "event: run_submitted",
        "event: run_started",
        *["event: message_streamed"] * 3,
        "event: run_completed",
        "output: hello, user-42",
    ]


async def test_without_the_twin_an_example_does_not_need_its_extra():
    program = "import sys; sys.modules['h11'] = None; import asked_model; print('made')"
    with trio.fail_after(SECONDS_MAX):
        done = await trio.run_process(
            [sys.executable, "-c", program], cwd=EXAMPLES, capture_stdout=True
        )

    assert done.stdout == b"made\n"


def test_the_examples_of_agents_differ_in_the_line_that_makes_the_agent():
    programs = {
        tuple(
            MAKES_THE_AGENT if line.startswith(MAKES_THE_AGENT) else line
            for line in (EXAMPLES / f"{name}.py").read_text().splitlines()
        )
        for name in [*WITH_A_MODEL, *WITH_A_PROGRAM]
    }

    assert len(programs) == 1
    assert len(next(iter(programs))) <= 20
