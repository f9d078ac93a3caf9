from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.adapters.agents.pi.agent import PiAgent
from moorage.adapters.agents.pi.gate import TITLE
from moorage.adapters.agents.pi.run import prompt_command, refusal
from moorage.adapters.agents.provider.hooks import ChangeInput, Hooks, ReplaceResult
from moorage.adapters.agents.provider.text_prompts import TextPrompt
from moorage.adapters.agents.recording import Ended, RecordingContext, execute
from moorage.runtime.runs import RunState

from tests.adapters.agents.conftest import SECONDS_MAX
from tests.adapters.agents.pi.fake_pi import FakePi, answer, delta, state

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def asks(about: str = "call", **more: Any) -> dict[str, Any]:
    question = {"about": about, "toolCallId": "c1", "toolName": "bash", "input": {"command": "ls"}}
    return {
        "type": "extension_ui_request",
        "id": f"d-{about}",
        "method": "input",
        "title": TITLE,
        "placeholder": json.dumps({**question, **more}),
    }


async def run(
    fake: FakePi, context: RecordingContext, input: Any = "Hello", **arguments: Any
) -> Ended:
    with trio.fail_after(SECONDS_MAX):
        agent = PiAgent(executable=fake.path, **arguments)
        return await execute(agent, context.request(input), context)


def told(context: RecordingContext, *types: str) -> list[Any]:
    return [event.data for event in context.events if event.type in types]


def said_to_gate(fake: FakePi) -> list[Any]:
    return [json.loads(h["value"]) for h in fake.heard if h.get("type") == "extension_ui_response"]


async def test_an_answer_is_streamed_and_told_whole(tmp_path: Path) -> None:
    fake, context = FakePi(tmp_path, *answer("Hello")), RecordingContext()

    ended = await run(fake, context)

    assert ended.output == {
        "content": "Hello",
        "stop_reason": "stop",
        "provider": "pi",
        "model": "fake",
        "turns": 1,
        "provider_session": "s-1",
    }
    assert [event.type for event in context.events if event.type != "provider_event"] == [
        "conversation_configured",
        "message_sent",
        "message_streamed",
        "message_received",
        "turn_completed",
    ]


async def test_pi_is_waited_for_while_it_is_busy_after_its_turn(tmp_path: Path) -> None:
    busy = [["say", {"type": "agent_end"}]]
    fake = FakePi(
        tmp_path,
        ["say", {"type": "auto_retry_start", "errorMessage": "429"}],
        *busy,
        ["sleep", 0.2],
        *answer("At last"),
    )
    context = RecordingContext()

    ended = await run(fake, context)

    assert ended.output["content"] == "At last"
    assert told(context, "error_occurred")[0]["retryable"] is True


async def test_a_gate_that_is_denied_says_why(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, ["say", asks()], ["hear", "extension_ui_response"], *answer("Fine"))
    context = RecordingContext(answers={"approval:c1": {"approved": False, "reason": "not now"}})

    await run(fake, context)

    assert said_to_gate(fake) == [{"allow": False, "reason": "not now"}]
    assert told(context, "tool_approval_denied")[0]["reason"] == "not now"


async def test_who_approves_may_change_the_input(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, ["say", asks()], ["hear", "extension_ui_response"], *answer("Fine"))
    changed = {"approved": True, "tool_input": {"command": "pwd"}}
    context = RecordingContext(answers={"approval:c1": changed})

    await run(fake, context)

    assert said_to_gate(fake) == [{"allow": True, "input": {"command": "pwd"}}]


async def test_hooks_change_inputs_and_replace_results(tmp_path: Path) -> None:
    async def before(call: Any) -> Any:
        return ChangeInput({"command": "pwd"})

    async def after(call: Any, result: Any) -> Any:
        return ReplaceResult({"was": result.output})

    content = [{"type": "text", "text": "files"}]
    fake = FakePi(
        tmp_path,
        ["say", asks()],
        ["hear", "extension_ui_response"],
        ["say", asks("result", content=content, isError=False)],
        ["hear", "extension_ui_response"],
        *answer("Fine"),
    )

    hooks = Hooks(before_tool=[before], after_tool=[after])
    await run(fake, RecordingContext(), permission_mode="full_auto", hooks=hooks)

    assert said_to_gate(fake) == [
        {"allow": True, "input": {"command": "pwd"}},
        {"content": [{"type": "text", "text": '{"was": "files"}'}]},
    ]


async def test_a_steer_is_told_when_pi_gives_it_to_the_model(tmp_path: Path) -> None:
    fake = FakePi(
        tmp_path,
        ["say", delta("Well,")],
        ["hear", "prompt"],
        ["say", {"type": "message_end", "message": {"role": "user", "content": "Stop"}}],
        *answer("Stopped"),
    )
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, fake, context)
        while not told(context, "message_streamed"):
            await context.wait_events(len(context.events) + 1)
        assert context.steer("Stop", id="s1")

    steer = fake.heard[-2]
    assert (steer["message"], steer["streamingBehavior"]) == ("Stop", "steer")
    assert told(context, "message_sent") == [
        {"role": "user", "content": "Hello"},
        {"role": "user", "content": "Stop", "steer_id": "s1"},
    ]


async def test_a_steer_that_came_a_moment_too_late_for_pi_is_brought_in(tmp_path: Path) -> None:
    fake = FakePi(
        tmp_path,
        ["say", delta("Well,")],
        ["hear", "prompt"],
        ["say", {"type": "agent_end"}],
        ["hear", "prompt"],
        ["say", {"type": "message_end", "message": {"role": "user", "content": "Stop"}}],
        ["die", 3, "seen"],
        state=state(pendingMessageCount=1),
    )
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, fake, context)
        while not told(context, "message_streamed"):
            await context.wait_events(len(context.events) + 1)
        context.steer("Stop", id="s1")

    assert [h["message"] for h in fake.heard if h.get("type") == "prompt"][1:] == ["Stop", "Stop"]
    assert told(context, "message_sent")[-1]["steer_id"] == "s1"


async def test_a_steer_that_says_nothing_is_told_and_changes_nothing(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, ["say", delta("Well,")], ["hold"], *answer("Fine"))
    context = RecordingContext()
    ended: list[Ended] = []

    async def keep() -> None:
        ended.append(await run(fake, context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep)
        while not context.steer({"nothing": 1}):
            await trio.sleep(0.01)
        while not told(context, "error_occurred"):
            await trio.sleep(0.01)
        fake.release()

    assert ended[0].state is RunState.COMPLETED
    assert told(context, "error_occurred")[0]["code"] == "steer_unreadable"


async def test_a_steer_that_pi_drops_is_told(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, ["say", delta("Well,")], ["hear", "prompt"], *answer("Fine"))
    context = RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, fake, context)
        while not context.steer("Stop", id="s1"):
            await trio.sleep(0.01)

    assert [data["code"] for data in told(context, "error_occurred")] == ["steer_undelivered"]


async def test_dialogs_of_other_extensions_do_not_hold_the_run(tmp_path: Path) -> None:
    dialog = {"type": "extension_ui_request", "id": "x", "method": "confirm", "title": "Sure?"}
    fake = FakePi(tmp_path, ["say", dialog], ["hear", "extension_ui_response"], *answer("Fine"))

    ended = await run(fake, RecordingContext())

    assert ended.state is RunState.COMPLETED
    assert {"type": "extension_ui_response", "id": "x", "cancelled": True} in fake.heard


async def test_calls_that_did_not_end_are_told_as_failed(tmp_path: Path) -> None:
    fake = FakePi(
        tmp_path,
        ["say", {"type": "tool_execution_start", "toolCallId": "c1", "toolName": "bash"}],
        ["die", 1, "out of memory"],
    )
    context = RecordingContext()

    await run(fake, context)

    assert told(context, "tool_call_failed")[0]["error"]["code"] == "interrupted"


async def test_an_error_of_the_model_fails_the_run(tmp_path: Path) -> None:
    fake = FakePi(tmp_path, *answer("", stopReason="error", errorMessage="429 slow down"))
    context = RecordingContext()

    ended = await run(fake, context)

    assert getattr(ended.error, "code", None) == "provider_rate_limited"
    assert told(context, "error_occurred")[0]["code"] == "provider_rate_limited"


async def test_what_comes_after_the_last_turn_allowed_is_too_much(tmp_path: Path) -> None:
    first = {"role": "assistant", "content": [{"type": "text", "text": "I look."}]}
    fake = FakePi(
        tmp_path,
        ["say", {"type": "message_end", "message": {**first, "stopReason": "toolUse"}}],
        *answer("", stopReason="aborted", errorMessage="aborted"),
    )

    ended = await run(fake, RecordingContext(), turns_max=1)

    assert getattr(ended.error, "code", None) == "turns_exceeded"


async def test_images_go_with_the_prompt() -> None:
    image = {"type": "image", "media_type": "image/png", "data": b"\x00\x01"}

    assert prompt_command(TextPrompt("See", (image,))) == {
        "type": "prompt",
        "message": "See",
        "images": [{"type": "image", "data": "AAE=", "mimeType": "image/png"}],
    }


async def test_a_missing_key_is_told_as_such_and_other_refusals_by_their_text() -> None:
    assert refusal("prompt", "No API key found for anthropic.\n\nUse /login").code == (
        "provider_not_configured"
    )
    assert refusal("set_auto_retry", "429").code == "provider_unavailable"
