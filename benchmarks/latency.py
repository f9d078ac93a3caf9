"""How long does one small run take, from submit to outcome, when nothing else happens?

One session, one client, one run at a time. A run waits for two commits in a row: accepted, and
ended (its start shares the second or lies in the shadow of the first).

Estimate beforehand: two syncs of 0.3 to 0.6 ms, two hops to the writer thread and back of 0.1 to
0.3 ms, and 0.2 ms of interpreter: 1.5 ms. The limit is two bare syncs of the same run plus 0.7 ms.

Reading it: ``reference`` is that limit, so a ratio up to 1 is within it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from moorage.runtime import RunContext, RunRequest, open_supervisor
from moorage.stores import JournalStore

from benchmarks.measuring import Report, bare_sync_seconds, directory, quantile

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 1_000
OVERHEAD_SECONDS = 0.7e-3


async def agent(request: RunRequest, context: RunContext) -> object:
    return {"content": "Hello"}


async def run_seconds(path: Path, runs: int) -> tuple[list[float], int]:
    """The time of each run, and the syncs they took."""
    times: list[float] = []
    async with open_supervisor(JournalStore(path), agent) as supervisor:
        session = await supervisor.session("user-1")
        await session.execute({"prompt": "warm up"})
        before = supervisor.statistics().store.syncs
        for _ in range(runs):
            begin = time.perf_counter()
            await (await session.submit({"prompt": "hello"})).wait()
            times.append(time.perf_counter() - begin)
        syncs = supervisor.statistics().store.syncs - before
    return times, syncs


def measure(report: Report, quick: bool = False) -> None:
    """Report the median and the 99th percentile in milliseconds."""
    runs = RUNS // 10 if quick else RUNS
    with directory() as path:
        bare = bare_sync_seconds(path)
        times, syncs = trio.run(run_seconds, path / "store", runs)
        bare = (bare + bare_sync_seconds(path)) / 2
    limit = 2 * bare + OVERHEAD_SECONDS
    report("p50", quantile(times, 0.5) * 1e3, "ms", reference=limit * 1e3)
    report("p99", quantile(times, 0.99) * 1e3, "ms")
    report("bare sync p50", bare * 1e3, "ms")
    report("syncs", syncs, "syncs", runs=runs)
