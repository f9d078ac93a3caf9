"""What do the other stores cost, beside the journal?

The same as ``append``, ``runs`` and ``stream`` measure, on each store in turn, in one run: one
event at a time; 100 clients of 100 sessions with runs of 6 events; 20 sessions whose runs stream
200 deltas to a subscriber each.

Estimate beforehand: SQLite writes whole pages, 4 KiB for each session in a commit, and its commit
is a sync as well: half of the journal's runs, and as many streamed events, since rows of one
session lie together. Postgres adds a round trip to a process of its own, which shares the two
processors: a fifth of the journal's runs, and 25,000 events/s. JSONL has the same single sync, but
every event becomes JSON (10 us instead of 1) and each session of a commit is one more write: half
of the journal's runs, and a third of its streamed events. Redis (appendfsync always) takes a round
trip for each append of each session, 0.2 ms of both programs' time: a quarter of the runs.

Reading it: ``reference`` is the journal's figure in the same run. What costs less than the journal
has a ratio below 1 for times and above 1 for rates.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING

import trio
from moorage.stores import JournalStore, JsonlStore, PostgresStore, RedisStore, SqliteStore
from moorage.stores.postgres.migrations import migrate

from benchmarks import runs, small_writes, stream
from benchmarks.measuring import Report, directory, median_round, quantile
from benchmarks.postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from moorage.runtime.ports import Store

    from benchmarks.measuring import OpenStore, Rounds

RUN_SESSIONS = 100
STREAM_SESSIONS = 20
SERVER_VARIABLE = "MOORAGE_REDIS"
"""The URL of a Redis server, which is measured too if there is one."""
STEPS = 1_000
ROUNDS = 3


def sqlite(path: Path) -> Store:
    return SqliteStore(path / "data.sqlite")


def redis(path: Path) -> Store:
    prefix = f"bench:{path.parent.name}:{path.name}:"
    return RedisStore(os.environ[SERVER_VARIABLE], key_prefix=prefix)


@contextlib.contextmanager
def postgres() -> Iterator[OpenStore]:
    """On a server of its own; each store has tables of its own. Raises RuntimeError."""
    with postgres_server() as dsn:
        numbers = itertools.count(1)

        def open_store(path: Path) -> Store:
            store = PostgresStore(dsn, schema=f"bench_{next(numbers)}")
            migrate(store._place)
            return store

        yield open_store


def figures(open_store: OpenStore, quick: bool) -> dict[tuple[str, str], float]:
    """(metric, unit) -> value."""
    rounds, steps = (1, STEPS // 10) if quick else (ROUNDS, STEPS)
    with directory() as path:
        times, _ = trio.run(small_writes.step_seconds, path / "a", "append", steps, open_store)
    with directory() as path:
        ran = trio.run(runs.runs_per_second, path / "b", RUN_SESSIONS, rounds, open_store)
    with directory() as path:

        async def streamed(path: Path = path) -> Rounds:
            return await stream.events_per_second(
                path / "c", STREAM_SESSIONS, rounds, open_store=open_store
            )

        found = trio.run(streamed)
    return {
        ("append p50", "ms"): quantile(times, 0.5) * 1e3,
        ("append p99", "ms"): quantile(times, 0.99) * 1e3,
        ("runs", "runs/s"): median_round(ran.rates),
        ("stream", "events/s"): median_round(found.rates),
        ("processor time", "us/event"): median_round(found.costs) * 1e6,
    }


def measure(report: Report, quick: bool = False) -> None:
    """Report each store's figures; all but the journal's have it for a reference."""
    journal: dict[tuple[str, str], float] = {}

    def tell(name: str, open_store: OpenStore) -> None:
        found = figures(open_store, quick)
        for (metric, unit), value in found.items():
            reference = journal.get((metric, unit))
            report(f"{name} {metric}", value, unit, reference=reference)
        journal.update(journal or found)

    tell("journal", JournalStore)
    tell("sqlite", sqlite)
    tell("jsonl", JsonlStore)
    if os.environ.get(SERVER_VARIABLE):
        tell("redis", redis)
    try:
        with postgres() as open_store:
            tell("postgres", open_store)
    except RuntimeError as error:
        report.skipped(f"postgres: {error}")
