"""A long life in a short time: many runs, subscribers that come and go, sessions in and out.

    python tests/acceptance/soak.py [--runs 100000] [--sessions 1000]

Fails (exit 1) if memory grows by 5 % or more over the second half, or if a task, thread, file
descriptor or child process is left at the end. Bounded caches are small enough to be full by
half-time, so that what still grows is a leak.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import structlog
import trio
from moorage.adapters.agents import ProcessAgent
from moorage.runtime import (
    CursorExpired,
    RunContext,
    RunRequest,
    RunState,
    Supervisor,
    SupervisorLimits,
    UnknownSession,
    open_supervisor,
)
from moorage.stores import JournalStore

CLIENTS = 100
SUBSCRIBERS = 20
GROWTH_MAX = 0.05
LIMITS = SupervisorLimits(
    idle_seconds=0.1,
    sessions_resident_max=300,
    runs_running_max=80,
    outcome_cache_bytes_max=1024 * 1024,
    tail_cache_bytes_max=1024 * 1024,
    snapshot_events_max=100,
)
PROCESS_RUNS = 40


async def work(request: RunRequest, context: RunContext) -> object:
    for index in range(2):
        await context.emit("message_streamed", {"delta": f"part {index} of {request.run_id}"})
    if request.input["serial"] % 50 == 0:
        raise ValueError("one in fifty fails")
    return {"content": "x" * 50}


class Soak:
    def __init__(self, supervisor: Supervisor, runs: int, sessions: int) -> None:
        self.supervisor = supervisor
        self.runs = runs
        self.sessions = sessions
        self.started = 0
        self.done = 0
        self.delivered = 0
        self.samples: list[int] = []
        self.dice = random.Random(1)

    async def client(self) -> None:
        while self.started < self.runs:
            self.started += 1
            serial = self.started
            session = await self.supervisor.session(f"s{self.dice.randrange(self.sessions)}")
            agent = "process" if serial % (self.runs // PROCESS_RUNS) == 0 else "work"
            outcome = await session.execute({"serial": serial}, agent=agent)
            assert outcome.state in (RunState.COMPLETED, RunState.FAILED), outcome
            self.done += 1
            if self.done % (self.runs // 20) == 0:
                self.sample()

    async def subscriber(self) -> None:
        while True:
            id = f"s{self.dice.randrange(self.sessions)}"
            session = await self.supervisor.session(id)
            with trio.move_on_after(self.dice.uniform(0.01, 0.3)), suppress(CursorExpired):
                after = self.dice.choice([0, "head"])
                async with session.subscribe(after=after) as events:  # type: ignore[arg-type]
                    async for batch in events.batches():
                        self.delivered += len(batch)

    async def tidy(self) -> None:
        """Retention: what an operator would have running."""
        while True:
            await trio.sleep(0.05)
            session = await self.supervisor.session(f"s{self.dice.randrange(self.sessions)}")
            try:
                head = (await session.info()).head_seq
                if head > 200:
                    await session.trim(before=head - 100)
            except UnknownSession:
                continue

    def sample(self) -> None:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.samples.append(pages * os.sysconf("SC_PAGE_SIZE"))
        statistics = self.supervisor.statistics()
        print(
            f"{self.done:>7} runs, {self.samples[-1] / 1e6:6.1f} MB, "
            f"{statistics.sessions_resident} resident, {statistics.store.segments} segments",
            flush=True,
        )


def _read(path: Path) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
        return path.read_text()
    return ""


def left_over() -> dict[str, list[str]]:
    """Everything there is now, by kind, each with a name that says what it is."""
    # of every thread: a child belongs to the one that started it, most of them workers of trio's
    children = Path("/proc/self/task").glob("*/children")
    return {
        "threads": [t.name for t in threading.enumerate() if not t.name.startswith("Trio thread")],
        "file descriptors": [_target(path) for path in Path("/proc/self/fd").iterdir()],
        "children": [pid for path in children for pid in _read(path).split()],
    }


def _target(path: Path) -> str:
    with suppress(FileNotFoundError):  # that of the listing itself
        return os.readlink(path)
    return "closed"


async def main(runs: int, sessions: int, directory: str) -> int:
    before, began = left_over(), time.monotonic()
    root = trio.lowlevel.current_root_task()
    tasks_before = _count_tasks(root)
    store = JournalStore(directory, segment_bytes=4 * 1024 * 1024)
    agents = {"work": work, "process": ProcessAgent([sys.executable, "-S", "-c", "print('hi')"])}
    async with open_supervisor(store, agents, limits=LIMITS) as supervisor:
        soak = Soak(supervisor, runs, sessions)
        async with trio.open_nursery() as others:
            for _ in range(SUBSCRIBERS):
                others.start_soon(soak.subscriber)
            others.start_soon(soak.tidy)
            async with trio.open_nursery() as clients:
                for _ in range(CLIENTS):
                    clients.start_soon(soak.client)
            others.cancel_scope.cancel()
    after, tasks_after = left_over(), _count_tasks(root)
    # means of three, because one sample may catch a compaction at work
    middle = len(soak.samples) // 2
    growth = sum(soak.samples[-3:]) / sum(soak.samples[middle - 2 : middle + 1]) - 1
    problems = [
        f"{name}: {len(before[name])} before, {len(after[name])} after: {after[name]}"
        for name in before
        if len(after[name]) > len(before[name])
    ]
    if tasks_after > tasks_before:
        problems.append(f"tasks: {tasks_before} before, {tasks_after} after")
    if growth >= GROWTH_MAX:
        problems.append(f"memory grew by {growth:.1%} over the second half")
    for problem in problems:
        print("PROBLEM", problem)
    seconds = time.monotonic() - began
    print(
        f"{soak.done} runs in {sessions} sessions, {soak.delivered} events delivered, "
        f"{seconds:.0f} s, memory {growth:+.1%} over the second half, {len(problems)} problems"
    )
    return 1 if problems else 0


def _count_tasks(root: trio.lowlevel.Task | None) -> int:
    if root is None:
        return 0
    return 1 + sum(
        _count_tasks(task) for nursery in root.child_nurseries for task in nursery.child_tasks
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=1_000)
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(prefix="moorage-soak-") as directory:
        sys.exit(trio.run(main, options.runs, options.sessions, directory + "/data"))
