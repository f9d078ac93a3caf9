"""Whether a journal is whole: its files by ``verify``, and then all that a reader reads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from ..health import Findings, walk
from .verify import verify

if TYPE_CHECKING:
    from ..health import HealthReport
    from .store import JournalStore


async def inspect(store: JournalStore) -> HealthReport:
    """Read and check everything, beside an owner. Raises StoreFailed where there is no journal."""
    report = await trio.to_thread.run_sync(
        partial(verify, store.path, disk=store._disk), abandon_on_cancel=True
    )
    findings = Findings()
    findings.facts.update(
        segments=report.segments,
        bytes=report.frames_bytes,
        blocks=report.blocks,
        tail_bytes=report.tail_bytes,
    )
    remedy = (
        "restore a backup, or keep what can be read with: "
        f"moorage salvage --data {store.path} --to NEWDIR"
    )
    for problem in report.problems:
        findings.damage(f"{problem.file}, {problem.offset}", problem.reason, remedy)
    if findings.damaged:
        findings.sessions, findings.events = report.sessions, report.events
    else:
        async with store.reading() as reader:
            await walk(reader, findings)
    return findings.report()
