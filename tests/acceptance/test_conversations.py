"""Conversations with a model, as a service holds them: over kills, branches and approvals.

The model is a ModelTwin. Services are processes, and they die by SIGKILL.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from moorage.adapters.agents.model_twin import ModelTwin, Text, ToolUse

SERVICE = Path(__file__).with_name("conversation_service.py")
PATIENCE_SECONDS = 120


class Services:
    """Runs the service over one directory, one process after the other."""

    def __init__(self, directory, twin):
        self.directory = directory
        self.twin = twin

    async def __call__(self, *steps, dies=False):
        """Perform steps in a process; what each gave, in order."""
        command = [sys.executable, str(SERVICE), str(self.directory), self.twin.url]
        with trio.fail_after(PATIENCE_SECONDS):
            done = await trio.run_process(
                [*command, json.dumps(steps)],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        expected = -signal.SIGKILL if dies else 0
        assert done.returncode == expected, done.stderr.decode()[-3_000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    async def killed_while(self, *steps, says):
        """Perform steps until the process prints ``says`` a line of; then it is killed."""
        command = [sys.executable, str(SERVICE), str(self.directory), self.twin.url]
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, stdout=subprocess.PIPE, check=False)
            process = await nursery.start(run, [*command, json.dumps(steps)])
            seen = b""
            with trio.fail_after(PATIENCE_SECONDS):
                while json.dumps(says).encode() not in seen.splitlines():
                    chunk = await process.stdout.receive_some()
                    assert chunk, f"it ended and said {seen!r}"
                    seen += chunk
            process.kill()
        return [json.loads(line) for line in seen.splitlines()]

    @property
    def executed(self):
        """What tools have left behind, over all processes."""
        path = self.directory / "executed"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def serving(tmp_path):
    """``async with serving(script) as services``"""

    @contextlib.asynccontextmanager
    async def start(script):
        async with ModelTwin(script).serving() as twin:
            yield Services(tmp_path, twin)

    return start


def texts(request):
    """What the model was shown, as (role, text)."""
    return [(role, text) for role, text in request.texts]


async def test_a_conversation_goes_on_in_the_process_behind_a_killed_one(serving):
    async with serving([Text("Hello Ada"), Text("You are Ada")]) as services:
        await services(["say", "I am Ada"], ["die"], dies=True)
        told = await services(["say", "Who am I?"])
        requests = services.twin.requests

    assert told == ["You are Ada"]
    assert texts(requests[1]) == [
        ("user", "I am Ada"),
        ("assistant", "Hello Ada"),
        ("user", "Who am I?"),
    ]


async def test_after_a_restore_and_a_kill_the_model_sees_the_restored_branch_only(serving):
    script = [Text("one"), Text("two"), Text("three")]
    async with serving(script) as services:
        _, checkpoint, _ = await services(["say", "first"], ["checkpoint"], ["say", "second"])
        await services(["restore", checkpoint], ["die"], dies=True)
        told = await services(["say", "third"], ["messages"])
        request = services.twin.requests[-1]

    branch = [("user", "first"), ("assistant", "one"), ("user", "third")]
    assert texts(request) == branch
    assert told == ["three", [list(pair) for pair in [*branch, ("assistant", "three")]]]


async def test_an_approval_that_another_process_answers_executes_its_tool_once(serving):
    script = [ToolUse("launch", {"target": "moon"}), Text("It is up")]
    async with serving(script) as services:
        (request_id,) = await services(["ask", "Launch!"], ["die"], dies=True)
        run_id = request_id.partition(":")[0]
        first, waited, late = await services(
            ["approve", request_id], ["wait", run_id], ["approve", request_id]
        )
        requests = services.twin.requests

    assert (first, late) == (True, False)
    assert waited == ["completed", "It is up"]
    assert services.executed == ["launch moon"]
    assert [result.text for result in requests[1].tool_results] == ["launched at moon"]


async def test_a_tool_that_was_cut_off_by_a_kill_is_not_executed_again_by_itself(serving):
    script = [ToolUse("hang", {"what": "on"}), Text("I do not know what came of it")]
    async with serving(script) as services:
        lines = await services.killed_while(["begin", "Hang"], ["sleep"], says="hanging")
        run_id = lines[0]
        (waited,) = await services(["wait", run_id])
        result = services.twin.requests[1].tool_results[0]

    assert waited == ["completed", "I do not know what came of it"]
    assert services.executed == ["hang on"]
    assert result.is_error
    assert "interrupted" in result.text


async def test_a_run_that_was_killed_between_two_tools_goes_on_behind_the_first(serving):
    script = [
        ToolUse("look", {"place": "sea"}),
        ToolUse("hang", {"what": "on"}),
        Text("The sea is calm"),
    ]
    async with serving(script) as services:
        lines = await services.killed_while(["begin", "Look"], ["sleep"], says="hanging")
        (waited,) = await services(["wait", lines[0]])
        last = services.twin.requests[-1]

    assert waited == ["completed", "The sea is calm"]
    assert services.executed == ["look sea", "hang on"]
    assert [result.is_error for result in last.tool_results] == [False, True]
