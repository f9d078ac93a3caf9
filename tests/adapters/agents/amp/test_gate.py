from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from moorage.adapters.agents.amp.gate import PROGRAM_NAME, SOCKET_VARIABLE, Gate, open_gate
from moorage.adapters.agents.provider.approvals import Decision

PATH = os.environ["PATH"]


async def asked(
    gate: Gate, name: str = "Bash", stdin: str = '{"cmd": "ls"}', **environment: str
) -> tuple[int, str]:
    """What Amp sees of its helper: exit code and standard error."""
    variables = {**os.environ, **gate.environment, "AGENT_TOOL_NAME": name, **environment}
    done = await trio.to_thread.run_sync(
        partial(
            subprocess.run,
            [PROGRAM_NAME],
            input=stdin,
            env=variables,
            executable=f"{variables['PATH'].split(os.pathsep)[0]}/{PROGRAM_NAME}",
            capture_output=True,
            text=True,
            timeout=60,
        )
    )
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize(
    ("decision", "seen"),
    [
        (Decision(True), (0, "")),
        (Decision(False, "not now"), (2, "not now")),
        (Decision(False), (2, "it was denied")),
        (
            Decision(True, tool_input={"cmd": "pwd"}),
            (2, "it was approved with another input only"),
        ),
    ],
)
async def test_the_helper_answers_with_what_was_decided(
    decision: Decision, seen: tuple[int, str]
) -> None:
    questions: list[Any] = []

    async def decide(name: str, tool_input: Any) -> Decision:
        questions.append((name, tool_input))
        return decision

    async with open_gate(decide, {}, PATH) as gate:
        assert await asked(gate) == seen

    assert questions == [("Bash", {"cmd": "ls"})]


async def test_without_an_answer_nothing_runs() -> None:
    async def decide(name: str, tool_input: Any) -> Decision:
        return Decision(True)

    async with open_gate(decide, {}, PATH) as gate:
        unreadable = await asked(gate, stdin="{")
        alone = await asked(gate, **{SOCKET_VARIABLE: "/nowhere"})

    for code, reason in (unreadable, alone):
        assert code == 2
        assert "nobody could be asked" in reason


async def test_amp_keeps_its_settings_but_for_who_permits() -> None:
    async def decide(name: str, tool_input: Any) -> Decision:
        return Decision(True)

    own = {"amp.theme": "dark", "amp.permissions": [1], "amp.dangerouslyAllowAll": True}
    async with open_gate(decide, own, PATH) as gate:
        settings = json.loads(await trio.Path(gate.settings_file).read_text())
        folder = Path(gate.settings_file).parent
        mode = folder.stat().st_mode & 0o777

    assert settings == {
        "amp.theme": "dark",
        "amp.permissions": [{"tool": "*", "action": "delegate", "to": PROGRAM_NAME}],
        "amp.dangerouslyAllowAll": False,
    }
    assert mode == 0o700
    assert not folder.exists()


async def test_a_question_that_is_answered_late_holds_no_other_up() -> None:
    release = trio.Event()

    async def decide(name: str, tool_input: Any) -> Decision:
        if name == "slow":
            await release.wait()
        return Decision(True)

    async with open_gate(decide, {}, PATH) as gate, trio.open_nursery() as nursery:
        nursery.start_soon(asked, gate, "slow")
        with trio.fail_after(60):
            assert await asked(gate, "fast") == (0, "")
        release.set()
