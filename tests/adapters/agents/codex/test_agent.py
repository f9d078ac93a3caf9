from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.agents.codex.agent import CodexAgent
from moorage.adapters.agents.provider.hooks import Allow, ChangeInput, Deny, Hooks, ReplaceResult
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunState

from tests.adapters.agents.codex.fake_codex import (
    COMMAND,
    THREAD,
    FakeCodex,
    answer,
    began,
    delta,
    end,
    item,
    tell,
    usage,
)
from tests.adapters.agents.conftest import SECONDS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.adapters.agents.conftest import Pace

APPROVAL = ["ask", "item/commandExecution/requestApproval", {"itemId": "call-1", "command": "ls"}]


async def run(agent: Any, context: RecordingContext, input: Any = "Hello") -> Ended:
    with trio.fail_after(SECONDS_MAX):
        return await execute(agent, context.request(input), context)


def told(context: RecordingContext, *types: str) -> list[Any]:
    return [event.data for event in context.events if event.type in types]


async def until_it_speaks(context: RecordingContext) -> None:
    """From then on its turn can be steered."""
    while not told(context, "message_streamed"):
        await trio.sleep(0.01)


async def after_one_word() -> RecordingContext:
    """A run in a session where something was said that the thread knows of."""
    before = RecordingContext(run_id="before")
    await before.session.append("message_sent", {"role": "user", "content": "Hm."})
    handle = {"provider_session.codex": {"id": THREAD, "seq": 1}}
    return RecordingContext(history=before.events, session_metadata=handle)


def called(*between: Any, status: str = "completed", **fields: Any) -> list[Any]:
    """A turn with one command, and what happens between its start and its end."""
    started = item("started", **COMMAND, status="inProgress")
    completed = item(
        "completed", **COMMAND, **{"aggregatedOutput": "a", "exitCode": 0, **fields}, status=status
    )
    return [*began(), started, *between, completed, usage(1), *answer("Done.", 2)[2:]]


async def test_a_missing_program_is_told_before_anything_else(tmp_path: Path) -> None:
    context = RecordingContext()

    ended = await run(CodexAgent(executable=tmp_path / "none"), context)

    assert getattr(ended.error, "code", None) == "provider_not_installed"
    assert "moorage[codex]" in str(ended.error)
    assert context.events == []


async def test_the_version_is_what_the_program_says(tmp_path: Path) -> None:
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\necho WARNING: careful >&2\necho codex-cli 1.2.3\n")
    program.chmod(0o755)

    assert await CodexAgent(executable=program).version() == "codex-cli 1.2.3"


@pytest.mark.parametrize(
    "arguments",
    [
        {"turns_max": 0},
        {"permission_mode": "yolo"},
        {"approval_default": "maybe"},
        {"approval_timeout_seconds": 0},
        {"coalesce_seconds": -1},
        {"environment": {"A=B": "x"}},
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        CodexAgent(**arguments)


@pytest.mark.parametrize("input", [None, "", {"messages": [{"role": "assistant", "content": "x"}]}])
async def test_input_that_asks_nothing_is_refused_and_nothing_starts(
    tmp_path: Path, input: Any
) -> None:
    fake, context = FakeCodex(tmp_path), RecordingContext()

    ended = await run(CodexAgent(executable=fake.path), context, input)

    assert isinstance(ended.error, InvalidArgument)
    assert (context.events, fake.starts()) == ([], [])


async def test_settings_reach_the_thread(tmp_path: Path) -> None:
    fake = FakeCodex(tmp_path, answer("Hi"))
    agent = CodexAgent(
        executable=fake.path,
        model="gpt-x",
        system_prompt="Be kind.",
        working_directory=tmp_path,
        permission_mode="plan",
        provider_options={"model_reasoning_effort": "low"},
    )
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    await run(agent, RecordingContext(), {"messages": messages})

    assert fake.heard("thread/start") == [
        {
            "model": "gpt-x",
            "cwd": str(tmp_path),
            "developerInstructions": "Be kind.\n\nBe brief.",
            "config": {"model_reasoning_effort": "low"},
            "approvalPolicy": "never",
            "sandbox": "read-only",
        }
    ]
    assert fake.starts()[0]["arguments"] == ["app-server"]
    assert fake.starts()[0]["cwd"] == str(tmp_path)
    assert [i["text"] for i in fake.heard("turn/start")[0]["input"]] == ["Hi"]


async def test_an_answer_is_told_and_is_the_output(tmp_path: Path) -> None:
    fake, context = FakeCodex(tmp_path, answer("Hello Ada")), RecordingContext()

    ended = await run(CodexAgent(executable=fake.path), context)

    assert ended.output == {
        "content": "Hello Ada",
        "stop_reason": "end_turn",
        "provider": "codex",
        "model": "gpt",
        "turns": 1,
        "provider_session": THREAD,
    }
    assert [event.type for event in context.events] == [
        "conversation_configured",
        "message_sent",
        "message_streamed",
        "message_received",
        "token_usage_updated",
        "turn_completed",
    ]
    handle = (await context.session.info()).metadata["provider_session.codex"]
    assert (handle["id"], handle["run_id"]) == (THREAD, "run")


async def test_nobody_logged_in_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    account = {"account": None, "requiresOpenaiAuth": True}
    fake = FakeCodex(tmp_path, answer("Hi"), account_read=[[["answer", account]]])
    context = RecordingContext()

    ended = await run(CodexAgent(executable=fake.path), context)

    assert getattr(ended.error, "code", None) == "provider_not_configured"
    assert told(context, "message_sent") == []
    assert fake.heard("turn/start") == []


async def test_a_key_that_is_missing_is_told_before_the_program_starts(tmp_path: Path) -> None:
    fake = FakeCodex(tmp_path, answer("Hi"))
    options = {"model_provider": "own", "model_providers": {"own": {"env_key": "OWN_KEY"}}}
    agent = CodexAgent(
        executable=fake.path, provider_options=options, environment={"OWN_KEY": None}
    )

    ended = await run(agent, RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_not_configured"
    assert "OWN_KEY" in str(ended.error)
    assert fake.starts() == []


async def test_a_program_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    fake = FakeCodex(tmp_path, [*began(), delta("Well,"), ["die", 3, "out of memory\n"]])
    context = RecordingContext()

    ended = await run(CodexAgent(executable=fake.path), context)

    error: Any = ended.error
    assert (error.code, error.exit_code, error.stderr) == ("provider_exited", 3, "out of memory\n")
    assert context.deltas() == "Well,"
    assert told(context, "error_occurred")[0]["code"] == "provider_exited"


async def test_a_flood_of_standard_error_is_bounded_and_blocks_nothing(tmp_path: Path) -> None:
    fake = FakeCodex(tmp_path, [*began(), ["flood", 3_000_000], ["die", 1, "the end"]])

    ended = await run(CodexAgent(executable=fake.path, stderr_bytes_max=1_000), RecordingContext())

    error: Any = ended.error
    assert len(error.stderr) == 1_000
    assert error.stderr.endswith("the end")


async def test_garbage_is_kept_and_does_not_end_the_run(tmp_path: Path) -> None:
    fake = FakeCodex(tmp_path, [["raw", "no json\n[1]\n"], *answer("Hi")])
    context = RecordingContext()

    ended = await run(CodexAgent(executable=fake.path), context)

    assert ended.state is RunState.COMPLETED
    originals = [data["original"] for data in told(context, "provider_event")]
    assert originals == [{"line": "no json"}, {"line": "[1]"}]


@pytest.mark.usefixtures("leaves_nothing")
async def test_a_server_that_hangs_when_it_starts_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.adapters.agents.codex.agent.REQUEST_SECONDS", 0.2)
    fake, context = FakeCodex(tmp_path, initialize=[[["sleep", 600]]]), RecordingContext()

    ended = await run(CodexAgent(executable=fake.path), context)

    assert getattr(ended.error, "code", None) == "provider_timeout"
    assert told(context, "message_sent") == []


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("hangs", [[], [["ignore"]]], ids=["hangs", "ignores signals"])
async def test_a_server_that_hangs_is_cancelled_within_a_second(
    tmp_path: Path, pace: Pace, wait_gone: Callable[..., Any], hangs: Any
) -> None:
    fake = FakeCodex(tmp_path, [*hangs, *called()[:3], ["sleep", 600]])
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, CodexAgent(executable=fake.path), context)
        while not told(context, "tool_call_started"):
            await trio.sleep(0.01)
        context.cancel()
        await pace.ends_within(1.0, lambda: context.ended)

    await wait_gone(fake.starts()[0]["pid"])
    assert told(context, "tool_call_failed")[0]["error"]["code"] == "interrupted"


async def test_a_failed_turn_fails_the_run(tmp_path: Path) -> None:
    error = {"message": "slow down", "codexErrorInfo": "rateLimitExceeded"}
    fake, context = FakeCodex(tmp_path, [*began(), end("failed", error)]), RecordingContext()

    ended = await run(CodexAgent(executable=fake.path), context)

    assert getattr(ended.error, "code", None) == "provider_rate_limited"
    assert told(context, "error_occurred") == [
        {
            "code": "provider_rate_limited",
            "category": "limit",
            "message": "codex: slow down",
            "retryable": True,
        }
    ]


async def test_turns_are_bounded_by_an_interrupt(tmp_path: Path) -> None:
    turn = [*called()[:4], usage(1), ["hear", "turn/interrupt", ["answer", {}]], end("interrupted")]
    fake = FakeCodex(tmp_path, turn)

    ended = await run(CodexAgent(executable=fake.path, turns_max=1), RecordingContext())

    assert getattr(ended.error, "code", None) == "turns_exceeded"
    assert fake.heard("turn/interrupt") == [{"threadId": THREAD, "turnId": "turn-1"}]


async def test_a_program_that_loses_a_race_at_its_first_start_is_started_again(
    tmp_path: Path,
) -> None:
    lost = ["die", 1, "Error: failed to initialize sqlite state runtime under /x\n"]
    fake, context = FakeCodex(tmp_path, initialize=[[lost]]), RecordingContext()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moorage.adapters.agents.codex.agent.RACE_PAUSES", (0.01, 0.01))
        ended = await run(CodexAgent(executable=fake.path), context)

    assert len(fake.starts()) == 3
    assert getattr(ended.error, "code", None) == "provider_exited"


async def test_an_approval_is_asked_for_and_answered(tmp_path: Path) -> None:
    fake, context = FakeCodex(tmp_path, called(APPROVAL)), RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, CodexAgent(executable=fake.path), context)
        name = await context.wait_asked()
        context.answer(name, {"approved": True, "by": "ada"})

    assert name == "approval:call-1"
    assert fake.answers() == [{"decision": "accept"}]
    assert told(context, "tool_approval_granted")[0]["by"] == "ada"
    assert told(context, "tool_call_completed")[0]["tool_output"] == {"output": "a", "exit_code": 0}


async def test_a_second_question_about_one_call_needs_an_answer_of_its_own(
    tmp_path: Path,
) -> None:
    fake, context = FakeCodex(tmp_path, called(APPROVAL, APPROVAL)), RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, CodexAgent(executable=fake.path), context)
        first = await context.wait_asked()
        context.answer(first, {"approved": True})
        second = await context.wait_asked("approval:call-1#2")
        context.answer(second, {"approved": False})

    assert fake.answers() == [{"decision": "accept"}, {"decision": "decline"}]


async def test_hooks_may_deny_and_are_shown_results(tmp_path: Path) -> None:
    shown: list[Any] = []

    async def before(call: Any) -> Any:
        return Deny("not here")

    async def after(call: Any, result: Any) -> Any:
        shown.append((call.tool_name, result.is_error))
        return ReplaceResult("other")

    fake, context = FakeCodex(tmp_path, called(APPROVAL, status="declined")), RecordingContext()
    hooks = Hooks(before_tool=[before], after_tool=[after])

    await run(CodexAgent(executable=fake.path, hooks=hooks), context)

    assert fake.answers() == [{"decision": "decline"}]
    assert shown == [("command_execution", True)]
    codes = [data["code"] for data in told(context, "error_occurred")]
    assert codes == ["result_change_unsupported"]


async def test_another_input_is_declined_since_codex_runs_its_own(tmp_path: Path) -> None:
    async def before(call: Any) -> Any:
        return ChangeInput({"command": "true"})

    async def permission(call: Any) -> Any:
        return Allow()

    fake, context = FakeCodex(tmp_path, called(APPROVAL, status="declined")), RecordingContext()
    hooks = Hooks(before_tool=[before], permission=[permission])

    await run(CodexAgent(executable=fake.path, hooks=hooks), context)

    assert fake.answers() == [{"decision": "decline"}]
    assert told(context, "error_occurred")[0]["code"] == "input_change_unsupported"


async def test_hooks_at_prompt_start_and_end_are_called(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def prompt(content: Any) -> Any:
        return f"{content}, please"

    async def start(request: Any) -> None:
        seen.append("start")

    async def finish(request: Any, result: Any) -> None:
        seen.append(result["content"])

    fake, context = FakeCodex(tmp_path, answer("Hi")), RecordingContext()
    hooks = Hooks(prompt=[prompt], start=[start], end=[finish])

    await run(CodexAgent(executable=fake.path, hooks=hooks), context)

    assert seen == ["start", "Hi"]
    assert told(context, "message_sent")[0]["content"] == "Hello, please"
    assert fake.heard("turn/start")[0]["input"][0]["text"] == "Hello, please"


async def test_what_nobody_can_answer_is_refused(tmp_path: Path) -> None:
    strange = ["ask", "account/chatgptAuthTokens/refresh", {}]
    question = ["ask", "item/tool/requestUserInput", {"itemId": "i", "questions": []}]
    fake = FakeCodex(tmp_path, called(strange, question))

    ended = await run(CodexAgent(executable=fake.path), RecordingContext())

    assert ended.state is RunState.COMPLETED
    refused, unanswered = fake.answers()
    assert refused["code"] == -32601
    assert unanswered == {"answers": {}}


async def test_a_steer_is_told_when_the_model_gets_it(tmp_path: Path) -> None:
    given = item("started", type="userMessage", id="u", clientId="$clientUserMessageId")
    hears = ["hear", "turn/steer", ["answer", {}]]
    turn = [*began(), delta("Well."), hears, given, *answer("Blue.")[2:]]
    fake, context = FakeCodex(tmp_path, turn), RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, CodexAgent(executable=fake.path), context)
        await until_it_speaks(context)
        assert context.steer("Blue, please", id="steer-1")

    sent = told(context, "message_sent")
    assert sent[1] == {"role": "user", "content": "Blue, please", "steer_id": "steer-1"}
    assert fake.heard("turn/steer")[0]["expectedTurnId"] == "turn-1"


@pytest.mark.parametrize(
    "reply",
    [["answer", {}], ["refuse", -32600, "no active turn to steer"]],
    ids=["taken", "refused"],
)
async def test_a_steer_that_comes_too_late_for_its_turn_begins_another(
    tmp_path: Path, reply: Any
) -> None:
    first = [*began(), delta("Well."), ["hear", "turn/steer", reply], *answer("Red.")[2:]]
    given = item("started", type="userMessage", id="u", clientId="$clientUserMessageId")
    fake = FakeCodex(tmp_path, first, [*began(), given, *answer("Blue.", 2)[2:]])
    context = RecordingContext()
    ended: list[Ended] = []

    async def keep() -> None:
        ended.append(await run(CodexAgent(executable=fake.path), context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        await until_it_speaks(context)
        assert context.steer("Blue, please", id="steer-1")

    assert ended[0].output["content"] == "Blue."
    assert fake.heard("turn/start")[1]["clientUserMessageId"] == "steer-1"


class Broken(RecordingContext):
    """A run whose session fails it when steers are taken."""

    def take_steers(self) -> Any:
        raise OSError("the log is gone")


async def test_a_steer_that_cannot_be_taken_fails_the_run(tmp_path: Path) -> None:
    fake, context = FakeCodex(tmp_path, [*began(), ["sleep", 600]]), Broken()
    ended: list[Ended] = []

    async def keep() -> None:
        ended.append(await run(CodexAgent(executable=fake.path), context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        while not context.steer("Blue, please"):
            await trio.sleep(0.01)

    assert str(ended[0].error) == "the log is gone"


async def test_a_steer_that_says_nothing_is_told_and_changes_nothing(tmp_path: Path) -> None:
    turn = [*began(), ["hold"], *answer("Red.")[2:]]
    fake, context = FakeCodex(tmp_path, turn), RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, CodexAgent(executable=fake.path), context)
        while not context.steer({"nothing": 1}):
            await trio.sleep(0.01)
        while not told(context, "error_occurred"):
            await trio.sleep(0.01)
        fake.release()

    assert told(context, "error_occurred")[0]["code"] == "steer_unreadable"
    assert fake.heard("turn/steer") == []


async def test_a_thread_is_resumed_and_only_what_is_new_is_sent(tmp_path: Path) -> None:
    fake = FakeCodex(tmp_path, answer("Hi"))
    context = await after_one_word()

    await run(CodexAgent(executable=fake.path), context, "And now?")

    (resumed,) = fake.heard("thread/resume")
    assert (resumed["threadId"], resumed["excludeTurns"]) == (THREAD, True)
    assert fake.heard("thread/start") == []


async def test_other_refusals_to_resume_fail_the_run(tmp_path: Path) -> None:
    refusal = [["refuse", -32600, "failed to load configuration: nonsense"]]
    fake = FakeCodex(tmp_path, answer("Hi"), thread_resume=[refusal])

    ended = await run(CodexAgent(executable=fake.path), await after_one_word())

    assert "nonsense" in str(ended.error)
    assert fake.heard("thread/start") == []


async def test_what_is_about_another_thread_is_passed_over(tmp_path: Path) -> None:
    foreign = ["tell", "item/agentMessage/delta", {"threadId": "other", "delta": "no"}]
    old = tell("item/agentMessage/delta", turnId="turn-0", delta="no")
    fake = FakeCodex(tmp_path, [*began(), foreign, old, *answer("Hi")[2:]])
    context = RecordingContext()

    await run(CodexAgent(executable=fake.path), context)

    assert context.deltas() == "Hi"
