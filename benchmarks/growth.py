"""Does anything get slower with ten times the sessions or ten times the history?

The other benchmarks' measurements, once small and once at ten times the size, in the same run.

Estimate beforehand: rates per event do not depend on how many sessions there are, except for cache
misses and for garbage collection over more objects, which may cost 10 %. A page and an append look
into an index of a few levels: flat. Everything stays within 20 %.

Reading it: ``reference`` is the figure at the small size. For rates the ratio should be at least
0.8, for times at most 1.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from benchmarks import opening, page, runs, small_writes, stream
from benchmarks.building import build_store
from benchmarks.measuring import Report, directory, in_child, median_round, quantile

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measuring import Rounds

HISTORY = 100_000
"""Events of the small history."""


def runs_rounds(path: Path, sessions: int) -> Rounds:
    return trio.run(runs.runs_per_second, path, sessions, 2)


def stream_rounds(path: Path, sessions: int) -> Rounds:
    return trio.run(stream.events_per_second, path, sessions, 1)


def append_seconds(path: Path) -> tuple[list[float], int]:
    return trio.run(small_writes.step_seconds, path, "append", 500)


def build(path: Path, events: int) -> None:
    build_store(path, events=events, sessions=events // 100, events_each=10)


def sessions_grow(report: Report, scale: int) -> None:
    """``runs`` and ``stream`` with ten times the sessions, and so ten times the work."""
    with directory() as path:
        few = in_child(runs_rounds, path / "few-runs", runs.SESSIONS // scale)
        many = in_child(runs_rounds, path / "many-runs", 10 * runs.SESSIONS // scale)
        few_streams = in_child(stream_rounds, path / "few-streams", stream.SESSIONS // scale)
        many_streams = in_child(stream_rounds, path / "many-streams", 10 * stream.SESSIONS // scale)
    for metric, unit, small, large in (
        ("runs", "runs/s", few, many),
        ("stream", "events/s", few_streams, many_streams),
    ):
        report(
            f"{metric}, 10x sessions",
            median_round(large.rates),
            unit,
            reference=median_round(small.rates),
            syncs=large.syncs,
        )


def history_grows(report: Report, events: int) -> None:
    """``page``, ``append`` and ``open`` with ten times the history."""
    with directory() as path:
        small, large = path / "small", path / "large"
        in_child(build, small, events)
        in_child(build, large, 10 * events)
        pages = [in_child(page.page_seconds, store) for store in (small, large)]
        appends = [in_child(append_seconds, store) for store in (small, large)]
        openings = [
            in_child(opening.after_stop, p, 1_000, n)
            for p, n in ((path / "short", 10), (path / "long", 100))
        ]
    before, after = (quantile(last, 0.5) * 1e3 for last, _, _ in pages)
    report("page, 10x history", after, "ms", reference=before)
    before, after = (quantile(times, 0.5) * 1e3 for times, _ in appends)
    report("append, 10x history", after, "ms", reference=before, syncs=appends[1][1])
    before, after = (quantile([entered for entered, _, _ in o], 0.5) for o in openings)
    report("open, 10x history", after, "s", reference=before)


def measure(report: Report, quick: bool = False) -> None:
    """Report each figure at ten times the size, with the small one as reference."""
    sessions_grow(report, 10 if quick else 1)
    history_grows(report, HISTORY // 10 if quick else HISTORY)
