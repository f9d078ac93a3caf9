from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.agents.copilot.agent import CopilotAgent
from moorage.adapters.agents.provider.hooks import ChangeInput, Deny, Hooks, ReplaceResult
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.runs import RunState

from tests.adapters.agents.conftest import SECONDS_MAX
from tests.adapters.agents.copilot.fake_copilot import (
    OFFLINE,
    PERMIT,
    FakeCopilot,
    answer,
    began,
    called,
    idle,
    permission,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.adapters.agents.conftest import Pace


def agent_of(fake: FakeCopilot, **options: Any) -> CopilotAgent:
    environment = {**OFFLINE, **options.pop("environment", {})}
    return CopilotAgent(executable=fake.path, environment=environment, **options)


async def run(agent: Any, context: RecordingContext, input: Any = "Hello") -> Ended:
    with trio.fail_after(SECONDS_MAX):
        return await execute(agent, context.request(input), context)


def told(context: RecordingContext, *types: str) -> list[Any]:
    return [event.data for event in context.events if event.type in types]


async def after_one_word() -> RecordingContext:
    """A run in a session where something was said that Copilot's session knows of."""
    before = RecordingContext(run_id="before")
    await before.session.append("message_sent", {"role": "user", "content": "Hm."})
    handle = {"provider_session.copilot": {"id": "session-1", "seq": 1}}
    return RecordingContext(history=before.events, session_metadata=handle)


async def test_a_missing_program_is_told_before_anything_else(tmp_path: Path) -> None:
    context = RecordingContext()

    ended = await run(CopilotAgent(executable=tmp_path / "none"), context)

    assert getattr(ended.error, "code", None) == "provider_not_installed"
    assert "npm install" in str(ended.error)
    assert context.events == []


async def test_the_program_is_found_by_its_variable(tmp_path: Path) -> None:
    fake = FakeCopilot(tmp_path, answer("Hi"))
    agent = CopilotAgent(environment={**OFFLINE, "MOORAGE_COPILOT": fake.path})

    ended = await run(agent, RecordingContext())

    assert ended.output["content"] == "Hi"


async def test_the_version_is_the_first_line_that_the_program_says(tmp_path: Path) -> None:
    program = tmp_path / "copilot"
    program.write_text("#!/bin/sh\necho Copilot 1.2.3\necho There is a newer one\n")
    program.chmod(0o755)

    assert await CopilotAgent(executable=program).version() == "Copilot 1.2.3"


@pytest.mark.parametrize(
    "arguments", [{"turns_max": 0}, {"permission_mode": "yolo"}, {"approval_default": "maybe"}]
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        CopilotAgent(**arguments)


async def test_settings_reach_the_session(tmp_path: Path) -> None:
    fake = FakeCopilot(tmp_path, answer("Hi"))
    agent = agent_of(
        fake,
        system_prompt="Be kind.",
        working_directory=tmp_path,
        provider_options={"excludedTools": ["task"]},
    )
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    await run(agent, RecordingContext(), {"messages": messages, "options": {"model": "gpt-x"}})

    (created,) = fake.heard("session.create")
    assert created["systemMessage"] == {"mode": "append", "content": "Be kind.\n\nBe brief."}
    assert (created["model"], created["workingDirectory"]) == ("gpt-x", str(tmp_path))
    assert created["excludedTools"] == ["task"]
    assert created["provider"] == {"type": "openai", "baseUrl": "http://127.0.0.1:9/v1"}
    assert fake.heard("session.send")[0]["prompt"] == "Hi"
    assert "--headless" in fake.starts()[0]["arguments"]


async def test_an_answer_is_told_and_is_the_output(tmp_path: Path) -> None:
    fake, context = FakeCopilot(tmp_path, answer("Hello Ada")), RecordingContext()

    ended = await run(agent_of(fake), context)

    session_id = fake.heard("session.create")[0]["sessionId"]
    assert ended.output == {
        "content": "Hello Ada",
        "stop_reason": "end_turn",
        "provider": "copilot",
        "model": "gpt",
        "turns": 1,
        "provider_session": session_id,
    }
    assert [event.type for event in context.events] == [
        "conversation_configured",
        "message_sent",
        "message_streamed",
        "token_usage_updated",
        "message_received",
        "turn_completed",
    ]
    handle = (await context.session.info()).metadata["provider_session.copilot"]
    assert (handle["id"], handle.get("run_id")) == (session_id, None)


@pytest.mark.parametrize(
    ("plays", "environment", "word"),
    [
        ({"auth_getStatus": [[["answer", {"isAuthenticated": False}]]]}, {}, "copilot login"),
        ({"connect": [[["answer", {"protocolVersion": 9}]]]}, {}, "version 9"),
    ],
)
async def test_what_is_not_configured_is_told_before_anything_is_asked(
    tmp_path: Path, plays: Any, environment: Any, word: str
) -> None:
    fake, context = FakeCopilot(tmp_path, answer("Hi"), **plays), RecordingContext()
    agent = CopilotAgent(executable=fake.path, environment=dict.fromkeys(OFFLINE, None))

    ended = await run(agent, context)

    assert getattr(ended.error, "code", None) == "provider_not_configured"
    assert word in str(ended.error)
    assert told(context, "message_sent") == []


async def test_offline_without_a_model_provider_is_told_before_the_program_starts(
    tmp_path: Path,
) -> None:
    fake = FakeCopilot(tmp_path, answer("Hi"))
    agent = agent_of(fake, environment={"COPILOT_PROVIDER_BASE_URL": None})

    ended = await run(agent, RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_not_configured"
    assert fake.starts() == []


async def test_a_program_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    fake = FakeCopilot(tmp_path, [*answer("Well,")[:4], ["die", 3, "out of memory\n"]])
    context = RecordingContext()

    ended = await run(agent_of(fake), context)

    error: Any = ended.error
    assert (error.code, error.exit_code, error.stderr) == ("provider_exited", 3, "out of memory\n")
    assert context.deltas() == "Well,"
    assert told(context, "error_occurred")[0]["code"] == "provider_exited"


async def test_a_flood_of_standard_error_is_bounded_and_blocks_nothing(tmp_path: Path) -> None:
    fake = FakeCopilot(tmp_path, [*began(), ["flood", 3_000_000], ["die", 1, "the end"]])

    ended = await run(agent_of(fake, stderr_bytes_max=1_000), RecordingContext())

    error: Any = ended.error
    assert (len(error.stderr), error.stderr[-7:]) == (1_000, "the end")


async def test_garbage_is_kept_and_does_not_end_the_run(tmp_path: Path) -> None:
    fake = FakeCopilot(tmp_path, [["raw", "no header\r\n"], *answer("Hi")])
    context = RecordingContext()

    ended = await run(agent_of(fake), context)

    assert ended.state is RunState.COMPLETED
    assert told(context, "provider_event")[0]["original"] == {"line": "no header"}


@pytest.mark.usefixtures("leaves_nothing")
async def test_a_server_that_hangs_when_it_starts_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.adapters.agents.copilot.agent.REQUEST_SECONDS", 0.2)
    fake, context = FakeCopilot(tmp_path, connect=[[["sleep", 600]]]), RecordingContext()

    ended = await run(agent_of(fake), context)

    assert getattr(ended.error, "code", None) == "provider_timeout"
    assert told(context, "message_sent") == []


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("hangs", [[], [["ignore"]]], ids=["hangs", "ignores signals"])
async def test_a_server_that_hangs_is_cancelled_within_a_second(
    tmp_path: Path, pace: Pace, wait_gone: Callable[..., Any], hangs: Any
) -> None:
    fake = FakeCopilot(tmp_path, [*hangs, *called()[:5], ["sleep", 600]])
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent_of(fake), context)
        while not told(context, "tool_call_started"):
            await trio.sleep(0.01)
        context.cancel()
        await pace.ends_within(1.0, lambda: context.ended)

    await wait_gone(fake.starts()[0]["pid"])
    assert told(context, "tool_call_failed")[0]["error"]["code"] == "interrupted"


async def test_an_error_of_the_session_fails_the_run(tmp_path: Path) -> None:
    error = tell("session.error", errorType="rate_limit", message="slow down", statusCode=429)
    fake, context = FakeCopilot(tmp_path, [*began(), error, idle()]), RecordingContext()

    ended = await run(agent_of(fake), context)

    assert getattr(ended.error, "code", None) == "provider_rate_limited"
    assert [data["message"] for data in told(context, "error_occurred")] == ["copilot: slow down"]


async def test_turns_are_bounded_by_an_abort(tmp_path: Path) -> None:
    fake = FakeCopilot(tmp_path, called()[:7])

    ended = await run(agent_of(fake, turns_max=1), RecordingContext())

    assert getattr(ended.error, "code", None) == "turns_exceeded"
    assert len(fake.heard("session.abort")) == 1


@pytest.mark.parametrize(
    ("approved", "result"),
    [(True, {"kind": "approve-once"}), (False, {"kind": "reject", "feedback": "not today"})],
)
async def test_a_permission_is_asked_for_and_answered(
    tmp_path: Path, approved: bool, result: Any
) -> None:
    fake, context = (
        FakeCopilot(tmp_path, called(permission(), ["hear", PERMIT, ["answer", {}]])),
        None,
    )
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent_of(fake), context)
        name = await context.wait_asked()
        context.answer(name, {"approved": approved, "reason": "not today"})

    assert name == "approval:call-1"
    (heard,) = fake.heard(PERMIT)
    assert (heard["requestId"], heard["result"]) == ("p1", result)


async def test_a_second_question_about_one_call_needs_an_answer_of_its_own(
    tmp_path: Path,
) -> None:
    asked = [
        permission("p1"),
        permission("p2"),
        ["hear", PERMIT, ["answer", {}]],
        ["hear", PERMIT, ["answer", {}]],
    ]
    fake, context = FakeCopilot(tmp_path, called(*asked)), RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent_of(fake), context)
        await context.wait_asked("approval:call-1")
        await context.wait_asked("approval:call-1#2")
        names = sorted(context.asked)
        context.answer("approval:call-1", {"approved": True})
        context.answer("approval:call-1#2", {"approved": False})

    assert names == ["approval:call-1", "approval:call-1#2"]
    kinds = {heard["requestId"]: heard["result"]["kind"] for heard in fake.heard(PERMIT)}
    assert sorted(kinds.values()) == ["approve-once", "reject"]


async def test_what_a_hook_of_the_program_has_decided_is_not_asked(tmp_path: Path) -> None:
    decided = tell("permission.requested", requestId="p", permissionRequest={}, resolvedByHook=True)
    fake, context = FakeCopilot(tmp_path, called(decided)), RecordingContext()

    ended = await run(agent_of(fake), context)

    assert ended.state is RunState.COMPLETED
    assert told(context, "tool_approval_requested") == []


async def test_reading_is_free_in_plan_mode_and_the_rest_is_denied(tmp_path: Path) -> None:
    asked = [
        permission("p1", "read"),
        ["hear", PERMIT, ["answer", {}]],
        permission("p2"),
        ["hear", PERMIT, ["answer", {}]],
    ]
    fake = FakeCopilot(tmp_path, called(*asked))

    await run(agent_of(fake, permission_mode="plan"), RecordingContext())

    kinds = [heard["result"]["kind"] for heard in fake.heard(PERMIT)]
    assert kinds == ["approve-once", "reject"]


async def test_hooks_may_deny_and_are_shown_results(tmp_path: Path) -> None:
    shown: list[Any] = []

    async def before(call: Any) -> Any:
        return Deny("not here")

    async def after(call: Any, result: Any) -> Any:
        shown.append((call.tool_name, result.output))
        return ReplaceResult("other")

    fake = FakeCopilot(tmp_path, called(permission(), ["hear", PERMIT, ["answer", {}]]))
    context = RecordingContext()

    await run(agent_of(fake, hooks=Hooks(before_tool=[before], after_tool=[after])), context)

    assert fake.heard(PERMIT)[0]["result"] == {"kind": "reject", "feedback": "not here"}
    assert shown == [("bash", "a")]
    codes = [data["code"] for data in told(context, "error_occurred")]
    assert codes == ["result_change_unsupported"]


async def test_another_input_is_declined_since_copilot_runs_its_own(tmp_path: Path) -> None:
    async def before(call: Any) -> Any:
        return ChangeInput({"command": "true"})

    fake = FakeCopilot(tmp_path, called(permission(), ["hear", PERMIT, ["answer", {}]]))
    context = RecordingContext()
    agent = agent_of(fake, permission_mode="full_auto", hooks=Hooks(before_tool=[before]))

    await run(agent, context)

    assert fake.heard(PERMIT)[0]["result"]["kind"] == "reject"
    assert told(context, "error_occurred")[0]["code"] == "input_change_unsupported"


async def test_a_steer_is_told_when_the_model_gets_it(tmp_path: Path) -> None:
    first = [*began(), ["hear", "session.send", ["answer", {"messageId": "message-2"}]]]
    given = tell("user.message", messageId="message-2", content="Blue")
    fake = FakeCopilot(tmp_path, [*first, given, *answer("Blue.")[2:]])
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent_of(fake), context)
        while not context.steer("Blue, please", id="steer-1"):
            await trio.sleep(0.01)

    sent = told(context, "message_sent")
    assert sent[1] == {"role": "user", "content": "Blue, please", "steer_id": "steer-1"}
    assert fake.heard("session.send")[1]["mode"] == "immediate"


async def test_a_steer_that_finds_the_session_idle_is_waited_for(tmp_path: Path) -> None:
    first = [
        *began(),
        ["hear", "session.send", ["answer", {"messageId": "message-2"}]],
        *answer("Red.")[2:],
    ]
    given = tell("user.message", messageId="message-2", content="Blue")
    fake = FakeCopilot(tmp_path, [*first, ["sleep", 0.2], given, *answer("Blue.")[2:]])
    context = RecordingContext()
    ended: list[Ended] = []

    async def keep() -> None:
        ended.append(await run(agent_of(fake), context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        while not context.steer("Blue, please", id="steer-1"):
            await trio.sleep(0.01)

    assert ended[0].output["content"] == "Blue."
    assert told(context, "message_sent")[1]["steer_id"] == "steer-1"


async def test_a_steer_that_is_in_before_its_answer_is_told_once(tmp_path: Path) -> None:
    given = tell("user.message", messageId="message-2", content="Blue")
    reply = ["hear", "session.send", ["answer", {"messageId": "message-2"}]]
    fake = FakeCopilot(tmp_path, [*began(), given, reply, ["sleep", 0.1], *answer("Blue.")[2:]])
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, agent_of(fake), context)
        while not context.steer("Blue, please", id="steer-1"):
            await trio.sleep(0.01)

    assert [data.get("steer_id") for data in told(context, "message_sent")] == [None, "steer-1"]


class Broken(RecordingContext):
    """A run whose session fails it when somebody is asked, or steers are taken."""

    async def ask(self, name: str, *_: Any, **__: Any) -> Any:
        raise OSError("the log is gone")

    def take_steers(self) -> Any:
        raise OSError("the log is gone")


@pytest.mark.parametrize("steered", [True, False])
async def test_what_the_session_cannot_do_fails_the_run(tmp_path: Path, steered: bool) -> None:
    fake, context = FakeCopilot(tmp_path, [*called(permission())[:6], ["sleep", 600]]), Broken()
    if steered:
        fake = FakeCopilot(tmp_path, [*began(), ["sleep", 600]])
    ended: list[Ended] = []

    async def keep() -> None:
        ended.append(await run(agent_of(fake), context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        while steered and not context.steer("Blue, please"):
            await trio.sleep(0.01)

    assert str(ended[0].error) == "the log is gone"


async def test_a_session_is_resumed_and_only_what_is_new_is_sent(tmp_path: Path) -> None:
    fake = FakeCopilot(tmp_path, answer("Hi"))

    await run(agent_of(fake), await after_one_word(), "And now?")

    assert fake.heard("session.resume")[0]["sessionId"] == "session-1"
    assert fake.heard("session.create") == []
    assert fake.heard("session.send")[0]["prompt"] == "And now?"


async def test_a_session_that_is_gone_is_told_again(tmp_path: Path) -> None:
    gone = [["refuse", -32603, "Failed to load: Session not found: session-1"]]
    fake = FakeCopilot(tmp_path, answer("Hi"), session_resume=[gone])
    context = await after_one_word()

    await run(agent_of(fake), context, "And now?")

    assert "Hm." in fake.heard("session.send")[0]["prompt"]
    assert told(context, "error_recovered")[0]["code"] == "continuation_fallback"


async def test_other_refusals_to_resume_fail_the_run(tmp_path: Path) -> None:
    fake = FakeCopilot(
        tmp_path, answer("Hi"), session_resume=[[["refuse", -32603, "a nonsensical option"]]]
    )

    ended = await run(agent_of(fake), await after_one_word())

    assert "nonsensical" in str(ended.error)
    assert fake.heard("session.create") == []


async def test_what_is_about_another_session_is_passed_over(tmp_path: Path) -> None:
    event = {"type": "assistant.message_delta", "data": {"deltaContent": "no"}}
    foreign = ["tell", "session.event", {"sessionId": "other", "event": event}]
    strange = ["tell", "session.event", ["x"]]
    fake = FakeCopilot(tmp_path, [*began(), foreign, strange, *answer("Hi")[2:]])
    context = RecordingContext()

    await run(agent_of(fake), context)

    assert context.deltas() == "Hi"
