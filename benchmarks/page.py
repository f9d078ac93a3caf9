"""How long does it take to show the last 100 of a million events?

The long session's million events lie interleaved with those of 10,000 other sessions. A fresh
process opens the store and asks for ``events(before=head + 1, limit=100)``, then for pages at
places spread over the whole history.

Estimate beforehand: the index tells where the pages' records lie; one or two reads of 10 KB from
the page cache, 20 us each; decoding 100 events at 3.2 us: 0.32 ms; a hop to a thread, if one is
needed, 0.1 to 0.3 ms. So 0.4 to 0.7 ms; the limit is 1 ms.

Reading it: ``reference`` is the decoding alone.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import trio
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore

from benchmarks.backfill import decoded_per_second
from benchmarks.building import LONG, build_store, emitting_agent
from benchmarks.measuring import Report, directory, in_child, quantile

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 1_000_000
SESSIONS = 10_000
LIMIT = 100
PAGES = 300


async def _page_seconds(path: Path) -> tuple[list[float], list[float], int]:
    last: list[float] = []
    spread: list[float] = []
    async with open_supervisor(JournalStore(path), emitting_agent) as supervisor:
        session = await supervisor.session(LONG)
        head = (await session.info()).head_seq
        places = random.Random(1)
        for times in (last, spread):
            for _ in range(PAGES):
                before = head + 1 if times is last else places.randrange(LIMIT + 1, head)
                begin = time.perf_counter()
                page = await session.events(before=before, limit=LIMIT)
                times.append(time.perf_counter() - begin)
                if [event.seq for event in page] != list(range(before - LIMIT, before)):
                    raise RuntimeError(f"the page before {before} is wrong")
        syncs = supervisor.statistics().store.syncs
    return last, spread, syncs


def page_seconds(path: Path) -> tuple[list[float], list[float], int]:
    """Times of the last page and of pages anywhere, and syncs made."""
    return trio.run(_page_seconds, path)


def build(path: Path, events: int, sessions: int) -> None:
    build_store(path, events=events, sessions=sessions, events_each=10)


def measure(report: Report, quick: bool = False) -> None:
    """Report the median and the 99th percentile of both."""
    scale = 10 if quick else 1
    with directory() as path:
        in_child(build, path / "store", EVENTS // scale, SESSIONS // scale)
        last, spread, syncs = in_child(page_seconds, path / "store")
    bare = LIMIT / decoded_per_second(20_000)
    report("p50", quantile(last, 0.5) * 1e3, "ms", reference=bare * 1e3)
    report("p99", quantile(last, 0.99) * 1e3, "ms")
    report("first", last[0] * 1e3, "ms")
    report("p50 anywhere", quantile(spread, 0.5) * 1e3, "ms")
    report("p99 anywhere", quantile(spread, 0.99) * 1e3, "ms")
    report("syncs", syncs, "syncs")
