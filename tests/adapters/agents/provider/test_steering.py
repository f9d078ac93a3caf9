from __future__ import annotations

from typing import Any

import pytest
import trio
from moorage.adapters.agents.provider.deltas import DeltaStream
from moorage.adapters.agents.provider.run_report import RunReport
from moorage.adapters.agents.provider.steering import RepeatedSteers, read_steer, tell_undelivered
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.agents import Steer


def report(context: RecordingContext) -> RunReport:
    return RunReport(context, DeltaStream(context), "codex")


@pytest.mark.parametrize(
    "message", ["Blue", {"prompt": "Blue"}, {"messages": [{"role": "user", "content": "Blue"}]}]
)
async def test_a_steer_is_read_as_a_runs_input_is(message: Any) -> None:
    steer = await read_steer(Steer("s", message), report(RecordingContext()))

    assert steer is not None
    assert (steer.id, steer.content, steer.prompt.text) == ("s", "Blue", "Blue")


@pytest.mark.parametrize(
    "message", [None, "", {"messages": [{"role": "assistant", "content": "x"}]}]
)
async def test_a_steer_that_nobody_can_read_is_told(message: Any) -> None:
    context = RecordingContext()

    steer = await read_steer(Steer("s", message), report(context))

    (event,) = context.events
    assert steer is None
    assert (event.type, event.data["code"]) == ("error_occurred", "steer_unreadable")
    assert "steer s cannot be given to codex" in event.data["message"]


async def test_steers_wait_from_the_moment_they_are_taken_until_they_are_repeated(
    autojump_clock: object,
) -> None:
    context = RecordingContext()
    context.accept_steers()
    steers = RepeatedSteers(context, report(context))
    given: list[str] = []

    async def send(steer: Any) -> None:
        given.append(f"{steer.prompt.text} while {len(steers.waiting)} wait")
        await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(steers.give, send)
        for message in ("Blue", None, "Large"):
            context.steer(message, id=str(message))
        await trio.sleep(5)
        await steers.repeated("Something else")
        await steers.repeated("Blue")
        await tell_undelivered(steers.waiting, report(context))
        nursery.cancel_scope.cancel()

    assert given == ["Blue while 2 wait", "Large while 2 wait"]
    assert [(e.type, e.data.get("code")) for e in context.events] == [
        ("error_occurred", "steer_unreadable"),
        ("message_sent", None),
        ("error_occurred", "steer_undelivered"),
    ]
    assert context.events[1].data["steer_id"] == "Blue"
    assert "the steer Large" in context.events[2].data["message"]


async def test_what_comes_after_the_end_is_left_to_become_a_run(autojump_clock: object) -> None:
    context = RecordingContext()
    context.accept_steers()
    steers = RepeatedSteers(context, report(context))

    async def send(steer: Any) -> None:
        raise AssertionError("nothing is given any more")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(steers.give, send)
        steers.end()
        context.steer("Blue")

    assert len(context.take_steers()) == 1
