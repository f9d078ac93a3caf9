"""Do 1,000 subscribers slow the session down, and how late do they get its events?

One agent emits 5,000 events a second, 50 every 10 ms, for three seconds; first with one live
subscriber, then with 1,000. Lateness is the time from an event's ``time_ns`` to the moment when a
subscriber holds it, taken for the oldest event of each batch; durability is part of it.

Estimate beforehand: 15 M deliveries in 3 s. Decoding is shared through the tail cache, so a
delivery costs a list append of 20 ns; waking 1,000 tasks costs 15 ms. At 5 M/s the wake-ups decide:
with one wake-up of everybody per 25 ms about 60 % of a core are spent, and lateness stays below
50 ms if wake-ups become rarer when there are many.

Reading it: ``added p99`` is the 99th percentile with 1,000 minus that with one, in milliseconds,
and must stay below 50. ``rate`` has the rate with one subscriber as its reference and must reach
0.8 of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime import RunContext, RunRequest, Session, open_supervisor
from moorage.stores import JournalStore

from benchmarks.measuring import Report, directory, quantile

if TYPE_CHECKING:
    from pathlib import Path

SUBSCRIBERS = 1_000
SECONDS = 3
EVENTS_PER_TICK = 50
TICK_SECONDS = 0.01
EVENTS_AROUND = 2
"""run_submitted and run_started come before the first of the agent's events."""


@attrs.define
class Measured:
    """``rate`` in events/s of the session itself, ``late`` in seconds, one per batch."""

    rate: float = 0.0
    syncs: int = 0
    delivered: int = 0
    seconds: float = 0.0
    late: list[float] = attrs.field(factory=list)


async def agent(request: RunRequest, context: RunContext) -> object:
    """Emit in ticks; falling behind shows as a lower rate."""
    begin = trio.current_time()
    for tick in range(request.input["ticks"]):
        await trio.sleep_until(begin + tick * TICK_SECONDS)
        for _ in range(EVENTS_PER_TICK):
            await context.emit("message_streamed", {"delta": "some words "})
    await context.flush()
    return trio.current_time() - begin


async def subscribe(session: Session, count: int, ready: trio.Event, into: Measured) -> None:
    left = count + EVENTS_AROUND
    async with session.subscribe(after="head") as events:
        ready.set()
        async for batch in events.batches():
            into.late.append((time.time_ns() - batch[0].time_ns) / 1e9)
            left -= len(batch)
            into.delivered += len(batch)
            if left <= 0:
                return


async def fan_out(path: Path, subscribers: int, seconds: float) -> Measured:
    """One run with this many subscribers, from a new store."""
    measured = Measured()
    ticks = int(seconds / TICK_SECONDS)
    count = ticks * EVENTS_PER_TICK
    async with open_supervisor(JournalStore(path), agent) as supervisor:
        session = await supervisor.session("user-1")
        async with trio.open_nursery() as nursery:
            for _ in range(subscribers):
                ready = trio.Event()
                nursery.start_soon(subscribe, session, count, ready, measured)
                await ready.wait()
            before = supervisor.statistics().store.syncs
            begin = time.perf_counter()
            outcome = await session.execute({"ticks": ticks})
            measured.rate = count / outcome.unwrap()
        measured.seconds = time.perf_counter() - begin
        measured.syncs = supervisor.statistics().store.syncs - before
    return measured


def measure(report: Report, quick: bool = False) -> None:
    """Report rates, deliveries and lateness."""
    seconds = SECONDS / 3 if quick else SECONDS
    with directory() as path:
        one = trio.run(fan_out, path / "one", 1, seconds)
        many = trio.run(fan_out, path / "many", SUBSCRIBERS, seconds)
    added = quantile(many.late, 0.99) - quantile(one.late, 0.99)
    report("rate", many.rate, "events/s", reference=one.rate)
    report("delivered", many.delivered / many.seconds, "events/s", events=many.delivered)
    report("p99 with one", quantile(one.late, 0.99) * 1e3, "ms")
    report("p99", quantile(many.late, 0.99) * 1e3, "ms")
    report("added p99", added * 1e3, "ms")
    report("added p50", (quantile(many.late, 0.5) - quantile(one.late, 0.5)) * 1e3, "ms")
    report("syncs", many.syncs, "syncs", syncs_with_one=one.syncs)
