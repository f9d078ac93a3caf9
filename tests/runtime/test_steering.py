"""Messages on their way to an agent: offered, taken, told."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime import open_supervisor
from moorage.runtime.agents import Steer
from moorage.runtime.steering import Steering
from moorage.stores import MemoryStore


def test_what_was_taken_is_untold_until_its_message_is_sent():
    steering = Steering()
    for id in "MN":
        steering.offer(Steer(id, f"say {id}"))

    taken = steering.take()
    before = steering.untold
    for data in ({"steer_id": "M"}, {"steer_id": "M"}, {"steer_id": "X"}, {"steer_id": []}, "N"):
        steering.note_sent(data)

    assert [steer.id for steer in taken] == ["M", "N"]
    assert (before, steering.untold) == (("M", "N"), ("N",))
    assert (steering.newly_told(), steering.newly_told()) == (("M",), ())
    assert steering.take() == []


async def test_everybody_who_waits_for_a_message_learns_of_each(autojump_clock):
    steering, heard = Steering(), []

    async def listen(name):
        while True:
            await steering.wait()
            heard.append(name)
            steering.take()

    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(listen, name)
        for number in range(1, 11):
            await trio.sleep(1)
            steering.offer(Steer(str(number), "x"))
            await trio.sleep(1)
            assert len(heard) >= number
            assert steering.take() == []
        nursery.cancel_scope.cancel()


class Hearing:
    """Takes one message at each start, and tells of it if it is to; then waits."""

    def __init__(self, *, tells):
        self.tells = tells
        self.heard = []

    async def __call__(self, request, context):
        if request.input != "listen":
            return request.input
        context.accept_steers()
        await context.wait_steer()
        for steer in context.take_steers():
            self.heard.append((request.attempt, steer.message))
            if self.tells:
                data = {"content": steer.message, "steer_id": steer.id}
                await context.emit("message_sent", data)
                await context.flush()
        await trio.sleep(1_000)
        return None


@pytest.mark.promise(4)
@pytest.mark.parametrize("tells", [False, True])
async def test_a_message_that_was_taken_is_lost_with_no_process_before_it_is_told(
    autojump_clock, tells
):
    store, agent = MemoryStore(), Hearing(tells=tells)
    for _ in range(2):
        with pytest.raises(KeyError):  # interrupts what runs
            async with open_supervisor(store, agent) as supervisor:
                session = await supervisor.session("s")
                run = await session.submit("listen", key="k", on_interrupt="requeue")
                await trio.sleep(1)
                if not agent.heard:
                    await run.steer("left")
                await trio.sleep(1)
                raise KeyError

    assert agent.heard == ([(1, "left")] if tells else [(1, "left"), (2, "left")])


@pytest.mark.promise(4)
async def test_a_message_taken_by_a_run_that_is_interrupted_becomes_a_run(autojump_clock):
    store, agent = MemoryStore(), Hearing(tells=False)
    with pytest.raises(KeyError):
        async with open_supervisor(store, agent) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit("listen")
            await trio.sleep(1)
            steer = await run.steer("left")
            await trio.sleep(1)
            raise KeyError
    async with open_supervisor(store, agent) as supervisor:
        outcome = await supervisor.handle("s").wait(steer.steer_id)

    assert agent.heard == [(1, "left")]
    assert outcome.output == "left"


async def test_that_a_message_was_told_and_taken_is_one_write(autojump_clock, failing_store):
    agent = Hearing(tells=True)
    async with open_supervisor(failing_store, agent) as supervisor:
        session = await supervisor.session("s")
        run = await session.submit("listen")
        await trio.sleep(1)
        failing_store.only = lambda records: records[0].type == "message_sent"
        failing_store.fail(3)
        await run.steer("left")
        await trio.sleep(60)
        events = await session.events(types={"message_sent", "run_steer_taken"})
        await run.cancel()

    assert failing_store.failed == 3
    assert [event.type for event in events] == ["message_sent", "run_steer_taken"]
