"""How many small runs a second, from submit to outcome?

100 sessions, each with a client that submits 20 runs one at a time and waits for each; every run
streams 3 deltas. So 100 runs are under way at any moment and every run is 6 durable events.

Estimate beforehand: 2,000 runs are 12,000 events. A client waits for two commits per run (accepted,
ended), so 40 rounds of about 100 submits share about 100 syncs of 0.5 ms: 0.05 s. The rest is the
interpreter: 6 encodings of 3 us, two hand-overs, one task of 16 us and a dozen checkpoints make
about 120 us per run. Expect 7,000 runs/s; 5,000 is the least that will do.

Reading it: ``reference`` is what the disk alone would do for the same number of records in the
same number of syncs, divided by the records of one run. A ratio near 1 would mean that Python
costs nothing; what is missing from 1 is ours.
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

SESSIONS = 100
RUNS = 20
DELTAS = 3
EVENTS_PER_RUN = DELTAS + 3
ROUNDS = 5


async def agent(request: RunRequest, context: RunContext) -> object:
    for index in range(DELTAS):
        await context.emit("message_streamed", {"delta": f"word {index} "})
    return {"content": "word 0 word 1 word 2 "}


async def runs_per_second(
    path: Path, sessions: int, rounds: int, open_store: OpenStore = JournalStore
) -> Rounds:
    """Rates of several rounds on one store, after one that warms up."""
    rates: list[float] = []
    costs: list[float] = []

    async def client(session: Session) -> None:
        for number in range(RUNS):
            run = await session.submit({"messages": [{"role": "user", "content": str(number)}]})
            outcome = await run.wait()
            outcome.unwrap()

    async with open_supervisor(open_store(path), agent) as supervisor:
        opened: list[Session] = []

        async def open_session(number: int) -> None:
            opened.append(await supervisor.session(f"user-{number}"))

        await together(open_session, range(sessions))
        for number in range(rounds + 1):
            if number == 1:
                syncs_before = syncs_of(supervisor)
            begin, cpu_begin = time.perf_counter(), time.process_time()
            await together(client, opened)
            count = sessions * RUNS
            rates.append(count / (time.perf_counter() - begin))
            costs.append((time.process_time() - cpu_begin) / count)
        syncs = syncs_of(supervisor) - syncs_before
    return Rounds(rates[1:], costs[1:], syncs)


def measure(report: Report, quick: bool = False) -> None:
    """Report runs a second: the median and the best of five rounds."""
    rounds = 2 if quick else ROUNDS
    with directory() as path:
        found = trio.run(runs_per_second, path / "store", SESSIONS, rounds)
        records = SESSIONS * RUNS * EVENTS_PER_RUN * rounds
        bare = bare_records_per_second(path, records=records, syncs=found.syncs)
    report("throughput", median_round(found.rates), "runs/s", reference=bare / EVENTS_PER_RUN)
    report("best", max(found.rates), "runs/s")
    report("processor time", median_round(found.costs) * 1e6, "us/run")
    report("syncs", found.syncs, "syncs", runs=SESSIONS * RUNS * rounds)
