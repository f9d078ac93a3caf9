"""What does a run cost through the asyncio face, beside the same run natively in trio?

The same clients on the same store, natively and through the face, in turns so that whatever else
the machine does meets both: 100 sessions x 20 runs x 3 deltas, submit to outcome. And one run at a
time, for its latency. The face has a second thread, so each run crosses twice there and back.

The face could also have been trio's guest mode, trio inside of asyncio's loop, where nothing
crosses a thread but every wait of trio's does. It is measured here as well, with the least that
asks it from asyncio, and what both do when the host keeps its loop for a second: the longest time
in which an agent that flushes all the time could not.

Estimate beforehand: a run costs 150 us natively. A crossing is a future, a context, a trio task of
16 us and its share of two wake-ups: 30 us, twice a run: 1.4 times. Latency gains two wake-ups of
a sleeping thread per crossing, 0.1 ms each, beside two commits of 0.5 ms: 1.4 times, too.

Reading it: ``reference`` is the native figure of the same run, and ``ratio`` what the face (or the
guest) costs in its terms; 2 is the limit. ``uvloop`` lines are missing where it is not installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from moorage.adapters.gateways import asyncio_host
from moorage.runtime import RunContext, RunRequest, open_supervisor
from moorage.stores import JournalStore

from benchmarks.measuring import Report, directory, median_round, quantile, together

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path

SESSIONS = 100
RUNS = 20
ROUNDS = 5
ALONE = 300
"""Runs one at a time."""
BLOCKED_SECONDS = 1.0


async def agent(request: RunRequest, context: RunContext) -> object:
    """Three deltas, or, for ``input="flush"``, the longest time that a flush took, in seconds."""
    if request.input != "flush":
        for index in range(3):
            await context.emit("message_streamed", {"delta": f"word {index} "})
        return None
    longest, begun = 0.0, time.perf_counter()
    while time.perf_counter() - begun < BLOCKED_SECONDS * 1.5:
        before = time.perf_counter()
        await context.emit("message_streamed", {"delta": "word"})
        await context.flush()
        longest = max(longest, time.perf_counter() - before)
    return longest


class Figures:
    """Of one way, in seconds: a run's time and processor time with all sessions busy, and the time
    of runs one at a time. Where other programs use the processors too, the second says more."""

    def __init__(self) -> None:
        self.busy: list[float] = []
        self.cost: list[float] = []
        self.alone: list[float] = []


async def in_trio(path: Path, alone: int, figures: Figures) -> None:
    async with open_supervisor(JournalStore(path), agent) as supervisor:
        sessions = [await supervisor.session(f"user-{number}") for number in range(SESSIONS)]

        async def client(session: Any) -> None:
            for number in range(RUNS):
                (await (await session.submit({"n": number})).wait()).unwrap()

        for counted in (False, True):
            begin, cpu_begin = time.perf_counter(), time.process_time()
            await together(client, sessions)
            if counted:
                figures.busy.append((time.perf_counter() - begin) / SESSIONS / RUNS)
                figures.cost.append((time.process_time() - cpu_begin) / SESSIONS / RUNS)
        for _ in range(alone):
            begin = time.perf_counter()
            await (await sessions[0].submit({"n": 0})).wait()
            figures.alone.append(time.perf_counter() - begin)


async def in_asyncio(open: Any, path: Path, alone: int, figures: Figures) -> None:
    async with open(JournalStore(path), agent) as supervisor:
        sessions = [await supervisor.session(f"user-{number}") for number in range(SESSIONS)]

        async def client(session: Any) -> None:
            for number in range(RUNS):
                (await (await session.submit({"n": number})).wait()).unwrap()

        for counted in (False, True):
            begin, cpu_begin = time.perf_counter(), time.process_time()
            await asyncio.gather(*[client(session) for session in sessions])
            if counted:
                figures.busy.append((time.perf_counter() - begin) / SESSIONS / RUNS)
                figures.cost.append((time.process_time() - cpu_begin) / SESSIONS / RUNS)
        for _ in range(alone):
            begin = time.perf_counter()
            await (await sessions[0].submit({"n": 0})).wait()
            figures.alone.append(time.perf_counter() - begin)


async def longest_flush(open: Any, path: Path, block: Callable[[], object]) -> float:
    """Seconds, while the host keeps its loop."""
    async with open(JournalStore(path), agent) as supervisor:
        session = await supervisor.session("user-1")
        run = await session.submit("flush")
        await session.events(types={"message_streamed"}, wait_seconds=60)
        block()
        seconds: float = (await run.wait()).unwrap()
        return seconds


def sleep() -> None:
    time.sleep(BLOCKED_SECONDS)


def compute() -> None:
    """Keeps the interpreter, too."""
    until = time.perf_counter() + BLOCKED_SECONDS
    while time.perf_counter() < until:
        pass


# ---- trio as a guest of asyncio's loop ----


class GuestObject:
    """A supervisor, session or run in a trio that is this loop's guest; its methods are awaited."""

    def __init__(self, native: Any, nursery: trio.Nursery, token: trio.lowlevel.TrioToken) -> None:
        self._native, self._nursery, self._token = native, nursery, token

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._native, name)

        async def crossed(*args: Any, **named: Any) -> Any:
            future = asyncio.get_running_loop().create_future()

            async def perform() -> None:
                future.set_result(await method(*args, **named))

            self._token.run_sync_soon(self._nursery.start_soon, perform)
            result = await future
            wrap = type(result).__name__ in ("Session", "Run")
            return GuestObject(result, self._nursery, self._token) if wrap else result

        return crossed


@asynccontextmanager
async def open_guest(store: JournalStore, agent: Any) -> AsyncIterator[GuestObject]:
    """The least that could be a face in guest mode."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[GuestObject] = loop.create_future()
    done: asyncio.Future[Any] = loop.create_future()
    leave = trio.Event()

    async def serve() -> None:
        async with trio.open_nursery() as nursery, open_supervisor(store, agent) as supervisor:
            token = trio.lowlevel.current_trio_token()
            opened.set_result(GuestObject(supervisor, nursery, token))
            await leave.wait()

    trio.lowlevel.start_guest_run(
        serve, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
    )
    guest = await opened
    yield guest
    guest._token.run_sync_soon(leave.set)
    (await done).unwrap()


# ---- in turns ----


def ways() -> dict[str, Callable[[Callable[[Any], Awaitable[Any]]], Any]]:
    """Name -> what runs an async function of ``open`` in a new loop."""
    face, guest = asyncio_host.open_supervisor, open_guest
    found: dict[str, Any] = {
        "asyncio face": lambda function: asyncio.run(function(face)),
        "guest mode": lambda function: asyncio.run(function(guest)),
    }
    if importlib.util.find_spec("uvloop") is not None:
        uvloop: Any = importlib.import_module("uvloop")
        found["asyncio face on uvloop"] = lambda function: uvloop.run(function(face))
    return found


def measure_costs(report: Report, quick: bool, names: tuple[str, ...], **more: Any) -> None:
    """Report what a run costs natively and in the ways of these names, in turns."""
    rounds, alone = (2, ALONE // 10) if quick else (ROUNDS, ALONE)
    chosen = {name: run for name, run in ways().items() if name in names}
    native, figures = Figures(), {name: Figures() for name in chosen}
    with directory() as path:
        for number in range(rounds):
            trio.run(in_trio, path / f"native-{number}", alone, native)
            for name, run in chosen.items():
                place = path / f"{name}-{number}"
                run(partial(in_asyncio, path=place, alone=alone, figures=figures[name]))
    for word in ("time", "processor time"):
        costs = {
            name: median_round(found.busy if word == "time" else found.cost) * 1e6
            for name, found in {"native": native, **figures}.items()
        }
        for name, cost in costs.items():
            report(f"{name}, {word} of a run", cost, "us", reference=costs["native"], **more)
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        reference = quantile(native.alone, share) * 1e3
        report(f"native latency {word}", reference, "ms", **more)
        for name, found in figures.items():
            value = quantile(found.alone, share) * 1e3
            report(f"{name}, latency {word}", value, "ms", reference=reference, **more)


def measure(report: Report, quick: bool = False) -> None:
    """Report the cost of a run natively and in each way, and what a blocked loop holds up."""
    measure_costs(report, quick, tuple(ways()))
    for kind, block in (("sleeps", sleep), ("computes", compute)):
        for name, run in ways().items():
            with directory() as path:
                seconds = run(partial(longest_flush, path=path / "store", block=block))
            metric = f"{name}, longest flush while the host {kind}"
            report(metric, seconds * 1e3, "ms", reference=BLOCKED_SECONDS * 1e3)
