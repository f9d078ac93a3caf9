"""A message with a key reaches a run once, however often and whenever it is given."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import KeyConflict, RunState, UnknownRun, UnknownSession, open_supervisor
from moorage.stores import MemoryStore

from tests.runtime.test_run_handle import listener, running


async def messages(session):
    """What runs were given, as (type, message)."""
    events = await session.events(types={"run_steered", "run_submitted"}, limit=1_000)
    return [(event.type, event.data.get("message", event.data.get("input"))) for event in events]


async def test_a_message_given_again_is_one_before_and_after_it_is_taken_and_the_run_has_ended(
    autojump_clock,
):
    store = MemoryStore()
    async with open_supervisor(store, listener) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "listen")
        first = await run.steer("left", key="k")
        at_once = await run.steer("left", key="k")
        await trio.sleep(1)
        when_taken = await run.steer("left", key="k")
        with pytest.raises(KeyConflict) as caught:
            await run.steer("right", key="k")
        await run.steer("stop", key="another")
        outcome = await run.wait()
        when_ended = await run.steer("left", key="k")
    async with open_supervisor(store, listener) as supervisor:
        session = await supervisor.session("s")
        after_restart = await session.steer(run.id, "left", key="k")
        given = await messages(session)

    assert outcome.output == ["left", "stop"]
    assert (first.steered, first.run_id) == (True, run.id)
    assert [at_once, when_taken, when_ended, after_restart] == [first] * 4
    assert caught.value.run_id == first.steer_id
    assert given == [
        ("run_submitted", "listen"),
        ("run_steered", "left"),
        ("run_steered", "stop"),
    ]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_message_that_becomes_a_run_of_its_own_is_one_run(autojump_clock, ended):
    async with open_supervisor(MemoryStore(), listener) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "deaf")
        if ended:
            await run.wait()
        first = await run.steer("deaf", key="k")
        at_once = await run.steer("deaf", key="k")
        outcome = await session.wait(first.run_id)
        when_ended = await run.steer("deaf", key="k")
        await run.steer("deaf", key="another")
        given = await messages(session)

    assert not first.steered
    assert outcome.state is RunState.COMPLETED
    assert [at_once, when_ended] == [first] * 2
    assert given == [("run_submitted", "deaf")] * 3


async def test_a_message_that_was_not_taken_in_time_is_known_by_its_key(autojump_clock):
    async def takes_none(request, context):
        if request.input == "listen":
            context.accept_steers()
            await trio.sleep(5)

    async with open_supervisor(MemoryStore(), takes_none) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "listen")
        first = await run.steer("left", key="k")
        await run.wait()
        again = await run.steer("left", key="k")
        await session.wait(first.steer_id)
        when_ended = await run.steer("left", key="k")
        given = await messages(session)

    assert [again, when_ended] == [first] * 2
    assert given == [
        ("run_submitted", "listen"),
        ("run_steered", "left"),
        ("run_submitted", "left"),
    ]


async def test_many_who_give_a_message_at_once_give_one(autojump_clock):
    found = []

    async with open_supervisor(MemoryStore(), listener) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "listen")

        async def give():
            found.append(await run.steer("left", key="k"))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(give)
        await run.steer("stop")
        outcome = await run.wait()

    assert outcome.output == ["left", "stop"]
    assert len(set(found)) == 1
    assert len(found) == 20


class Forgetful(MemoryStore):
    """Its answers to who looks through the log are late: what it says was true ``lag`` ago."""

    late = None

    async def read(self, session_id, **question):
        page = await super().read(session_id, **question)
        if self.late is not None:
            late, self.late = self.late, None
            await late()
        return page


@pytest.mark.parametrize("message", ["left", "deaf"])
async def test_a_message_that_comes_and_goes_after_the_look_at_the_log_is_found(
    autojump_clock, message
):
    store = Forgetful()
    async with open_supervisor(store, listener) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "listen" if message == "left" else "deaf")
        others = []

        async def somebody_else():
            others.append(await run.steer(message, key="k"))
            if not others[0].steered:
                await session.wait(others[0].run_id)
            else:
                await trio.sleep(1)

        store.late = somebody_else
        mine = await run.steer(message, key="k")
        if message == "left":
            await run.steer("stop")
        await run.wait()
        given = await messages(session)

    assert mine == others[0]
    assert [text for _, text in given].count(message) == (1 if message == "left" else 2)


async def test_a_run_that_ends_after_the_look_at_the_log_is_looked_at_again(autojump_clock):
    store = Forgetful()
    async with open_supervisor(store, listener) as supervisor:
        session = await supervisor.session("s")
        run = await running(session, "deaf")

        async def end():
            await run.wait()

        store.late = end
        steer = await run.steer("deaf", key="k")

        assert not steer.steered
        assert await run.steer("deaf", key="k") == steer


async def test_runs_and_sessions_that_are_not_there_are_unknown(autojump_clock):
    async with open_supervisor(MemoryStore(), listener) as supervisor:
        session = await supervisor.session("s")
        with pytest.raises(UnknownRun):
            await session.steer("no such run", "x", key="k")
        with pytest.raises(UnknownSession):
            await supervisor.handle("none").steer("no such run", "x", key="k")


async def test_the_same_key_for_another_run_is_another_message(autojump_clock):
    async with open_supervisor(MemoryStore(), listener) as supervisor:
        session = await supervisor.session("s", slots=2)
        runs = [await running(session, "listen") for _ in range(2)]
        given = [await run.steer("stop", key="k") for run in runs]
        outcomes = [await run.wait() for run in runs]

    assert [outcome.output for outcome in outcomes] == [["stop"]] * 2
    assert given[0].steer_id != given[1].steer_id
