"""What does a session cost in memory, known and resident?

100,000 sessions in the store; a fresh process opens it and then opens 10,000 of them, which stay
resident and idle. Memory is the kernel's count for the process.

Estimate beforehand: known is a row of the index: its key, info and places, some 500 bytes when
packed, 1 KB at most. Resident is a worker task (2 KB of coroutine frames, 1 KB trio task), its
image and inbox (2 KB) and its entry in tables: 6 KB, 8 KB at most.

Reading it: ``known`` is the growth by opening the store divided by the sessions in it.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import trio
from moorage.runtime import SupervisorLimits, open_supervisor
from moorage.stores import JournalStore

from benchmarks.building import build_store, emitting_agent
from benchmarks.measuring import Report, directory, in_child, resident_bytes, together

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = 100_000
RESIDENT = 10_000


def settled_bytes() -> int:
    gc.collect()
    return resident_bytes()


async def _memory(path: Path, known: int, resident: int) -> tuple[float, float, int, int]:
    limits = SupervisorLimits(idle_seconds=3_600.0)
    # an opened and emptied supervisor first: what the code itself takes is not the sessions'
    async with open_supervisor(JournalStore(path.with_name("empty")), emitting_agent) as supervisor:
        await supervisor.session("warm-up")
    before = settled_bytes()
    async with open_supervisor(JournalStore(path), emitting_agent, limits=limits) as supervisor:
        opened = settled_bytes()

        async def open_session(number: int) -> None:
            await supervisor.session(f"user-{number:06}")

        await together(open_session, range(resident), at_once=100)
        full = settled_bytes()
        statistics = supervisor.statistics()
    return (
        (opened - before) / known,
        (full - opened) / resident,
        statistics.sessions_resident,
        statistics.store.syncs,
    )


def memory(path: Path, known: int, resident: int) -> tuple[float, float, int, int]:
    """Bytes per known and per resident session, how many are resident, syncs."""
    return trio.run(_memory, path, known, resident)


def build(path: Path, sessions: int) -> None:
    build_store(path, sessions=sessions)


def measure(report: Report, quick: bool = False) -> None:
    """Report bytes per session."""
    scale = 10 if quick else 1
    known, resident = KNOWN // scale, RESIDENT // scale
    with directory() as path:
        in_child(build, path / "store", known)
        each, each_resident, there, syncs = in_child(memory, path / "store", known, resident)
    report("known", each, "bytes/session", reference=1_024, sessions=known)
    report("resident", each_resident, "bytes/session", reference=8_192, sessions=there)
    report("syncs", syncs, "syncs")
