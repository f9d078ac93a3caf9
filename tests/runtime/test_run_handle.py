"""Handles of runs: they are an id and a session, and steer what runs."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import InvalidArgument, RunState, UnknownRun, open_supervisor
from moorage.stores import MemoryStore


async def listener(request, context):
    """Takes messages until one says stop; returns what it heard."""
    if request.input != "deaf":
        context.accept_steers()
    heard = []
    while request.input != "deaf" and "stop" not in heard:
        await context.wait_steer()
        for steer in context.take_steers():
            heard.append(steer.message)
            await context.emit("message_sent", {"content": steer.message, "steer_id": steer.id})
    if request.input == "deaf":
        await trio.sleep(10)
    return heard


async def running(session, input):
    run = await session.submit(input)
    while await run.status() is not RunState.RUNNING:
        await trio.sleep(0.01)
    await trio.sleep(0.01)
    return run


async def test_a_handle_says_which_run_of_which_session_it_is(autojump_clock):
    async with open_supervisor(MemoryStore(), listener) as supervisor:
        session = await supervisor.session("s")
        run = session.run("run_1")

        with pytest.raises(UnknownRun):
            await run.wait()

    assert (run.session_id, run.id) == ("s", "run_1")
    assert repr(run) == "<Run run_1 of session 's'>"


async def test_a_steered_run_hears_its_messages_in_order(autojump_clock):
    async with open_supervisor(MemoryStore(), listener) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "listen")

        left = await run.steer("left")
        stop = await run.steer("stop")
        outcome = await run.wait()
        events = await session.events(types={"run_steered", "run_steer_taken", "message_sent"})

    assert outcome.output == ["left", "stop"]
    assert (left.steered, left.run_id) == (True, run.id)
    assert [event.data["steer_id"] for event in events if event.type == "run_steer_taken"] == [
        left.steer_id,
        stop.steer_id,
    ]


async def test_a_message_to_an_agent_that_takes_none_is_a_queued_run(autojump_clock):
    async with open_supervisor(MemoryStore(), listener) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "deaf")

        steer = await run.steer("deaf")
        states = await session.run(steer.run_id).status(), await run.status()
        outcome = await session.wait(steer.run_id)

    assert not steer.steered
    assert steer.run_id == steer.steer_id != run.id
    assert states == (RunState.QUEUED, RunState.RUNNING)
    assert outcome.state is RunState.COMPLETED


async def test_a_message_to_a_run_that_has_ended_is_a_queued_run(autojump_clock):
    async with open_supervisor(MemoryStore(), listener) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("deaf")
        await run.wait()

        steer = await run.steer("deaf")
        outcome = await session.wait(steer.run_id)
        with pytest.raises(UnknownRun):
            await session.steer("run_none", "left")
        with pytest.raises(InvalidArgument):
            await run.steer(object())

    assert not steer.steered
    assert outcome.state is RunState.COMPLETED


async def test_a_message_that_its_run_did_not_hear_survives_a_restart_as_a_run(autojump_clock):
    store = MemoryStore()

    async def busy(request, context):
        context.accept_steers()
        await trio.sleep(1000)

    async def done(request, context):
        return request.input

    async with open_supervisor(store, busy) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "work")
        steer = await run.steer("and then")
        await session.drain(timeout_seconds=0)
    async with open_supervisor(store, done) as supervisor:
        session = await supervisor.session("s")
        first, second = await session.wait(run.id), await session.wait(steer.steer_id)

    assert steer.steered
    assert first.state is RunState.INTERRUPTED
    assert (second.state, second.output) == (RunState.COMPLETED, "and then")
