"""A real agent of the Agent Client Protocol, OpenCode, against a ModelTwin."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.adapters.agents.conformance import child_processes
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.agents.killed_host import Host
from tests.adapters.agents.real_agents import require, require_program

require("acp")
require("h11")
from moorage.adapters.agents.acp import run as run_module  # noqa: E402
from moorage.adapters.agents.acp.agent import AcpAgent  # noqa: E402
from moorage.adapters.agents.model_twin import (  # noqa: E402
    HttpError,
    ModelTwin,
    Reply,
    Stall,
    Text,
    ToolUse,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.runtime.agents import Agent

    from tests.adapters.agents.conftest import Pace

pytestmark = pytest.mark.real_agent
PROGRAM = require_program("opencode", variable="MOORAGE_OPENCODE")

SECONDS_MAX = 120.0
"""Nothing here takes more than a few seconds; a busy machine may take its time."""
ECHO = ToolUse("bash", {"command": "echo hi", "description": "says hi"}, id="c1")
SLEEP = ToolUse(
    "bash", {"command": "echo $$ > pid; exec sleep 600", "description": "sleeps"}, id="c1"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, since making its database takes OpenCode longer than all the rest."""
    return tmp_path_factory.mktemp("opencode")


def environment(twin: ModelTwin, home: Path) -> dict[str, str]:
    """What makes OpenCode ask the twin, with nothing of its own anywhere else."""
    places = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "STATE", "CACHE")}
    return {**twin.configure("opencode", home / "data"), "HOME": str(home), **places}


def agent_of(twin: ModelTwin, home: Path, directory: Path, **arguments: Any) -> AcpAgent:
    return AcpAgent(
        [PROGRAM, "acp"],
        name="opencode",
        working_directory=directory,
        environment=environment(twin, home),
        **arguments,
    )


async def run(agent: Agent, context: RecordingContext, input: Any = "Hello") -> Ended:
    with trio.fail_after(SECONDS_MAX):
        return await execute(agent, context.request(input), context)


async def after(context: RecordingContext, run_id: str) -> RecordingContext:
    """The context of the next run, in a session where the one before has ended."""
    last = context.events[-1]
    ended = attrs.evolve(last, type="run_completed", data={"output": None}, seq=last.seq + 1)
    return RecordingContext(
        run_id=run_id,
        history=[*context.events, ended],
        session_metadata=dict((await context.session.info()).metadata),
    )


def told(context: RecordingContext, *types: str) -> list[Any]:
    run_id = context.run_id
    return [e.data for e in context.events if e.type in types and e.run_id == run_id]


async def command_of(directory: Path) -> int:
    """The process id of SLEEP's command, once it runs."""
    with trio.fail_after(SECONDS_MAX):
        while True:
            with suppress(FileNotFoundError, ValueError):
                return int(await trio.Path(directory / "pid").read_text())
            await trio.sleep(0.01)


async def test_two_turns_of_which_the_second_sends_what_is_new_alone(
    home: Path, tmp_path: Path
) -> None:
    context = RecordingContext()

    async with ModelTwin([Text("I am Ada"), Text("Ada")]).serving() as twin:
        agent = agent_of(twin, home, tmp_path, continuation="native", model="twin/twin")
        first = await run(agent, context, "Who are you?")
        second = await run(agent, await after(context, "second"), "Again?")

    assert (first.output["content"], second.output["content"]) == ("I am Ada", "Ada")
    assert second.output["model"] == "twin/twin"
    assert twin.requests[1].texts == [
        ("user", "Who are you?"),
        ("assistant", "I am Ada"),
        ("user", "Again?"),
    ]


@pytest.mark.parametrize("approved", [True, False])
async def test_a_tool_waits_for_an_approval(home: Path, tmp_path: Path, approved: bool) -> None:
    context = RecordingContext()
    script = [[Text("I look."), ECHO], Text("Done")]

    async with (
        ModelTwin(script).serving() as twin,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(run, agent_of(twin, home, tmp_path), context)
        with trio.fail_after(SECONDS_MAX):
            name = await context.wait_asked()
        assert len(twin.requests) == 1
        context.answer(name, {"approved": approved, "by": "ada"})
        await context.wait_ended()

    decided = "tool_approval_granted" if approved else "tool_approval_denied"
    assert told(context, decided)[0]["request_id"] == "run:c1"
    if approved:
        assert told(context, "tool_call_completed")[0]["tool_output"].strip() == "hi"
        assert twin.requests[1].tool_results[0].text.strip() == "hi"
    else:
        assert told(context, "tool_call_failed")[0]["tool_call_id"] == "c1"


async def test_a_steer_is_in_the_request_of_the_run_that_is_queued_for_it(
    home: Path, tmp_path: Path
) -> None:
    wait = "while [ ! -e go ]; do sleep 0.02; done"
    call = ToolUse("bash", {"command": wait, "description": "waits"}, id="c1")

    async with ModelTwin([call, Text("It is red"), Text("Blue then")]).serving() as twin:
        agent = agent_of(twin, home, tmp_path, permission_mode="full_auto", continuation="native")
        with trio.fail_after(SECONDS_MAX):
            async with open_supervisor(MemoryStore(), agent) as supervisor:
                session = await supervisor.session("talk")
                first = await session.submit("Paint it red")
                async with session.subscribe(after=0, types={"tool_call_started"}) as events:
                    async for _ in events:
                        break
                steered = await first.steer("Blue, please")
                queued = (await session.status()).queued
                (tmp_path / "go").touch()
                outcomes = [await first.wait(), await session.wait(steered.run_id)]

    outputs: list[Any] = [outcome.unwrap() for outcome in outcomes]
    assert not steered.steered
    assert list(queued) == [steered.run_id]
    assert [output["content"] for output in outputs] == ["It is red", "Blue then"]
    assert "Blue, please" not in twin.requests[1].text
    assert [said for said in twin.requests[2].texts if said[1]] == [
        ("user", "Paint it red"),
        ("assistant", "It is red"),
        ("user", "Blue, please"),
    ]


async def test_errors_of_the_model_are_those_of_the_taxonomy(home: Path, tmp_path: Path) -> None:
    context = RecordingContext()
    script = [HttpError(401, "invalid api key")]

    async with ModelTwin(script).serving() as twin:
        ended = await run(agent_of(twin, home, tmp_path), context)

    assert getattr(ended.error, "code", None) == "provider_authentication"


@pytest.mark.parametrize("moment", ["stream", "tool", "approval"])
async def test_a_cancel_ends_it_within_a_second_and_the_session_goes_on(
    home: Path,
    tmp_path: Path,
    moment: str,
    pace: Pace,
    monkeypatch: pytest.MonkeyPatch,
    wait_gone: Callable[..., Any],
    leaves_nothing: None,
) -> None:
    if moment == "tool":  # in the others it does not say in time that it has stopped
        monkeypatch.setattr(run_module, "CANCEL_SECONDS", SECONDS_MAX)
    first: Reply = [Text("Once upon"), Stall()] if moment == "stream" else SLEEP
    context, before = RecordingContext(), child_processes()
    mode = "default" if moment == "approval" else "full_auto"
    awaited = {"stream": "message_streamed", "tool": "tool_call_started"}
    script = [first, Text("Hello again")]

    async with ModelTwin(script).serving() as twin:
        agent = agent_of(twin, home, tmp_path, permission_mode=mode)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, agent, context, "First question")
            with trio.fail_after(SECONDS_MAX):
                while not told(context, awaited.get(moment, "tool_approval_requested")):
                    await trio.sleep(0.01)
            sleeping = [await command_of(tmp_path)] if moment == "tool" else []
            context.cancel()
            await pace.ends_within(1.0, lambda: context.ended, slowness=2.0)
        await wait_gone(*sleeping)
        ended = await run(agent, await after(context, "second"), "And?")

    assert child_processes() <= before
    assert ended.output["content"] == "Hello again"
    assert "First question" in twin.requests[1].text
    if moment == "tool":
        assert "<conversation>" not in twin.requests[1].text


async def test_a_host_that_is_killed_leaves_nothing_and_the_conversation_goes_on(
    home: Path, tmp_path: Path, wait_gone: Callable[..., Any]
) -> None:
    script = [Text("I am Ada"), [Text("Once upon"), Stall()], Text("Hello again")]
    async with ModelTwin(script).serving() as twin:
        arguments = {
            "command": [PROGRAM, "acp"],
            "name": "opencode",
            "environment": environment(twin, home),
            "working_directory": str(tmp_path),
        }
        made = (tmp_path, "moorage.adapters.agents.acp.agent:AcpAgent", arguments)
        with Host(*made) as host:
            one = await host.do("submit", input="Who are you?")
            await host.do("wait", run_id=one)
            two = await host.do("submit", input="Tell me a story")
            await host.do("event", run_id=two, type="message_streamed")
            left = host.descendants()
            host.kill()
        await wait_gone(*left)
        with Host(*made) as host:
            interrupted = await host.do("wait", run_id=two)
            three = await host.do("submit", input="And?")
            ended = await host.do("wait", run_id=three)

    assert left
    assert interrupted["state"] == "interrupted"
    assert ended["output"]["content"] == "Hello again"
    for said in ("Who are you?", "I am Ada", "Tell me a story"):
        assert said in twin.requests[2].text
