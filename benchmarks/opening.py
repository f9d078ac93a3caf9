"""How long until a store with a history can be used again, after a clean stop and after kill -9?

A million events in 10,000 sessions; then the same number of sessions with a tenth of the history.
The time is that of entering ``open_supervisor`` in a fresh process, and of reading the first page.

Estimate beforehand: a clean stop leaves a checkpoint with 10,000 sessions of 200 bytes, 2 MB, read
and unpacked at 10 us each: 0.1 s. After kill -9 the active segment's tail since the last
checkpoint is read and its frames checked: at most 64 MB at 200 MB/s for the checksum and 1 us per
record: 1 s. The limits are 0.5 s and 3 s, whatever the length of the history.

Reading it: ``history`` compares with a tenth of the history; near 1 means flat.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio
from moorage.runtime import open_supervisor
from moorage.stores import JournalStore

from benchmarks.building import build_store, emitting_agent
from benchmarks.measuring import Report, directory, in_child, quantile, until_killed

if TYPE_CHECKING:
    from pathlib import Path

SESSIONS = 10_000
EVENTS_EACH = 100
ROUNDS = 5


async def _open_seconds(path: Path) -> tuple[float, float, int]:
    begin = time.perf_counter()
    async with open_supervisor(JournalStore(path), emitting_agent) as supervisor:
        entered = time.perf_counter()
        session = await supervisor.session("user-000001")
        await session.events(limit=10)
        first_page = time.perf_counter()
        syncs = supervisor.statistics().store.syncs
    return entered - begin, first_page - entered, syncs


def open_seconds(path: Path) -> tuple[float, float, int]:
    """Seconds to enter, seconds to the first page, syncs made."""
    return trio.run(_open_seconds, path)


def build(path: Path, sessions: int, events_each: int, kill: bool) -> None:
    build_store(path, sessions=sessions, events_each=events_each, kill=kill)


def after_stop(path: Path, sessions: int, events_each: int) -> list[tuple[float, float, int]]:
    """Openings after a clean stop; each one ends cleanly again."""
    in_child(build, path, sessions, events_each, False)
    return [in_child(open_seconds, path) for _ in range(ROUNDS)]


def after_kill(path: Path, sessions: int, events_each: int) -> tuple[float, float, int]:
    """The one opening after SIGKILL; ending it cleanly would change the next."""
    until_killed(build, path, sessions, events_each, True)
    return in_child(open_seconds, path)


def measure(report: Report, quick: bool = False) -> None:
    """Report seconds to open, and how they compare with a tenth of the history."""
    sessions = SESSIONS // 10 if quick else SESSIONS
    with directory() as path:
        stopped = after_stop(path / "stopped", sessions, EVENTS_EACH)
        short = after_stop(path / "short", sessions, EVENTS_EACH // 10)
        killed = after_kill(path / "killed", sessions, EVENTS_EACH)
        killed_short = after_kill(path / "killed-short", sessions, EVENTS_EACH // 10)
    stop_seconds = quantile([entered for entered, _, _ in stopped], 0.5)
    short_seconds = quantile([entered for entered, _, _ in short], 0.5)
    report("after a clean stop", stop_seconds, "s", events=sessions * EVENTS_EACH)
    report("after a clean stop, first page", quantile([p for _, p, _ in stopped], 0.5) * 1e3, "ms")
    report("after kill -9", killed[0], "s")
    report("after kill -9, first page", killed[1] * 1e3, "ms")
    report("history, clean stop", stop_seconds, "s", reference=short_seconds)
    report("history, kill -9", killed[0], "s", reference=killed_short[0])
    report("syncs", stopped[0][2], "syncs", after_kill=killed[2])
