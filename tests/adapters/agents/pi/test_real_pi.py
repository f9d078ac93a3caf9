"""The real pi, against a ModelTwin."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing
from moorage.adapters.agents.conformance import CHECKS, Check, child_processes
from moorage.adapters.agents.pi.agent import PiAgent
from moorage.adapters.agents.provider.hooks import Hooks, ReplaceResult
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.agents.killed_host import Host
from tests.adapters.agents.real_agents import require, require_program

require("h11")
from moorage.adapters.agents.model_twin import (  # noqa: E402
    Cut,
    HttpError,
    ModelTwin,
    Reply,
    Stall,
    Text,
    Thinking,
    ToolUse,
)
from moorage.adapters.agents.model_twin.client_settings import KEY  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from moorage.runtime.agents import Agent, RunContext
    from moorage.runtime.runs import RunRequest

    from tests.adapters.agents.conftest import Pace

pytestmark = pytest.mark.real_agent
PROGRAM = require_program("pi", variable="MOORAGE_PI")

SECONDS_MAX = 120.0
"""Nothing here takes more than a few seconds; a busy machine may take its time."""
SLEEP = ToolUse("bash", {"command": "echo $$ > pid; exec sleep 600"}, id="c1")
"""pi gives commands a session of their own, so that no signal to its group reaches them."""
ECHO = ToolUse("bash", {"command": "echo hi"}, id="c1")


def agent_of(twin: ModelTwin, directory: Path, **arguments: Any) -> PiAgent:
    environment = twin.configure("pi", directory / "pi")
    made: dict[str, Any] = {
        "executable": PROGRAM,
        "environment": environment,
        "working_directory": str(directory),
        "session_directory": str(directory / "sessions"),
        "provider_options": {"auto_retry": False},
        **arguments,
    }
    return PiAgent(**made)


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


async def wait_told(context: RecordingContext, type_: str) -> None:
    with trio.fail_after(SECONDS_MAX):
        while not told(context, type_):
            await trio.sleep(0.01)


async def command_of(directory: Path) -> int:
    """The process id of SLEEP's command, once it runs."""
    with trio.fail_after(SECONDS_MAX):
        while True:
            with suppress(FileNotFoundError, ValueError):
                return int(await trio.Path(directory / "pid").read_text())
            await trio.sleep(0.01)


async def test_a_turn_with_a_tool_is_told_in_our_words(
    tmp_path: Path, leaves_nothing: None
) -> None:
    script = [[Thinking("hm"), Text("I look."), ECHO], Text("It says hi")]
    context = RecordingContext()

    async with ModelTwin(script).serving() as twin:
        ended = await run(agent_of(twin, tmp_path, permission_mode="full_auto"), context)

    assert ended.output["content"] == "It says hi"
    assert ended.output["turns"] == 2
    assert [e.type for e in context.events if e.type != "provider_event"] == [
        "conversation_configured",
        "message_sent",
        "message_streamed",
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "tool_call_started",
        "tool_call_completed",
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "turn_completed",
    ]
    assert told(context, "tool_call_completed")[0]["tool_output"] == "hi\n"
    assert told(context, "message_received")[0]["blocks"][0] == {"type": "thinking", "text": "hm"}


async def test_a_conversation_goes_on_natively_with_what_is_new_alone(tmp_path: Path) -> None:
    context = RecordingContext()

    async with ModelTwin([Text("I am Ada"), Text("Ada")]).serving() as twin:
        agent = agent_of(twin, tmp_path)
        await run(agent, context, "Who are you?")
        ended = await run(agent, await after(context, "second"), "Again?")

    assert ended.output["content"] == "Ada"
    assert twin.requests[1].texts == [
        ("user", "Who are you?"),
        ("assistant", "I am Ada"),
        ("user", "Again?"),
    ]


async def test_settings_reach_the_model(tmp_path: Path) -> None:
    async with ModelTwin([Text("Hello")]).serving() as twin:
        agent = agent_of(
            twin,
            tmp_path,
            model="twin/twin",
            system_prompt="You are a parrot.",
            permission_mode="plan",
        )
        await run(
            agent,
            RecordingContext(),
            {
                "messages": [
                    {"role": "system", "content": "Be green."},
                    {"role": "user", "content": "Hi"},
                ]
            },
        )

    (asked,) = twin.requests
    assert "You are a parrot." in asked.system
    assert "Be green." in asked.system
    assert sorted(asked.tools) == ["find", "grep", "ls", "read"]


@pytest.mark.parametrize("approved", [True, False])
async def test_a_tool_waits_for_an_approval(tmp_path: Path, approved: bool) -> None:
    context = RecordingContext()
    ended: list[Ended] = []

    async def ask(agent: Agent) -> None:
        ended.append(await run(agent, context))

    async with ModelTwin([ECHO, Text("Done")]).serving() as twin, trio.open_nursery() as nursery:
        nursery.start_soon(ask, agent_of(twin, tmp_path))
        name = await context.wait_asked()
        assert len(twin.requests) == 1
        context.answer(name, {"approved": approved, "reason": "not now", "by": "ada"})

    assert ended[0].output["content"] == "Done"
    (result,) = twin.requests[1].tool_results
    assert result.text.strip() == ("hi" if approved else "not now")
    decided = "tool_approval_granted" if approved else "tool_approval_denied"
    assert told(context, decided)[0]["request_id"] == "run:c1"
    assert len(told(context, "tool_call_completed", "tool_call_failed")) == 1


async def test_a_hook_replaces_what_a_tool_gave(tmp_path: Path) -> None:
    async def after_tool(call: Any, result: Any) -> Any:
        return ReplaceResult("secret" if result.output == "hi\n" else "odd")

    async with ModelTwin([ECHO, Text("Done")]).serving() as twin:
        hooks = Hooks(after_tool=[after_tool])
        agent = agent_of(twin, tmp_path, permission_mode="full_auto", hooks=hooks)
        await run(agent, RecordingContext())

    assert twin.requests[1].tool_results[0].text == "secret"


async def test_a_steer_is_in_the_next_request_with_the_results_of_all_tools(
    tmp_path: Path, pace: Pace
) -> None:
    wait = "while [ ! -e go ]; do sleep 0.02; done"
    slow = [ToolUse("bash", {"command": f"{wait}; echo {n}"}, id=f"c{n}") for n in (1, 2)]
    context = RecordingContext()

    async with ModelTwin([slow, Text("Stopped")]).serving() as twin, trio.open_nursery() as nursery:
        nursery.start_soon(run, agent_of(twin, tmp_path, permission_mode="full_auto"), context)
        await wait_told(context, "tool_call_started")
        assert context.steer("Stop, please", id="s1")
        await pace.programs_had_time()
        (tmp_path / "go").touch()
        await context.wait_ended()

    assert twin.requests[1].prompt == "Stop, please"
    assert [result.id for result in twin.requests[1].tool_results] == ["c1", "c2"]
    assert told(context, "message_sent")[-1]["steer_id"] == "s1"


async def test_turns_max_ends_the_run_before_the_model_is_asked_again(tmp_path: Path) -> None:
    context = RecordingContext()

    async with ModelTwin([ECHO, ECHO, Text("Never")]).serving() as twin:
        agent = agent_of(twin, tmp_path, permission_mode="full_auto", turns_max=2)
        ended = await run(agent, context)

    assert getattr(ended.error, "code", None) == "turns_exceeded"
    assert len(twin.requests) == 2


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (HttpError(401, "bad key"), "provider_authentication"),
        (HttpError(429, "slow down"), "provider_rate_limited"),
        (HttpError(500, "broken"), "provider_unavailable"),
        (HttpError(503, "the model is overloaded"), "provider_overloaded"),
        ([Text("Well, "), Cut()], "connection_lost"),
    ],
)
async def test_errors_of_the_model_are_those_of_the_taxonomy(
    tmp_path: Path, reply: Reply, code: str
) -> None:
    context = RecordingContext()

    async with ModelTwin(lambda request: reply).serving() as twin:
        ended = await run(agent_of(twin, tmp_path), context)

    assert getattr(ended.error, "code", None) == code
    assert told(context, "error_occurred")[-1]["code"] == code
    assert KEY not in json.dumps([event.data for event in context.events], default=str)


async def test_a_session_goes_on_natively_after_a_failed_run(tmp_path: Path) -> None:
    context = RecordingContext()

    async with ModelTwin([HttpError(500, "broken"), Text("Hello again")]).serving() as twin:
        agent = agent_of(twin, tmp_path)
        await run(agent, context, "First question")
        ended = await run(agent, await after(context, "second"), "And?")

    assert ended.output["content"] == "Hello again"
    assert "First question" in twin.requests[1].text
    assert "<conversation>" not in twin.requests[1].text


async def test_what_pi_asks_again_is_told_as_an_error_and_its_recovery(tmp_path: Path) -> None:
    context = RecordingContext()

    async with ModelTwin([[Text("Well, "), Cut()], Text("Hello")]).serving() as twin:
        ended = await run(agent_of(twin, tmp_path, provider_options={}), context)

    assert (ended.output["content"], ended.output["turns"]) == ("Hello", 1)
    assert [error["code"] for error in told(context, "error_occurred")] == ["connection_lost"]
    assert [error["code"] for error in told(context, "error_recovered")] == ["provider_retried"]


async def test_calls_that_cannot_be_executed_fail_and_the_model_goes_on(tmp_path: Path) -> None:
    calls = [ToolUse("bash", raw_arguments='{"command": ', id="c1"), ToolUse("nosuch", id="c2")]
    context = RecordingContext()

    async with ModelTwin([calls, Text("Sorry")]).serving() as twin:
        ended = await run(agent_of(twin, tmp_path), context)

    assert ended.output["content"] == "Sorry"
    failed = [call["tool_call_id"] for call in told(context, "tool_call_failed")]
    assert sorted(failed) == ["c1", "c2"]
    assert [result.id for result in twin.requests[1].tool_results] == ["c1", "c2"]


async def test_an_approval_comes_from_whoever_has_the_session(tmp_path: Path) -> None:
    async with ModelTwin([ECHO, Text("Done")]).serving() as twin:
        agent = agent_of(twin, tmp_path)
        async with open_supervisor(MemoryStore(), agent) as supervisor:
            session = await supervisor.session("talk")
            run = await session.submit("Hello")
            with trio.fail_after(SECONDS_MAX):
                async with session.subscribe(types={"tool_approval_requested"}) as events:
                    async for event in events:
                        await session.approve(event.data["request_id"], by="ada")
                        break
                outcome = await run.wait()
            late = await session.deny(f"{run.id}:c1")

    output: Any = outcome.unwrap()
    assert output["content"] == "Done"
    assert twin.requests[1].tool_results[0].text.strip() == "hi"
    assert not late


async def test_a_missing_key_is_told_before_a_model_is_asked(tmp_path: Path) -> None:
    async with ModelTwin().serving() as twin:
        environment = {"ANTHROPIC_API_KEY": None, "ANTHROPIC_OAUTH_TOKEN": None}
        agent = agent_of(twin, tmp_path, model="anthropic/claude-sonnet-4-5")
        settings = {**twin.configure("pi", tmp_path / "pi"), **environment}
        agent = agent_of(twin, tmp_path, model="anthropic/claude-sonnet-4-5", environment=settings)
        ended = await run(agent, RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_not_configured"


@pytest.mark.parametrize("moment", ["stream", "tool", "approval"])
async def test_a_cancel_ends_pi_within_a_second_and_the_session_goes_on(
    tmp_path: Path, moment: str, pace: Pace, wait_gone: Callable[..., Any], leaves_nothing: None
) -> None:
    first: Reply = [Text("Once upon"), Stall()] if moment == "stream" else SLEEP
    context, before = RecordingContext(), child_processes()
    mode = "default" if moment == "approval" else "full_auto"

    async with ModelTwin([first, Text("Hello again")]).serving() as twin:
        agent = agent_of(twin, tmp_path, permission_mode=mode)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, agent, context, "First question")
            if moment == "approval":
                await context.wait_asked()
            else:
                type_ = "message_streamed" if moment == "stream" else "tool_call_started"
                await wait_told(context, type_)
            sleeping = [await command_of(tmp_path)] if moment == "tool" else []
            context.cancel()
            await pace.ends_within(1.0, lambda: context.ended, slowness=2.0)
        await wait_gone(*sleeping)
        ended = await run(agent, await after(context, "second"), "And?")

    assert child_processes() <= before
    assert ended.output["content"] == "Hello again"
    assert "First question" in twin.requests[1].text
    assert "<conversation>" not in twin.requests[1].text
    made = told(context, "tool_call_started")
    assert len(told(context, "tool_call_failed")) == len(made)


async def test_a_host_that_is_killed_leaves_nothing_and_the_conversation_goes_on(
    tmp_path: Path, wait_gone: Callable[..., Any]
) -> None:
    script = [Text("I am Ada"), [Text("Once upon"), Stall()], Text("Hello again")]
    async with ModelTwin(script).serving() as twin:
        arguments = {
            "executable": PROGRAM,
            "environment": twin.configure("pi", tmp_path / "pi"),
            "working_directory": str(tmp_path),
            "session_directory": str(tmp_path / "sessions"),
        }
        made = (tmp_path, "moorage.adapters.agents.pi.agent:PiAgent", arguments)
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
    said = twin.requests[2].text
    assert "Who are you?" in said
    assert "I am Ada" in said
    assert "Tell me a story" in said


async def test_a_host_that_is_killed_leaves_no_command_of_pis_tools(
    tmp_path: Path, wait_gone: Callable[..., Any]
) -> None:
    async with ModelTwin([SLEEP]).serving() as twin:
        arguments = {
            "executable": PROGRAM,
            "environment": twin.configure("pi", tmp_path / "pi"),
            "working_directory": str(tmp_path),
            "permission_mode": "full_auto",
        }
        made = (tmp_path, "moorage.adapters.agents.pi.agent:PiAgent", arguments)
        with Host(*made) as host:
            await host.do("submit", input="Sleep")
            sleeping = await command_of(tmp_path)
            host.kill()
        await wait_gone(sleeping)


async def test_the_second_turn_knows_the_first_after_a_restart(tmp_path: Path) -> None:
    async with ModelTwin([Text("I am Ada"), Text("Ada")]).serving() as twin:
        arguments = {
            "executable": PROGRAM,
            "environment": twin.configure("pi", tmp_path / "pi"),
            "working_directory": str(tmp_path),
            "continuation": "native",
        }
        made = (tmp_path, "moorage.adapters.agents.pi.agent:PiAgent", arguments)
        for question in ("Who are you?", "Again?"):
            with Host(*made) as host:
                run_id = await host.do("submit", input=question)
                await host.do("wait", run_id=run_id)

    assert twin.requests[1].texts == [
        ("user", "Who are you?"),
        ("assistant", "I am Ada"),
        ("user", "Again?"),
    ]


class TwinFixture:
    """Behaviour for the suite, scripted at a twin."""

    cancel_grace_seconds = SECONDS_MAX

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.twin = ModelTwin(lambda request: self.said)
        self.said: Reply = ""

    def returning(self, output: Any) -> Agent:
        agent = self._agent(json.dumps(output))

        async def run(request: RunRequest, context: RunContext) -> object:
            answered: Any = await agent(request, context)
            return json.loads(answered["content"])

        return run

    def streaming(self, deltas: Sequence[str]) -> Agent:
        return self._agent([Text(delta, pieces=1) for delta in deltas])

    def failing(self, message: str) -> Agent:
        return self._agent(HttpError(400, message))

    def endless(self) -> Agent:
        return self._agent([Text("Well,"), Stall()])

    def _agent(self, said: Reply) -> Agent:
        self.said = said
        agent = agent_of(self.twin, self.directory)

        async def run(request: RunRequest, context: RunContext) -> object:
            plain = {"messages": request.input["messages"]}
            return await agent(attrs.evolve(request, input=plain), context)

        return run


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(check: Check, tmp_path: Path, leaves_nothing: None) -> None:
    fixture = TwinFixture(tmp_path)
    with trio.fail_after(2 * SECONDS_MAX):
        async with fixture.twin.serving():
            await trio.testing.wait_all_tasks_blocked()  # the twin's tasks are there from now on
            await check(fixture)
