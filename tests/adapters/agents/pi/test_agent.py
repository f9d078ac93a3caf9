from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.adapters.agents.conformance import CHECKS, Check
from moorage.adapters.agents.pi import run as run_module
from moorage.adapters.agents.pi.agent import PiAgent
from moorage.adapters.agents.provider.hooks import Hooks
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunState

from tests.adapters.agents.conftest import SECONDS_MAX
from tests.adapters.agents.pi.fake_pi import FakePi, answer, delta, state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from moorage.runtime.agents import Agent, RunContext
    from moorage.runtime.runs import RunRequest

    from tests.adapters.agents.conftest import Pace


async def run(agent: Agent, context: RecordingContext, input: Any = "Hello") -> Ended:
    with trio.fail_after(SECONDS_MAX):
        return await execute(agent, context.request(input), context)


def told(context: RecordingContext, *types: str) -> list[Any]:
    return [event.data for event in context.events if event.type in types]


async def test_a_missing_program_is_told_before_anything_else(tmp_path: Path) -> None:
    context = RecordingContext()

    ended = await run(PiAgent(executable=tmp_path / "none"), context)

    assert getattr(ended.error, "code", None) == "provider_not_installed"
    assert "npm install" in str(ended.error)
    assert context.events == []


async def test_the_program_is_found_by_its_variable(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, *answer("Hello"))

    ended = await run(PiAgent(environment={"MOORAGE_PI": fake.path}), RecordingContext())

    assert ended.output["content"] == "Hello"


@pytest.mark.parametrize(
    "arguments",
    [
        {"turns_max": 0},
        {"permission_mode": "yolo"},
        {"approval_default": "maybe"},
        {"approval_timeout_seconds": 0},
        {"coalesce_seconds": -1},
        {"provider_options": {"mode": "text"}},
        {"environment": {"A=B": "x"}},
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        PiAgent(**arguments)


@pytest.mark.parametrize("input", [None, "", {"messages": [{"role": "assistant", "content": "x"}]}])
async def test_input_that_asks_nothing_is_refused_and_nothing_runs(
    tmp_path: Path, input: Any
) -> None:
    fake, context = FakePi(tmp_path), RecordingContext()

    ended = await run(PiAgent(executable=fake.path), context, input)

    assert isinstance(ended.error, InvalidArgument)
    assert context.events == []
    assert not (tmp_path / "log.jsonl").exists()


async def test_a_missing_key_fails_the_run_as_not_configured(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, refusal="No API key found for anthropic.\n\nUse /login to log in")

    ended = await run(PiAgent(executable=fake.path), RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_not_configured"
    assert "No API key found for anthropic." in str(ended.error)


async def test_a_program_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, ["say", delta("Well,")], ["die", 3, "out of memory\n"])
    context = RecordingContext()

    ended = await run(PiAgent(executable=fake.path), context)

    error: Any = ended.error
    assert (error.code, error.exit_code, error.stderr) == ("provider_exited", 3, "out of memory\n")
    assert context.deltas() == "Well,"
    assert told(context, "error_occurred")[0]["code"] == "provider_exited"


async def test_an_unknown_model_is_a_bad_request(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, start=[["die", 1, 'Error: Model "a/b" not found. Use --list-models']])

    ended = await run(PiAgent(executable=fake.path, model="a/b"), RecordingContext())

    assert getattr(ended.error, "code", None) == "request_invalid"


async def test_a_program_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves_nothing: None
) -> None:
    monkeypatch.setattr(run_module, "START_SECONDS", 0.2)
    fake = FakePi(tmp_path, start=[["sleep", 600]])

    ended = await run(PiAgent(executable=fake.path), RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_timeout"


async def test_garbage_is_kept_and_does_not_end_the_run(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, ["raw", "\x00 no json\n[1]\n"], *answer("Hello"))
    context = RecordingContext()

    ended = await run(PiAgent(executable=fake.path), context)

    assert ended.state is RunState.COMPLETED
    kept = [data["original"] for data in told(context, "provider_event")]
    assert {"line": "\x00 no json"} in kept
    assert {"line": "[1]"} in kept


async def test_a_flood_of_standard_error_is_bounded_and_blocks_nothing(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, ["flood", 3_000_000], ["die", 1, "the end"])

    ended = await run(PiAgent(executable=fake.path), RecordingContext())

    error: Any = ended.error
    assert len(error.stderr) <= 32_768
    assert error.stderr.endswith("the end")


@pytest.mark.parametrize("hangs", [[], [["ignore"]]], ids=["hangs", "ignores signals"])
async def test_a_cancelled_run_has_ended_within_a_second_with_its_program(
    tmp_path: Path, pace: Pace, wait_gone: Callable[..., Any], leaves_nothing: None, hangs: Any
) -> None:
    fake = FakePi(tmp_path, *hangs, ["say", delta("Well,")], ["sleep", 600])
    context = RecordingContext()
    agent = PiAgent(executable=fake.path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent, context)
        while not context.deltas():
            await trio.sleep(0.01)
        context.cancel()
        await pace.ends_within(1.0, lambda: context.ended)

    await wait_gone(fake.heard[0]["pid"])


async def after(context: RecordingContext, run_id: str) -> RecordingContext:
    """The context of the next run, in a session where the one before has ended."""
    last = context.events[-1]
    ended = attrs.evolve(last, type="run_completed", data={"output": None}, seq=last.seq + 1)
    return RecordingContext(
        run_id=run_id,
        history=[*context.events, ended],
        session_metadata=dict((await context.session.info()).metadata),
    )


def prompts(fake: FakePi) -> list[str]:
    return [heard["message"] for heard in fake.heard if heard.get("type") == "prompt"]


async def test_the_file_of_the_last_run_is_continued_with_what_is_new(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.touch()
    fake = FakePi(tmp_path, *answer("Hello"), state=state(sessionFile=str(file)))
    agent, first = PiAgent(executable=fake.path, session_directory=tmp_path), RecordingContext()

    await run(agent, first)
    await run(agent, await after(first, "second"), "And?")

    starts = [heard["arguments"] for heard in fake.heard if "arguments" in heard]
    assert "--session" not in starts[0]
    assert starts[1][starts[1].index("--session") + 1] == str(file)
    assert starts[1][starts[1].index("--session-dir") + 1] == str(tmp_path)
    assert prompts(fake) == ["Hello", "And?"]


async def test_where_the_file_is_gone_the_log_is_replayed_and_that_is_told(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, *answer("Hi you"), state=state(sessionFile=str(tmp_path / "gone")))
    agent, first = PiAgent(executable=fake.path), RecordingContext()

    await run(agent, first)
    second = await after(first, "second")
    await run(agent, second, "And?")

    assert not any("--session" in heard.get("arguments", ()) for heard in fake.heard)
    assert "user: Hello" in prompts(fake)[1]
    assert "assistant: Hi you" in prompts(fake)[1]
    assert prompts(fake)[1].endswith("And?")
    assert told(second, "error_recovered")[0]["code"] == "continuation_fallback"


async def test_native_alone_raises_where_the_file_is_gone(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, *answer("Hi"), state=state(sessionFile=str(tmp_path / "gone")))
    agent, first = PiAgent(executable=fake.path, continuation="native"), RecordingContext()

    await run(agent, first)
    second = await after(first, "second")
    ended = await run(agent, second, "And?")

    assert getattr(ended.error, "code", None) == "continuation_lost"
    assert prompts(fake) == ["Hello"]


async def test_none_begins_afresh_and_replay_never_uses_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.touch()
    fake = FakePi(tmp_path, *answer("Hi"), state=state(sessionFile=str(file)))
    agent, first = PiAgent(executable=fake.path), RecordingContext()

    await run(agent, first)
    for how in ("none", "replay"):
        input = {"prompt": "And?", "options": {"continuation": how}}
        await run(agent, await after(first, how), input)

    afresh, replayed = prompts(fake)[1:]
    assert afresh == "And?"
    assert "user: Hello" in replayed
    assert not any("--session" in heard.get("arguments", ()) for heard in fake.heard)


async def test_hooks_see_the_start_the_prompt_and_the_end(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def started(request: Any) -> None:
        seen.append("start")

    async def prompted(content: Any) -> Any:
        return content.upper()

    async def ended(request: Any, result: Any) -> None:
        seen.append(result["content"])

    fake, context = FakePi(tmp_path, *answer("Hello")), RecordingContext()
    hooks = Hooks(start=[started], prompt=[prompted], end=[ended])

    await run(PiAgent(executable=fake.path, hooks=hooks), context)

    assert seen == ["start", "Hello"]
    assert told(context, "message_sent") == [{"role": "user", "content": "HELLO"}]


async def test_variables_are_set_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    script = tmp_path / "pi"
    script.write_text('#!/bin/sh\necho "$SECRET-$ADDED-$(pwd)" >&2\nexit 7\n')
    script.chmod(0o700)
    agent = PiAgent(
        executable=script,
        environment={"SECRET": None, "ADDED": "y"},
        working_directory=tmp_path,
    )

    ended = await run(agent, RecordingContext())

    assert getattr(ended.error, "stderr", "") == f"-y-{tmp_path}\n"


async def test_the_version_is_what_the_program_says(tmp_path: Path) -> None:
    (tmp_path / "pi").write_text("#!/bin/sh\necho 9.9.9\n")
    (tmp_path / "pi").chmod(0o700)

    assert await PiAgent(executable=tmp_path / "pi").version() == "9.9.9"


class FakeFixture:
    """Behaviour for the suite, played by the fake program."""

    cancel_grace_seconds = SECONDS_MAX

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def returning(self, output: Any) -> Agent:
        """An agent around ours that reads the answer as JSON, since outputs have one form here."""
        agent = self._agent(*answer(json.dumps(output)))

        async def run(request: RunRequest, context: RunContext) -> object:
            answered: Any = await agent(request, context)
            return json.loads(answered["content"])

        return run

    def streaming(self, deltas: Sequence[str]) -> Agent:
        _, _, whole, end = answer("".join(deltas))
        return self._agent(*(["say", delta(text)] for text in deltas), whole, end)

    def failing(self, message: str) -> Agent:
        return self._agent(*answer("", stopReason="error", errorMessage=message))

    def endless(self) -> Agent:
        return self._agent(["say", delta("Well,")], ["sleep", 600])

    def _agent(self, *steps: Any) -> Agent:
        self._count += 1
        directory = self._directory / str(self._count)
        directory.mkdir()
        agent = PiAgent(executable=FakePi(directory, *steps).path)

        async def run(request: RunRequest, context: RunContext) -> object:
            # the suite's input has options that no agent of a provider knows
            plain = {"messages": request.input["messages"]}
            return await agent(attrs.evolve(request, input=plain), context)

        return run


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(check: Check, tmp_path: Path, leaves_nothing: None) -> None:
    with trio.fail_after(2 * SECONDS_MAX):
        await check(FakeFixture(tmp_path))
