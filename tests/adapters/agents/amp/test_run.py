from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from moorage.adapters.agents.amp import run as run_module
from moorage.adapters.agents.amp.agent import AmpAgent
from moorage.adapters.agents.amp.run import user_message
from moorage.adapters.agents.provider.text_prompts import TextPrompt
from moorage.adapters.agents.recording import Ended, RecordingContext, execute

from tests.adapters.agents.amp.stand_in import StandIn, answer, result
from tests.adapters.agents.conftest import SECONDS_MAX

if TYPE_CHECKING:
    from pathlib import Path

BASH = ["tool", "toolu_1", "Bash", {"cmd": "ls"}, "a.txt"]


async def run(amp: StandIn, context: RecordingContext, **arguments: Any) -> Ended:
    with trio.fail_after(SECONDS_MAX):
        agent = AmpAgent(executable=amp.path, **arguments)
        return await execute(agent, context.request("Hello"), context)


def told(context: RecordingContext, *types: str) -> list[Any]:
    return [event.data for event in context.events if event.type in types]


async def steer_before_it_goes_on(amp: StandIn, context: RecordingContext) -> None:
    assert context.steer("More", id="s1")
    while not context.steers_taken:
        await trio.sleep(0.01)
    amp.release()


@pytest.mark.parametrize("approved", [True, False])
async def test_a_tool_waits_for_an_approval(tmp_path: Path, approved: bool) -> None:
    amp = StandIn(tmp_path, BASH, answer("Done"))
    decision = {"approved": approved, "reason": "not now"}
    context = RecordingContext(answers={"approval:toolu_1": decision})

    ended = await run(amp, context)

    assert ended.output["content"] == "Done"
    assert told(context, "tool_approval_requested")[0]["tool_input"] == {"cmd": "ls"}
    if approved:
        assert told(context, "tool_call_completed")[0]["tool_output"] == "a.txt"
    else:
        assert told(context, "tool_call_failed")[0]["error"]["message"] == "not now"


async def test_what_only_reads_runs_without_being_asked_about(tmp_path: Path) -> None:
    amp = StandIn(tmp_path, ["tool", "toolu_1", "Read", {"path": "/a"}, "text"], answer("Done"))
    context = RecordingContext()

    await run(amp, context)

    assert told(context, "tool_approval_requested") == []
    assert told(context, "tool_call_completed")[0]["tool_output"] == "text"


async def test_two_equal_calls_are_asked_about_one_by_one(tmp_path: Path) -> None:
    again = ["tool", "toolu_2", "Bash", {"cmd": "ls"}, "a.txt"]
    amp = StandIn(tmp_path, BASH, again, answer("Done"))
    answers = {f"approval:toolu_{n}": {"approved": True} for n in (1, 2)}
    context = RecordingContext(answers=answers)

    await run(amp, context)

    asked = told(context, "tool_approval_requested")
    assert [data["tool_call_id"] for data in asked] == ["toolu_1", "toolu_2"]


async def test_a_steer_is_sent_as_one_and_told_when_amp_takes_it_in(tmp_path: Path) -> None:
    pause = answer("Well,")
    pause[1]["message"]["stop_reason"] = None
    amp, context = StandIn(tmp_path, pause, ["hear"], answer("Stopped")), RecordingContext()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, amp, context)
        while not told(context, "message_received"):
            await trio.sleep(0.01)
        assert context.steer("Stop", id="s1")

    assert amp.heard[-1]["steer"] is True
    assert amp.prompts == ["Hello", "Stop"]
    assert told(context, "message_sent")[-1] == {
        "role": "user",
        "content": "Stop",
        "steer_id": "s1",
    }


async def test_a_steer_that_comes_with_the_last_word_is_waited_for(tmp_path: Path) -> None:
    pause = answer("Well,")
    pause[1]["message"]["stop_reason"] = None
    amp = StandIn(tmp_path, pause, ["hold"], answer("One"), ["hear"], answer("Two"))
    context = RecordingContext()
    ended: list[Ended] = []

    async def go() -> None:
        ended.append(await run(amp, context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go)
        while not told(context, "message_received"):
            await trio.sleep(0.01)
        await steer_before_it_goes_on(amp, context)

    assert ended[0].output["content"] == "Two"


async def test_a_steer_that_amp_never_takes_in_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "DELIVERY_SECONDS", 0.3)
    pause = answer("Well,")
    pause[1]["message"]["stop_reason"] = None
    amp = StandIn(tmp_path, pause, ["hold"], answer("One"), ["sleep", 600])
    context = RecordingContext()
    ended: list[Ended] = []

    async def go() -> None:
        ended.append(await run(amp, context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go)
        while not told(context, "message_received"):
            await trio.sleep(0.01)
        await steer_before_it_goes_on(amp, context)

    assert ended[0].output["content"] == "One"
    assert [data["code"] for data in told(context, "error_occurred")] == ["steer_undelivered"]


async def test_a_steer_that_says_nothing_is_told_and_changes_nothing(tmp_path: Path) -> None:
    pause = answer("Well,")
    pause[1]["message"]["stop_reason"] = None
    amp, context = StandIn(tmp_path, pause, ["hold"], answer("One")), RecordingContext()
    ended: list[Ended] = []

    async def go() -> None:
        ended.append(await run(amp, context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go)
        while not context.steer({"nothing": 1}):
            await trio.sleep(0.01)
        while not told(context, "error_occurred"):
            await trio.sleep(0.01)
        amp.release()

    assert ended[0].output["content"] == "One"
    assert [data["code"] for data in told(context, "error_occurred")] == ["steer_unreadable"]


async def test_a_steer_after_the_last_word_is_left_to_become_a_run(tmp_path: Path) -> None:
    amp = StandIn(tmp_path, answer("One"), ["sleep", 0.5])
    context = RecordingContext()
    ended: list[Ended] = []

    async def go() -> None:
        ended.append(await run(amp, context))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go)
        while not told(context, "message_received"):
            await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked()  # all that it said has been looked at
        context.steer("More", id="s1")

    assert ended[0].output["content"] == "One"
    assert context.steers_taken == []


async def test_an_amp_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves_nothing: None
) -> None:
    monkeypatch.setattr(run_module, "START_SECONDS", 0.2)
    amp = StandIn(tmp_path, start=[["sleep", 600]])

    ended = await run(amp, RecordingContext())

    assert getattr(ended.error, "code", None) == "provider_timeout"


async def test_turns_max_ends_amp_when_it_wants_to_go_on(tmp_path: Path) -> None:
    amp, context = StandIn(tmp_path, BASH, answer("Never")), RecordingContext()

    ended = await run(amp, context, turns_max=1, permission_mode="full_auto")

    assert getattr(ended.error, "code", None) == "turns_exceeded"
    assert len(told(context, "tool_call_failed")) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"subtype": "error_during_execution", "error": "429 slow"}, "provider_rate_limited"),
        ({"subtype": "error_max_turns", "error": "too many"}, "turns_exceeded"),
    ],
)
async def test_an_error_that_amp_sums_up_fails_the_run(
    tmp_path: Path, error: dict[str, Any], code: str
) -> None:
    amp = StandIn(tmp_path, result("", is_error=True, **error), ["die", 1, ""])

    ended = await run(amp, RecordingContext())

    assert getattr(ended.error, "code", None) == code


async def test_an_amp_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves_nothing: None
) -> None:
    monkeypatch.setattr(run_module, "END_SECONDS", 0.2)
    amp = StandIn(tmp_path, answer("Hi"), ["sleep", 600])

    ended = await run(amp, RecordingContext())

    assert ended.output["content"] == "Hi"


async def test_what_a_sub_agent_says_is_not_the_answer(tmp_path: Path) -> None:
    sub = answer("inner")
    sub[1]["parent_tool_use_id"] = "toolu_0"
    amp, context = StandIn(tmp_path, sub, answer("outer")), RecordingContext()

    ended = await run(amp, context)

    assert (ended.output["content"], ended.output["turns"]) == ("outer", 1)
    inner = next(e for e in context.events if e.type == "message_received")
    assert inner.metadata is not None
    assert inner.metadata["parent_tool_call_id"] == "toolu_0"
    assert context.deltas() == "outer"


def test_images_go_with_the_prompt() -> None:
    image = {"type": "image", "media_type": "image/png", "data": b"\x00\x01"}

    source = {"type": "base64", "media_type": "image/png", "data": "AAE="}
    assert user_message(TextPrompt("", (image,)))["message"]["content"] == [
        {"type": "image", "source": source}
    ]
