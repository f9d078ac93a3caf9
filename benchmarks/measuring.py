"""What every benchmark does the same way: report lines, the machine, the disk's own speed.

A line is ``{benchmark, metric, value, unit, reference?, ratio?, ...}``. ``reference`` is the limit
or the peer that was measured in the same run, in the same unit, and ``ratio`` is value / reference.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from moorage.runtime import Supervisor
    from moorage.runtime.ports import Store

    OpenStore = Callable[[Path], Store]
    """Makes a store whose data lie at a path."""

ROOT = Path(__file__).resolve().parents[1]
RECORD_BYTES = 162
"""The size of one record in the bare measurements: about that of a streamed delta."""

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Rounds(NamedTuple):
    """Repeated measurements: things per second, processor seconds per thing, syncs in all.

    Where other programs use the processors too, the second says more than the first.
    """

    rates: list[float]
    costs: list[float]
    syncs: int


class Report:
    """Prints the lines of one benchmark, and keeps them in ``lines``."""

    def __init__(self, benchmark: str) -> None:
        self.benchmark = benchmark
        self.lines: list[dict[str, Any]] = []

    def __call__(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        reference: float | None = None,
        **more: Any,
    ) -> None:
        line: dict[str, Any] = {
            "benchmark": self.benchmark,
            "metric": metric,
            "value": rounded(value),
            "unit": unit,
        }
        if reference is not None:
            line["reference"] = rounded(reference)
            line["ratio"] = rounded(value / reference) if reference else None
        self.lines.append(line | more)
        print(json.dumps(self.lines[-1]), flush=True)

    def syncs(self, supervisor: Supervisor, since: int = 0) -> None:
        """How many syncs the store made, of which everything that is durable consists."""
        self("syncs", supervisor.statistics().store.syncs - since, "syncs")

    def skipped(self, reason: str) -> None:
        print(json.dumps({"benchmark": self.benchmark, "skipped": reason}), flush=True)


def syncs_of(supervisor: Supervisor) -> int:
    """How many syncs the store has made; 0 for one that leaves them to a server."""
    return getattr(supervisor.statistics().store, "syncs", 0)


def rounded(value: float) -> float:
    """Four significant digits, whole numbers kept."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "benchmark": "machine",
        "metric": "cpus",
        "value": len(os.sched_getaffinity(0)),
        "unit": "cpus",
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "trio": trio.__version__,
        "load_average": rounded(os.getloadavg()[0]),
    }


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A new directory on the disk that the project is on, not in memory, removed afterwards."""
    parent = ROOT / "build" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def bare_sync_seconds(path: Path, *, count: int = 300, size: int = RECORD_BYTES) -> float:
    """The median time of one write and fdatasync with nothing around it."""
    block = b"x" * size
    times: list[float] = []
    descriptor = os.open(path / "bare.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            begin = time.perf_counter()
            os.write(descriptor, block)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - begin)
    finally:
        os.close(descriptor)
        (path / "bare.log").unlink()
    return quantile(times, 0.5)


def bare_records_per_second(path: Path, *, records: int, syncs: int) -> float:
    """How many records a second one can write and sync in as many syncs, encoding left out."""
    syncs = max(1, min(syncs, records))
    block = b"x" * (RECORD_BYTES * records // syncs)
    descriptor = os.open(path / "bare.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        begin = time.perf_counter()
        for _ in range(syncs):
            os.write(descriptor, block)
            os.fdatasync(descriptor)
        return records / (time.perf_counter() - begin)
    finally:
        os.close(descriptor)
        (path / "bare.log").unlink()


async def together(
    function: Callable[[Argument], Awaitable[object]],
    arguments: Iterable[Argument],
    *,
    at_once: int | None = None,
) -> None:
    """Call ``function`` for every argument, ``at_once`` of them at a time (None: all)."""
    if at_once is None:
        async with trio.open_nursery() as nursery:
            for argument in arguments:
                nursery.start_soon(function, argument)
        return
    waiting = iter(arguments)

    async def work() -> None:
        for argument in waiting:
            await function(argument)

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(work)


def resident_bytes() -> int:
    """Memory of this process that is in use, from the kernel."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def in_child(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call it in a new process, so that neither memory nor caches of this one count."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def until_killed(function: Callable[..., object], *arguments: Any) -> None:
    """Call it in a new process that ends by SIGKILL; raises RuntimeError if it ended otherwise."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode != -9:
        raise RuntimeError(f"the child ended with {process.exitcode}, not by SIGKILL")


def median_round(rounds: Sequence[float]) -> float:
    """The median of repeated measurements."""
    return quantile(rounds, 0.5)
