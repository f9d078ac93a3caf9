from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.adapters.agents.conformance import CHECKS, Check
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunState

from tests.adapters.agents.acp.fake_acp import FakeAcp, text, tool
from tests.adapters.agents.conftest import SECONDS_MAX

pytest.importorskip("acp")

from moorage.adapters.agents.acp import run as run_module
from moorage.adapters.agents.acp.agent import AcpAgent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from moorage.runtime.agents import Agent, RunContext
    from moorage.runtime.runs import RunRequest

    from tests.adapters.agents.conftest import Pace

RESUMES = {"sessionCapabilities": {"resume": {}}}
LOADS = {"loadSession": True}


def agent_of(fake: FakeAcp, directory: Path, **arguments: Any) -> AcpAgent:
    return AcpAgent(fake.command, working_directory=directory, **arguments)


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


def prompts(fake: FakeAcp) -> list[str]:
    return [params["prompt"][0]["text"] for params in fake.asked("session/prompt")]


async def test_a_turn_is_told_in_our_words(tmp_path: Path, leaves_nothing: None) -> None:
    fake = FakeAcp(
        tmp_path,
        text("I look."),
        tool("in_progress", first=True, kind="execute", title="ls", rawInput={"command": "ls"}),
        tool("completed", rawOutput="a.txt"),
        text("It is a.txt"),
        ["end", {"stopReason": "end_turn", "usage": {"inputTokens": 7, "outputTokens": 2}}],
        session={"configOptions": [{"id": "m", "category": "model", "currentValue": "big"}]},
    )
    context = RecordingContext()

    ended = await run(agent_of(fake, tmp_path), context)

    assert ended.output == {
        "content": "It is a.txt",
        "stop_reason": "end_turn",
        "provider": "acp",
        "model": "big",
        "turns": 2,
        "provider_session": "s-new",
    }
    assert [event.type for event in context.events] == [
        "conversation_configured",
        "message_sent",
        "message_streamed",
        "message_received",
        "tool_call_started",
        "tool_call_completed",
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "turn_completed",
    ]
    assert {event.metadata["provider"] for event in context.events if event.metadata} == {"acp"}


async def test_the_program_starts_in_its_directory_and_says_hello_first(tmp_path: Path) -> None:
    fake = FakeAcp(tmp_path)

    await run(agent_of(fake, tmp_path), RecordingContext())

    assert fake.heard[0]["cwd"] == str(tmp_path)
    assert [heard["method"] for heard in fake.heard[1:]] == [
        "initialize",
        "session/new",
        "session/prompt",
    ]
    assert fake.asked("initialize")[0]["protocolVersion"] == 1
    assert fake.asked("session/new")[0] == {"cwd": str(tmp_path), "mcpServers": []}


async def test_a_missing_program_is_told_before_anything_else() -> None:
    context = RecordingContext()

    ended = await run(AcpAgent(["no-such-agent-anywhere", "acp"]), context)

    assert getattr(ended.error, "code", None) == "provider_not_installed"
    assert context.events == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": "opencode acp"},
        {"command": []},
        {"command": ["x"], "name": "a b"},
        {"command": ["x"], "provider_options": {"thinking": "high"}},
        {"command": ["x"], "provider_options": {"mcp_servers": {"env": {"KEY": "s3cret"}}}},
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        AcpAgent(**arguments)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("capabilities", "method"), [(RESUMES, "session/resume"), (LOADS, "session/load")]
)
async def test_the_session_is_continued_with_what_is_new_alone(
    tmp_path: Path, capabilities: Any, method: str
) -> None:
    fake = FakeAcp(
        tmp_path,
        text("Hi"),
        capabilities=capabilities,
        history=[text("This was said before")[1]] if method == "session/load" else [],
    )
    agent, first = agent_of(fake, tmp_path, continuation="native"), RecordingContext()

    await run(agent, first)
    second = await after(first, "second")
    ended = await run(agent, second, "And?")

    assert fake.asked(method)[0]["sessionId"] == "s-new"
    assert prompts(fake) == ["Hello", "And?"]
    assert ended.output["content"] == "Hi"
    assert "before" not in second.deltas()


@pytest.mark.parametrize(
    "script",
    [
        {"capabilities": {}},
        {"capabilities": RESUMES, "errors": {"session/resume": {"code": -32603, "message": "?"}}},
    ],
)
async def test_a_lost_session_is_replayed_from_the_log_or_raised(
    tmp_path: Path, script: dict[str, Any]
) -> None:
    fake = FakeAcp(tmp_path, text("I am Ada"), **script)
    first = RecordingContext()

    await run(agent_of(fake, tmp_path), first, "Who are you?")
    lost = await run(
        agent_of(fake, tmp_path, continuation="native"), await after(first, "native"), "And?"
    )
    second = await after(first, "auto")
    ended = await run(agent_of(fake, tmp_path), second, "And?")

    assert getattr(lost.error, "code", None) == "continuation_lost"
    assert ended.state is RunState.COMPLETED
    assert "user: Who are you?" in prompts(fake)[1]
    assert "assistant: I am Ada" in prompts(fake)[1]
    assert prompts(fake)[1].endswith("And?")
    assert told(second, "error_recovered")[0]["code"] == "continuation_fallback"


async def test_instructions_are_told_in_front_of_the_first_prompt_alone(tmp_path: Path) -> None:
    fake = FakeAcp(tmp_path, text("Hi"), capabilities=RESUMES)
    agent, first = agent_of(fake, tmp_path, system_prompt="Be brief."), RecordingContext()

    await run(agent, first)
    await run(agent, await after(first, "second"), "And?")

    assert prompts(fake) == ["<instructions>\nBe brief.\n</instructions>\n\nHello", "And?"]


async def test_no_steers_are_taken_since_the_protocol_has_none(tmp_path: Path) -> None:
    fake, context = FakeAcp(tmp_path, text("Well,"), ["sleep", 600]), RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent_of(fake, tmp_path), context)
        while not context.deltas():
            await trio.sleep(0.01)
        taken = context.steer("Stop")
        context.cancel()

    assert taken is False


@pytest.mark.parametrize("moment", ["stream", "tool", "approval", "ignores signals"])
async def test_a_cancelled_run_has_ended_within_a_second_with_its_program(
    tmp_path: Path, moment: str, pace: Pace, wait_gone: Callable[..., Any], leaves_nothing: None
) -> None:
    running = tool("in_progress", first=True, kind="execute", rawInput={"command": "x"})
    asking = [
        "ask",
        "session/request_permission",
        {
            "toolCall": {"toolCallId": "c1"},
            "options": [{"optionId": "y", "name": "Yes", "kind": "allow_once"}],
        },
    ]
    steps = {
        "stream": [text("Well,")],
        "tool": [running],
        "approval": [running, asking],
        "ignores signals": [["ignore"], text("Well,")],
    }
    fake, context = FakeAcp(tmp_path, *steps[moment], ["sleep", 600]), RecordingContext()
    awaited = {"approval": "tool_approval_requested", "tool": "tool_call_started"}
    agent = agent_of(fake, tmp_path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent, context)
        while not told(context, awaited.get(moment, "message_streamed")):
            await trio.sleep(0.01)
        context.cancel()
        await pace.ends_within(1.0, lambda: context.ended)
    await wait_gone(fake.heard[0]["pid"])

    started = [call["tool_call_id"] for call in told(context, "tool_call_started")]
    assert [call["tool_call_id"] for call in told(context, "tool_call_failed")] == started


async def test_a_cancelled_agent_is_told_and_may_stop_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "CANCEL_SECONDS", SECONDS_MAX)
    fake = FakeAcp(
        tmp_path,
        text("Well,"),
        ["first", "until", "session/cancel"],
        ["first", "end", {"stopReason": "cancelled"}],
        capabilities=RESUMES,
    )
    context, agent = RecordingContext(), agent_of(fake, tmp_path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent, context)
        while not context.deltas():
            await trio.sleep(0.01)
        context.cancel()

        await context.wait_ended()
    second = await after(context, "second")
    ended = await run(agent, second, "And?")

    assert fake.asked("session/cancel") == [{"sessionId": "s-new"}]
    assert fake.asked("session/resume")[0]["sessionId"] == "s-new"
    assert prompts(fake) == ["Hello", "And?"]
    assert ended.state is RunState.COMPLETED


async def test_an_agent_that_does_not_say_that_it_stopped_is_told_the_log(tmp_path: Path) -> None:
    fake = FakeAcp(tmp_path, text("Well,"), ["sleep", 600], capabilities=RESUMES)
    quick = FakeAcp(tmp_path / "second", text("Hi"), capabilities=RESUMES)
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent_of(fake, tmp_path), context)
        while not context.deltas():
            await trio.sleep(0.01)
        context.cancel()
        await context.wait_ended()
    await run(agent_of(quick, tmp_path), await after(context, "second"), "And?")

    assert "user: Hello" in prompts(quick)[0]
    assert quick.asked("session/resume") == []


async def test_a_program_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    fake, context = FakeAcp(tmp_path, text("Well,"), ["die", 3, "no memory\n"]), RecordingContext()

    ended = await run(agent_of(fake, tmp_path), context)

    error: Any = ended.error
    assert (error.code, error.exit_code, error.stderr) == ("provider_exited", 3, "no memory\n")
    assert context.deltas() == "Well,"


async def test_garbage_and_a_flood_of_standard_error_end_nothing(tmp_path: Path) -> None:
    fake = FakeAcp(tmp_path, ["raw", "no json\n"], ["flood", 3_000_000], text("Hello"))
    context = RecordingContext()

    ended = await run(agent_of(fake, tmp_path), context)

    assert ended.output["content"] == "Hello"
    assert {"line": "no json"} in [d["original"] for d in told(context, "provider_event")]


async def test_a_program_that_hangs_before_it_is_asked_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.adapters.agents.acp.handshake.ANSWER_SECONDS", 0.2)
    fake = FakeAcp(tmp_path, start=[["sleep", 600]])

    ended = await run(agent_of(fake, tmp_path), RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_timeout"


async def test_an_agent_that_uses_up_its_turns_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [tool("completed", first=True), text("Once more")]
    polite = FakeAcp(tmp_path, text("One"), *more, ["until", "session/cancel"], ["end", {}])

    ended = await run(agent_of(polite, tmp_path, turns_max=1), RecordingContext())
    monkeypatch.setattr(run_module, "STOP_SECONDS", 0.2)
    stubborn = FakeAcp(tmp_path, text("One"), *more, ["sleep", 600])
    ended_too = await run(agent_of(stubborn, tmp_path, turns_max=1), RecordingContext())

    for one in (ended, ended_too):
        assert getattr(one.error, "code", None) == "turns_exceeded"


async def test_one_name_per_agent_keeps_their_sessions_apart(tmp_path: Path) -> None:
    context = RecordingContext()

    await run(agent_of(FakeAcp(tmp_path), tmp_path, name="opencode"), context)

    assert set((await context.session.info()).metadata) == {"provider_session.opencode"}


class FakeFixture:
    """Behaviour for the suite, played by the fake program."""

    cancel_grace_seconds = SECONDS_MAX

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def returning(self, output: Any) -> Agent:
        """An agent around ours that reads the answer as JSON, since outputs have one form here."""
        agent = self._agent(text(json.dumps(output)))

        async def run(request: RunRequest, context: RunContext) -> object:
            answered: Any = await agent(request, context)
            return json.loads(answered["content"])

        return run

    def streaming(self, deltas: Sequence[str]) -> Agent:
        return self._agent(*(text(delta) for delta in deltas))

    def failing(self, message: str) -> Agent:
        return self._agent(["error", {"code": -32603, "message": message}])

    def endless(self) -> Agent:
        return self._agent(text("Well,"), ["sleep", 600])

    def _agent(self, *steps: Any) -> Agent:
        self._count += 1
        directory = self._directory / str(self._count)
        directory.mkdir()
        agent = agent_of(FakeAcp(directory, *steps), directory)

        async def run(request: RunRequest, context: RunContext) -> object:
            plain = {"messages": request.input["messages"]}
            return await agent(attrs.evolve(request, input=plain), context)

        return run


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(check: Check, tmp_path: Path, leaves_nothing: None) -> None:
    with trio.fail_after(2 * SECONDS_MAX):
        await check(FakeFixture(tmp_path))
