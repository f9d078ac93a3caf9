"""How long do the smallest durable steps take, one at a time?

``create`` makes a session, ``append`` records one event outside any run, ``checkpoint`` has an
agent record a state of 4 KB and wait until it is durable.

Estimate beforehand: one sync, one hop to the writer thread and back, 0.1 ms of interpreter: 0.3 ms
above the bare sync. The limit is 0.5 ms above it.

Reading it: ``reference`` is that limit, so a ratio up to 1 is within it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from moorage.runtime import RunContext, RunRequest, Supervisor, open_supervisor
from moorage.stores import JournalStore

from benchmarks.measuring import Report, bare_sync_seconds, directory, quantile, syncs_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from benchmarks.measuring import OpenStore

STEPS = 1_000
OVERHEAD_SECONDS = 0.5e-3
STATE = {"messages": ["x" * 1_000] * 4}


async def agent(request: RunRequest, context: RunContext) -> object:
    """Save a state as often as the input says; the output is how long each took."""
    times: list[float] = []
    for _ in range(request.input["steps"]):
        begin = time.perf_counter()
        await context.emit("checkpoint_created", STATE)
        await context.flush()
        times.append(time.perf_counter() - begin)
    return times


async def create(supervisor: Supervisor, steps: int) -> list[float]:
    times: list[float] = []
    for number in range(steps):
        begin = time.perf_counter()
        await supervisor.session(f"user-{number}")
        times.append(time.perf_counter() - begin)
    return times


async def append(supervisor: Supervisor, steps: int) -> list[float]:
    times: list[float] = []
    session = await supervisor.session("user-1")
    for number in range(steps):
        begin = time.perf_counter()
        await session.append("message_received", {"content": "hello", "number": number})
        times.append(time.perf_counter() - begin)
    return times


async def checkpoint(supervisor: Supervisor, steps: int) -> list[float]:
    session = await supervisor.session("user-1")
    times: list[float] = (await session.execute({"steps": steps})).unwrap()
    return times


STEP: dict[str, Callable[[Supervisor, int], Awaitable[list[float]]]] = {
    "create": create,
    "append": append,
    "checkpoint": checkpoint,
}


async def step_seconds(
    path: Path, name: str, steps: int, open_store: OpenStore = JournalStore
) -> tuple[list[float], int]:
    """The time of each step, and the syncs they took."""
    async with open_supervisor(open_store(path), agent) as supervisor:
        before = syncs_of(supervisor)
        times = await STEP[name](supervisor, steps)
        return times, syncs_of(supervisor) - before


def measure(report: Report, quick: bool = False) -> None:
    """Report the median and the 99th percentile of what the report is named for."""
    steps = STEPS // 10 if quick else STEPS
    with directory() as path:
        bare = bare_sync_seconds(path)
        times, syncs = trio.run(step_seconds, path / "store", report.benchmark, steps)
        bare = (bare + bare_sync_seconds(path)) / 2
    limit = bare + OVERHEAD_SECONDS
    report("p50", quantile(times, 0.5) * 1e3, "ms", reference=limit * 1e3)
    report("p99", quantile(times, 0.99) * 1e3, "ms")
    report("bare sync p50", bare * 1e3, "ms")
    report("syncs", syncs, "syncs", steps=steps)
