"""``moorage verify``, ``salvage`` and ``compact``: looking after the journal's files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.stores.journal import salvage, verify

from .data_directory import owned
from .frame import EXIT_FAILED, note
from .tables import show_facts, show_json, show_table

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores import JournalStore


async def verify_journal(store: JournalStore, *, as_json: bool) -> int:
    """Read and check everything, beside a live owner too; returns 1 if something is damaged."""
    report = await trio.to_thread.run_sync(verify, store.path, abandon_on_cancel=True)
    if as_json:
        show_json({"sound": report.sound, **attrs.asdict(report)})
    else:
        facts = [
            ("journal", "sound" if report.sound else "DAMAGED"),
            ("sessions", str(report.sessions)),
            ("events", str(report.events)),
            ("segments", str(report.segments)),
            ("bytes", f"{report.frames_bytes:,}"),
        ]
        if report.tail_bytes:
            cut = f"{report.tail_bytes} bytes of an unfinished write, which the next owner cuts off"
            facts.append(("tail", cut))
        show_facts(facts)
        if report.problems:
            show_table(
                ["FILE", "OFFSET", "REASON"],
                [[one.file, str(one.offset), one.reason] for one in report.problems],
                numbers=["OFFSET"],
                full=["FILE", "REASON"],
            )
    if report.sound:
        return 0
    places = "1 place is" if len(report.problems) == 1 else f"{len(report.problems)} places are"
    note(
        f"{places} damaged: restore a backup, or keep what can be read "
        f"with: moorage salvage --data {store.path} --to NEWDIR"
    )
    return EXIT_FAILED


async def salvage_journal(store: JournalStore, target: Path, *, as_json: bool) -> None:
    """Copy what can be read into a new directory. What was lost is named, and no failure."""
    report = await trio.to_thread.run_sync(
        partial(salvage, store.path, target), abandon_on_cancel=True
    )
    lost = sum(last - first + 1 for ranges in report.lost.values() for first, last in ranges)
    if as_json:
        show_json(attrs.asdict(report))
        return
    show_facts(
        [
            ("sessions", str(report.sessions)),
            ("events", str(report.events)),
            ("lost", f"{lost} events in {len(report.lost)} sessions"),
        ]
    )
    if report.lost:
        show_table(
            ["SESSION", "FROM", "TO"],
            [
                [session_id, str(first), str(last)]
                for session_id, ranges in report.lost.items()
                for first, last in ranges
            ],
            numbers=["FROM", "TO"],
            full=["SESSION"],
        )
        note(
            "lost events are in the new journal as event_lost, so that all seqs keep their meaning"
        )


async def compact_journal(store: JournalStore, *, as_json: bool) -> None:
    """Free the space of what was deleted, trimmed or superseded. Raises SessionHeld."""
    async with owned(store, "compact"):
        report = await store.compact()
    if as_json:
        show_json(attrs.asdict(report))
        return
    # where there was nothing to free, files may have grown by the header of a new one
    freed = max(report.bytes_before - report.bytes_after, 0)
    show_facts(
        [
            ("freed", f"{freed:,} bytes"),
            ("segments", f"{report.segments_before} before, {report.segments_after} now"),
            ("bytes", f"{report.bytes_before:,} before, {report.bytes_after:,} now"),
        ]
    )
