"""How many streamed events a second, appended, durable and delivered live?

20 sessions with one live subscriber each; a client per session submits 20 runs one at a time, and
every run streams 200 deltas: 80,000 deltas, 81,200 events in all. The clock stops when the last
subscriber has its last event.

Estimate beforehand: per event an emit call with its checks 2 us, msgpack out 1.5 us, index and
framing 1 us, decode 2.2 us, delivery 1 us: about 8 us, so 120,000 events/s when commits are large;
20 sessions emitting at once make commits of some hundred records, whose syncs overlap with the
encoding of the next. 80,000 is the least that will do.

Reading it: ``reference`` is the disk alone, with as many records in as many syncs. ``batches``
takes events as ``Subscription.batches()`` gives them, ``one by one`` with ``async for``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from moorage.runtime import RunContext, RunRequest, Session, open_supervisor
from moorage.stores import JournalStore

from benchmarks.measuring import (
    Report,
    Rounds,
    bare_records_per_second,
    directory,
    median_round,
    syncs_of,
    together,
)

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measuring import OpenStore

SESSIONS = 20
RUNS = 20
DELTAS = 200
EVENTS_PER_RUN = DELTAS + 3
ROUNDS = 3


async def agent(request: RunRequest, context: RunContext) -> object:
    for index in range(DELTAS):
        await context.emit("message_streamed", {"delta": "some words ", "index": index})
    return {"content": "done"}


async def take_batches(session: Session, after: int, count: int) -> None:
    seq = after
    async with session.subscribe(after=after) as events:
        async for batch in events.batches():
            seq += len(batch)
            if seq != batch[-1].seq:
                raise RuntimeError(f"a gap or a repeat before seq {batch[-1].seq}")
            if seq == after + count:
                return


async def take_one_by_one(session: Session, after: int, count: int) -> None:
    seq = after
    async with session.subscribe(after=after) as events:
        async for event in events:
            seq += 1
            if seq != event.seq:
                raise RuntimeError(f"a gap or a repeat before seq {event.seq}")
            if seq == after + count:
                return


async def events_per_second(
    path: Path,
    sessions: int,
    rounds: int,
    *,
    one_by_one: bool = False,
    open_store: OpenStore = JournalStore,
) -> Rounds:
    """Rates of several rounds on one store, after one that warms up."""
    take = take_one_by_one if one_by_one else take_batches
    rates: list[float] = []
    costs: list[float] = []

    async def client(session: Session) -> None:
        for _ in range(RUNS):
            (await session.execute({"prompt": "go on"})).unwrap()

    async def serve(session: Session) -> None:
        head = (await session.info()).head_seq
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, session, head, RUNS * EVENTS_PER_RUN)
            nursery.start_soon(client, session)

    async with open_supervisor(open_store(path), agent) as supervisor:
        opened = [await supervisor.session(f"user-{number}") for number in range(sessions)]
        for number in range(rounds + 1):
            if number == 1:
                syncs_before = syncs_of(supervisor)
            begin, cpu_begin = time.perf_counter(), time.process_time()
            await together(serve, opened)
            count = sessions * RUNS * EVENTS_PER_RUN
            rates.append(count / (time.perf_counter() - begin))
            costs.append((time.process_time() - cpu_begin) / count)
        syncs = syncs_of(supervisor) - syncs_before
    return Rounds(rates[1:], costs[1:], syncs)


def measure(report: Report, quick: bool = False) -> None:
    """Report events a second, delivered in batches and one by one."""
    rounds = 1 if quick else ROUNDS
    for metric, one_by_one in (("batches", False), ("one by one", True)):
        with directory() as path:

            async def run(path: Path = path, one_by_one: bool = one_by_one) -> Rounds:
                return await events_per_second(
                    path / "store", SESSIONS, rounds, one_by_one=one_by_one
                )

            found = trio.run(run)
            records = SESSIONS * RUNS * EVENTS_PER_RUN * rounds
            bare = bare_records_per_second(path, records=records, syncs=found.syncs)
        report(metric, median_round(found.rates), "events/s", reference=bare)
        cost = median_round(found.costs) * 1e6
        report(f"processor time, {metric}", cost, "us/event")
        report(f"syncs, {metric}", found.syncs, "syncs", events=records)
