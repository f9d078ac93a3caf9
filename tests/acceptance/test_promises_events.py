"""What subscribers see, and when: guarantees 7, 8, 9 and 10."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from moorage.runtime import (
    CursorExpired,
    CursorHeld,
    SupervisorLimits,
    open_reader,
    open_supervisor,
)
from moorage.runtime.testing import assert_contiguous
from moorage.stores import MemoryStore

PATIENCE_SECONDS = 120

# ---- 7 ----


@pytest.mark.promise(7)
async def test_7_events_arrive_once_and_in_order_from_any_point(open_store):
    async def agent(request, context):
        for number in range(request.input):
            await context.emit("number", {"number": number})
            if number % 7 == 0:
                await context.flush()

    collected = {after: [] for after in (0, 1, 150, 303)}
    async with open_supervisor(open_store(), agent) as supervisor:
        session = await supervisor.session("s")
        await session.execute(300)

        async def follow(after, seen):
            async with session.subscribe(after=after) as events:
                async for event in events:
                    seen.append(event)

        async with trio.open_nursery() as nursery:
            for after, seen in collected.items():
                nursery.start_soon(follow, after, seen)
            await session.execute(300)
            await session.close()
        head_seq = (await session.info()).head_seq

    for after, seen in collected.items():
        assert_contiguous(seen, after=after)
        assert seen[-1].seq == head_seq


@pytest.mark.promise(7)
async def test_7_a_cursor_older_than_what_is_kept_raises_with_the_oldest_seq(open_store, works):
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        for _ in range(3):
            await session.execute("good")
        await session.trim(before=7)
        with pytest.raises(CursorExpired) as expired:
            async with session.subscribe(after=2):
                pass
        with pytest.raises(CursorExpired):
            await session.events(after=2)

    assert expired.value.oldest_seq == 7


# ---- 8 ----


@pytest.mark.promise(8)
async def test_8_a_subscriber_sees_only_what_a_crash_cannot_take_away(durable, works):
    seen, crashes, lost = [], [], []
    async with open_supervisor(durable.open_store(), works) as supervisor:
        session = await supervisor.session("s")

        async def follow():
            async with session.subscribe() as events:
                async for event in events:
                    if len(seen) % 3 == 0:
                        # the worst outcome of a crash at the moment of delivery
                        crashes.append((event, durable.after_crash(lambda count: 1)))
                    seen.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for _ in range(4):
                await session.execute("good")
            await session.close()
    for event, found in crashes:
        async with open_reader(found.open_store()) as reader:
            if event not in await reader.session("s").events(limit=1000):
                lost.append(event)

    assert (len(seen), len(crashes)) == (4 * 4 + 2, 6)
    assert lost == []


class HoldingStore(MemoryStore):
    """While ``holding``, an append waits until ``let_go`` is set."""

    def __init__(self):
        super().__init__()
        self.holding = False
        self.reached, self.let_go = trio.Event(), trio.Event()

    async def append(self, claim, *, expected_seq, records, info=None):
        if self.holding:
            self.reached.set()
            await self.let_go.wait()
        await super().append(claim, expected_seq=expected_seq, records=records, info=info)


@pytest.mark.promise(8)
async def test_8_while_an_append_is_held_back_nobody_sees_its_events():
    store, begun, may_end, seen = HoldingStore(), trio.Event(), trio.Event(), []

    async def agent(request, context):
        await context.emit("message_streamed", {"delta": "begun"})
        await context.flush()
        begun.set()
        await may_end.wait()

    async def read_on(events):
        seen.append(await anext(events))

    with trio.fail_after(PATIENCE_SECONDS):
        async with open_supervisor(store, agent) as supervisor:
            session = await supervisor.session("s")
            await session.submit("x")
            await begun.wait()
            async with session.subscribe() as following:
                before = [await anext(following) for _ in range(4)]
                store.holding = True
                may_end.set()
                await store.reached.wait()
                async with session.subscribe(after=4) as fresh, trio.open_nursery() as nursery:
                    nursery.start_soon(read_on, following)
                    nursery.start_soon(read_on, fresh)
                    await trio.testing.wait_all_tasks_blocked()
                    early = list(seen)
                    store.let_go.set()

    assert before[-1].type == "message_streamed"
    assert early == []
    assert [event.type for event in seen] == ["run_completed"] * 2


# ---- 9 ----


@pytest.mark.promise(9)
async def test_9_a_stalled_subscriber_costs_no_memory_and_delays_nobody(autojump_clock):
    async def agent(request, context):
        for number in range(1_000):
            await context.emit("number", {"number": number, "filler": "x" * 50})

    seen = []
    limits = SupervisorLimits(tail_cache_bytes_max=20_000)
    async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
        session = await supervisor.session("s")
        stall = trio.Event()

        async def follow():
            async with session.subscribe() as events:
                async for event in events:
                    seen.append(event)
                    if len(seen) == 1:
                        await stall.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.sleep(1)
            begun = trio.current_time()
            for _ in range(5):
                await session.execute(None)
            taken = trio.current_time() - begun
            kept = supervisor.statistics().tail.bytes
            await trio.sleep(3600)
            stall.set()
            await session.close()

    assert taken < 1
    assert kept <= 20_000
    assert_contiguous(seen)
    assert len(seen) == 5 * 1_003 + 2


@pytest.mark.promise(9)
async def test_9_a_subscriber_that_does_not_read_delays_no_other_and_misses_nothing(
    open_store, works
):
    seen = []

    async def read_on(subscription):
        async for batch in subscription.batches():
            seen.extend(batch)

    with trio.fail_after(PATIENCE_SECONDS):
        async with open_supervisor(open_store(), works) as supervisor:
            session = await supervisor.session("s")
            async with session.subscribe() as stalled, session.subscribe() as reading:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read_on, reading)
                    for _ in range(50):
                        await session.execute("good")
                    await session.close()
                late = [event async for event in stalled]
            head_seq = (await session.info()).head_seq

    assert seen == late
    assert [event.seq for event in seen] == list(range(1, head_seq + 1))


# ---- 10 ----


@pytest.mark.promise(10)
@pytest.mark.parametrize("after", [0, "head"])
async def test_10_a_named_subscriber_goes_on_behind_its_last_acknowledgement(
    open_store, works, after
):
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        for _ in range(5):
            await session.execute("good")
        async with session.subscribe(after=0, name="mine") as events:
            async for event in events:
                if event.seq == 6:
                    await events.ack(event)
                if event.seq == 11:
                    break
            with pytest.raises(CursorHeld):
                async with session.subscribe(name="mine"):
                    pass
    async with open_supervisor(open_store(), works) as supervisor:
        session = await supervisor.session("s")
        async with session.subscribe(after=after, name="mine") as events:
            redelivered = [(await anext(events)).seq for _ in range(10)]

    assert redelivered == list(range(7, 17))


@pytest.mark.promise(10)
async def test_10_an_acknowledgement_survives_a_crash(durable, works):
    async with open_supervisor(durable.open_store(), works) as supervisor:
        session = await supervisor.session("s")
        await session.execute("good")
        async with session.subscribe(name="mine") as events:
            await events.ack(await anext(events))
            await events.ack(await anext(events))
            found = durable.after_crash(random.Random(7).randrange)

    async with open_supervisor(found.open_store(), works) as supervisor:
        session = await supervisor.session("s")
        async with session.subscribe(name="mine") as events:
            event = await anext(events)

    assert event.seq == 3
