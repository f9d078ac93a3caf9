"""What a conversation does in the middle of a run is shown in test_agent; here are its edges."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from moorage.adapters.agents.copilot import conversation as conversation_module
from moorage.adapters.agents.copilot.agent import CopilotAgent
from moorage.adapters.agents.copilot.conversation import Conversation
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.run_report import RunReport
from moorage.adapters.agents.recording import RecordingContext, execute
from moorage.runtime.runs import RunState

from tests.adapters.agents.conftest import SECONDS_MAX
from tests.adapters.agents.copilot.fake_copilot import (
    OFFLINE,
    FakeCopilot,
    answer,
    began,
    idle,
    tell,
)


async def test_events_before_there_is_a_session_are_about_none() -> None:
    context = RecordingContext()
    report = RunReport(context, DeltaStream(context), "copilot")
    process: Any = None
    one = Conversation(context=context, process=process, report=report, turns_max=None)

    await one.told("session.event", {"sessionId": None, "event": {"type": "session.warning"}})

    assert context.events == []


async def test_a_steer_that_the_server_never_takes_up_is_not_waited_for_for_ever(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_module, "DELIVERY_SECONDS", 0.2)
    turn = [
        *began(),
        ["hear", "session.send", ["answer", {"messageId": "lost"}]],
        *answer("Red.")[2:],
    ]
    fake, context = FakeCopilot(tmp_path, turn), RecordingContext()
    agent = CopilotAgent(executable=fake.path, environment=OFFLINE)
    states: list[RunState] = []

    async def keep() -> None:
        states.append((await execute(agent, context.request("Hi"), context)).state)

    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep)
            while not context.steer("Blue, please"):
                await trio.sleep(0.01)

    assert states == [RunState.COMPLETED]
    codes = [e.data["code"] for e in context.events if e.type == "error_occurred"]
    assert codes == ["steer_undelivered"]


@pytest.mark.parametrize("can_tell", [True, False])
async def test_a_session_that_never_says_that_it_is_idle_is_asked(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, can_tell: bool
) -> None:
    monkeypatch.setattr(conversation_module, "SETTLE_SECONDS", 0.05)
    turn = [*answer("Red.")[:-1], tell("assistant.idle"), ["sleep", 0.5]]
    late = [] if can_tell else [idle()]
    refusal = ["refuse", -32601, "no such method"]
    play = [["answer", {}]] if can_tell else [refusal]
    fake = FakeCopilot(tmp_path, [*turn, *late], session_tasks_waitForPending=[play])
    context = RecordingContext()

    with trio.fail_after(SECONDS_MAX):
        agent = CopilotAgent(executable=fake.path, environment=OFFLINE)
        ended = await execute(agent, context.request("Hi"), context)

    assert ended.output["content"] == "Red."
    assert [e.type for e in context.events].count("turn_completed") == 1


async def test_a_steer_that_says_nothing_is_told_and_changes_nothing(tmp_path: Any) -> None:
    turn = [*began(), ["hold"], *answer("Red.")[2:]]
    fake, context = FakeCopilot(tmp_path, turn), RecordingContext()
    agent = CopilotAgent(executable=fake.path, environment=OFFLINE)

    def codes() -> list[str]:
        return [event.data["code"] for event in context.events if event.type == "error_occurred"]

    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execute, agent, context.request("Hi"), context)
            while not context.steer({"nothing": 1}):
                await trio.sleep(0.01)
            while not codes():
                await trio.sleep(0.01)
            fake.release()

    assert codes() == ["steer_unreadable"]
    assert len(fake.heard("session.send")) == 1
