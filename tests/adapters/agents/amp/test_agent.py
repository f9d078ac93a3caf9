from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.adapters.agents.amp.agent import AmpAgent
from moorage.adapters.agents.conformance import CHECKS, Check
from moorage.adapters.agents.provider.hooks import Hooks
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunState

from tests.adapters.agents.amp.stand_in import THREAD, StandIn, answer, result
from tests.adapters.agents.conftest import SECONDS_MAX
from tests.adapters.agents.killed_host import Host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.runtime.agents import Agent, RunContext
    from moorage.runtime.runs import RunRequest

    from tests.adapters.agents.conftest import Pace

BASH = ["tool", "toolu_1", "Bash", {"cmd": "ls"}, "a.txt"]


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


async def test_a_turn_with_a_tool_is_told_in_our_words(
    tmp_path: Path, leaves_nothing: None
) -> None:
    amp = StandIn(tmp_path, BASH, answer("It is a.txt", thinking="hm"), result("It is a.txt"))
    context = RecordingContext()

    ended = await run(AmpAgent(executable=amp.path, permission_mode="full_auto"), context)

    assert ended.output == {
        "content": "It is a.txt",
        "stop_reason": "end_turn",
        "provider": "amp",
        "model": None,
        "turns": 2,
        "provider_session": THREAD,
    }
    assert [event.type for event in context.events] == [
        "conversation_configured",
        "message_sent",
        "provider_event",
        "message_received",
        "token_usage_updated",
        "tool_call_started",
        "tool_call_completed",
        "message_streamed",
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "turn_completed",
    ]
    done = told(context, "tool_call_completed")[0]
    assert (done["tool_name"], done["tool_output"]) == ("Bash", "a.txt")


async def test_amp_is_started_as_its_manual_says(tmp_path: Path) -> None:
    amp = StandIn(tmp_path, answer("Hi"))
    agent = AmpAgent(
        executable=amp.path,
        model="high",
        permission_mode="full_auto",
        working_directory=tmp_path,
        provider_options={"effort": "low"},
    )

    await run(agent, RecordingContext())

    assert amp.starts == [
        [
            "--execute",
            "--stream-json",
            "--stream-json-thinking",
            "--stream-json-input",
            "--dangerously-allow-all",
            "--mode",
            "high",
            "--effort",
            "low",
        ]
    ]
    assert amp.heard[0]["cwd"] == str(tmp_path)


@pytest.mark.parametrize("with_result", [True, False])
async def test_the_turn_is_over_with_or_without_a_result(tmp_path: Path, with_result: bool) -> None:
    amp = StandIn(tmp_path, answer("Hi"), *([result("Hi")] if with_result else []))

    ended = await run(AmpAgent(executable=amp.path), RecordingContext())

    assert ended.output["content"] == "Hi"


async def test_the_thread_is_continued_with_what_is_new_alone(tmp_path: Path) -> None:
    amp = StandIn(tmp_path, answer("Hi"))
    agent = AmpAgent(executable=amp.path, system_prompt="Be brief.", continuation="native")
    first = RecordingContext()

    lost_before = await run(agent, first)
    await run(agent, await after(first, "second"), "And?")

    assert lost_before.state is RunState.COMPLETED
    assert amp.starts[1][:3] == ["threads", "continue", THREAD]
    assert amp.prompts == ["<instructions>\nBe brief.\n</instructions>\n\nHello", "And?"]


async def test_a_lost_thread_is_replayed_from_the_log_or_raised(tmp_path: Path) -> None:
    amp = StandIn(tmp_path, answer("I am Ada"), lost=True)
    first = RecordingContext()

    await run(AmpAgent(executable=amp.path), first, "Who are you?")
    native = AmpAgent(executable=amp.path, continuation="native")
    lost = await run(native, await after(first, "native"), "And?")
    second = await after(first, "auto")
    ended = await run(AmpAgent(executable=amp.path), second, "And?")

    assert getattr(lost.error, "code", None) == "continuation_lost"
    assert ended.state is RunState.COMPLETED
    assert "user: Who are you?" in amp.prompts[-1]
    assert "assistant: I am Ada" in amp.prompts[-1]
    assert told(second, "error_recovered")[0]["code"] == "continuation_fallback"
    assert told(second, "message_sent") == [{"role": "user", "content": "And?"}]


async def test_a_missing_program_is_told_before_anything_else(tmp_path: Path) -> None:
    context = RecordingContext()

    ended = await run(AmpAgent(executable=tmp_path / "none"), context)

    assert getattr(ended.error, "code", None) == "provider_not_installed"
    assert context.events == []


async def test_an_amp_that_nobody_logged_in_to_is_not_configured(tmp_path: Path) -> None:
    amp = StandIn(tmp_path, start=[["die", 1, "Error: no API key. Run amp login\n"]])

    ended = await run(AmpAgent(executable=amp.path), RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_not_configured"


async def test_settings_of_amps_own_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    amp = StandIn(tmp_path, answer("Hi"))
    environment = {"AMP_SETTINGS_FILE": str(tmp_path / "settings.json")}

    ended = await run(AmpAgent(executable=amp.path, environment=environment), RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_not_configured"


@pytest.mark.parametrize(
    "arguments", [{"turns_max": 0}, {"provider_options": {"execute": True}}, {"model": ""}]
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        AmpAgent(**arguments)


async def test_a_program_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    amp, context = StandIn(tmp_path, BASH, ["die", 3, "no memory\n"]), RecordingContext()

    ended = await run(AmpAgent(executable=amp.path, permission_mode="full_auto"), context)

    error: Any = ended.error
    assert (error.code, error.exit_code, error.stderr) == ("provider_exited", 3, "no memory\n")
    assert told(context, "error_occurred")[0]["code"] == "provider_exited"


async def test_garbage_and_a_flood_of_standard_error_end_nothing(tmp_path: Path) -> None:
    amp = StandIn(tmp_path, ["raw", "no json\n"], ["flood", 3_000_000], answer("Hi"))
    context = RecordingContext()

    ended = await run(AmpAgent(executable=amp.path), context)

    assert ended.output["content"] == "Hi"
    assert {"line": "no json"} in [d["original"] for d in told(context, "provider_event")]


async def test_hooks_see_the_start_the_prompt_and_the_end(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def prompted(content: Any) -> Any:
        return content.upper()

    async def ended(request: Any, result: Any) -> None:
        seen.append(result["content"])

    amp = StandIn(tmp_path, answer("Hi"))
    await run(
        AmpAgent(executable=amp.path, hooks=Hooks(prompt=[prompted], end=[ended])),
        RecordingContext(),
    )

    assert seen == ["Hi"]
    assert amp.prompts == ["HELLO"]


@pytest.mark.parametrize("moment", ["stream", "approval", "ignores signals"])
async def test_a_cancelled_run_has_ended_within_a_second_with_its_program(
    tmp_path: Path, moment: str, pace: Pace, wait_gone: Callable[..., Any], leaves_nothing: None
) -> None:
    first = answer("Well,")
    first[1]["message"]["stop_reason"] = None
    hangs = [["ignore"]] if moment == "ignores signals" else []
    amp = StandIn(tmp_path, *hangs, BASH if moment == "approval" else first, ["sleep", 600])
    context = RecordingContext()
    awaited = "tool_approval_requested" if moment == "approval" else "message_streamed"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, AmpAgent(executable=amp.path), context)
        while not told(context, awaited):
            await trio.sleep(0.01)
        context.cancel()
        await pace.ends_within(1.0, lambda: context.ended)
    await wait_gone(amp.heard[0]["pid"])

    assert len(told(context, "tool_call_failed")) == len(told(context, "tool_call_started"))


async def test_a_host_that_is_killed_leaves_nothing_and_the_conversation_goes_on(
    tmp_path: Path, wait_gone: Callable[..., Any]
) -> None:
    first = answer("Once upon")
    first[1]["message"]["stop_reason"] = None
    amp = StandIn(tmp_path, first, ["sleep", 600])
    made = (tmp_path, "moorage.adapters.agents.amp.agent:AmpAgent", {"executable": amp.path})

    with Host(*made) as host:
        one = await host.do("submit", input="Tell me a story")
        await host.do("event", run_id=one, type="message_received")
        left = host.descendants()
        host.kill()
    await wait_gone(*left)
    StandIn(tmp_path, answer("The end"))
    with Host(*made) as host:
        interrupted = await host.do("wait", run_id=one)
        two = await host.do("submit", input="And?")
        ended = await host.do("wait", run_id=two)

    assert left
    assert interrupted["state"] == "interrupted"
    assert ended["output"]["content"] == "The end"
    assert "Tell me a story" in amp.prompts[-1]


class StandInFixture:
    """Behaviour for the suite, played by the stand-in."""

    cancel_grace_seconds = SECONDS_MAX

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def returning(self, output: Any) -> Agent:
        """An agent around ours that reads the answer as JSON, since outputs have one form here."""
        agent = self._agent(answer(json.dumps(output)))

        async def run(request: RunRequest, context: RunContext) -> object:
            answered: Any = await agent(request, context)
            return json.loads(answered["content"])

        return run

    def streaming(self, deltas: Any) -> Agent:
        return self._agent(answer("".join(deltas)))

    def failing(self, message: str) -> Agent:
        error = {"subtype": "error_during_execution", "is_error": True, "error": message}
        return self._agent(result("", **error), ["die", 1, ""])

    def endless(self) -> Agent:
        return self._agent(["sleep", 600])

    def _agent(self, *steps: Any) -> Agent:
        self._count += 1
        directory = self._directory / str(self._count)
        directory.mkdir()
        agent = AmpAgent(executable=StandIn(directory, *steps).path)

        async def run(request: RunRequest, context: RunContext) -> object:
            plain = {"messages": request.input["messages"]}
            return await agent(attrs.evolve(request, input=plain), context)

        return run


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(check: Check, tmp_path: Path, leaves_nothing: None) -> None:
    with trio.fail_after(2 * SECONDS_MAX):
        await check(StandInFixture(tmp_path))
