"""A node that dies, hangs or drains leaves its sessions to the others, without being asked."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from moorage.runtime import RunState, StoreFailed, SupervisorLimits, open_supervisor
from moorage.runtime.testing import assert_history
from moorage.stores import MemoryStore

LEASE_SECONDS = 10.0


class Node(MemoryStore):
    """A node of a cluster that can be cut off from its store, or fail to look."""

    def __init__(self, *, lease_seconds=LEASE_SECONDS):
        super().__init__(lease_seconds=lease_seconds)
        self.cut_off = False
        self.looks = 0

    async def claim(self, session_id):
        await self._reach()
        return await super().claim(session_id)

    async def renew(self, claims):
        await self._reach()
        return await super().renew(claims)

    async def append(self, claim, **batch):
        await self._reach()
        await super().append(claim, **batch)

    async def announce(self, state):
        self.looks += 1
        await self._reach()
        return await super().announce(state)

    async def unheld(self, limit, *, offer=None):
        await self._reach()
        return await super().unheld(limit, offer=offer)

    async def _reach(self):
        if self.cut_off:
            raise StoreFailed("the network is cut", written=False)


class Placed:
    """An agent of one node; ``where`` counts runs by node over the whole cluster."""

    def __init__(self, name, where):
        self.name = name
        self.where = where

    async def __call__(self, request, context):
        self.where[self.name] += 1
        await trio.sleep(request.input)
        return self.name


async def test_a_node_that_is_cut_off_loses_its_work_to_another_within_a_lease_and_a_half(
    autojump_clock,
):
    where = Counter()
    first = Node()
    second = first.peer()
    async with open_supervisor(second, Placed("second", where)) as other:
        async with open_supervisor(first, Placed("first", where)) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(500, on_interrupt="requeue")
            queued = await session.submit(1)
            await trio.sleep(5)
            first.cut_off = True
            cut_at = trio.current_time()

            while where["second"] == 0:
                await trio.sleep(0.1)
            taken_after = trio.current_time() - cut_at

            there = await other.session("s", mode="resume")
            outcomes = [await there.wait(run.id), await there.wait(queued.id)]
            first.cut_off = False
        events = await there.events(limit=1_000)

    assert taken_after <= 1.5 * LEASE_SECONDS
    assert [(outcome.state, outcome.output) for outcome in outcomes] == [
        (RunState.COMPLETED, "second")
    ] * 2
    assert outcomes[0].attempt == 2
    assert_history(events)


async def test_a_drained_node_leaves_what_is_queued_to_the_others(autojump_clock):
    where = Counter()
    first = Node()
    async with open_supervisor(first.peer(), Placed("second", where)) as other:
        async with open_supervisor(first, Placed("first", where)) as supervisor:
            session = await supervisor.session("s")
            running = await session.submit(1)
            queued = await session.submit(1)
            await trio.sleep(0.5)
        there = await other.session("s", mode="resume")
        outcomes = [await there.wait(run.id) for run in (running, queued)]

    assert [outcome.output for outcome in outcomes] == ["first", "second"]


class SlowlyTelling(Node):
    async def tell_unheld(self):
        await trio.sleep(0.1)
        await super().tell_unheld()


async def test_a_node_that_leaves_tells_the_others_what_it_leaves_to_them(autojump_clock):
    where = Counter()
    first = SlowlyTelling()
    async with open_supervisor(first.peer(), Placed("second", where)) as other:
        async with open_supervisor(first, Placed("first", where)) as supervisor:
            session = await supervisor.session("s")
            await session.submit(1)
            queued = await session.submit(0)
        left = trio.current_time()
        await other.handle("s").wait(queued.id)

    assert trio.current_time() - left < LEASE_SECONDS / 100


async def test_many_orphans_are_shared_out_between_the_nodes_that_are_left(autojump_clock):
    where = Counter()
    first = Node()
    agents = {name: Placed(name, where) for name in ("first", "second", "third")}
    async with (
        open_supervisor(first.peer(), agents["second"]),
        open_supervisor(first.peer(), agents["third"]),
    ):
        limits = SupervisorLimits(runs_running_max=1)
        async with open_supervisor(first, agents["first"], limits=limits) as supervisor:
            for number in range(100):
                await (await supervisor.session(f"s{number}")).submit(1)
        await trio.sleep(3 * LEASE_SECONDS)

    assert where.total() == 100
    assert where["second"] >= 16
    assert where["third"] >= 16


async def test_a_look_that_fails_is_followed_by_another(autojump_clock):
    where = Counter()
    first = Node()
    second = first.peer()
    second.cut_off = True
    async with open_supervisor(second, Placed("second", where)) as other:
        async with open_supervisor(first, Placed("first", where)) as supervisor:
            session = await supervisor.session("s", slots=1)
            await session.submit(100)
            run = await session.submit(1)
            await trio.sleep(1)
        await trio.sleep(LEASE_SECONDS)
        failed_looks = second.looks
        second.cut_off = False
        outcome = await (await other.session("s", mode="resume")).wait(run.id)

    assert failed_looks >= 3
    assert outcome.output == "second"


async def test_a_node_without_room_leaves_sessions_to_others(autojump_clock):
    where = Counter()
    first = Node()
    limits = SupervisorLimits(sessions_resident_max=1)
    async with open_supervisor(first.peer(), Placed("full", where), limits=limits) as full:
        await (await full.session("busy")).submit(100)
        async with open_supervisor(first, Placed("first", where)) as supervisor:
            session = await supervisor.session("s")
            await session.submit(100)
            await session.submit(1)
            await trio.sleep(1)
        await trio.sleep(5 * LEASE_SECONDS)
        taken = dict(where)

    assert taken == {"full": 1, "first": 1}


@pytest.mark.parametrize("lease_seconds", [None])
async def test_a_store_without_leases_is_never_looked_through(autojump_clock, lease_seconds):
    store = Node(lease_seconds=lease_seconds)
    async with open_supervisor(store, Placed("only", Counter())):
        await trio.sleep(100)

    assert store.looks == 0
