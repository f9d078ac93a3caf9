"""``moorage verify``, ``salvage`` and ``compact``: looking after a store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.stores.artifacts import FileArtifacts, check_artifacts
from moorage.stores.health import Findings, Severity, inspect_store
from moorage.stores.journal import salvage

from .data_directory import owned
from .frame import EXIT_FAILED, CommandFailed, note, write
from .tables import show_facts, show_json, show_table

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.runtime.ports import Store
    from moorage.stores import JournalStore
    from moorage.stores.health import HealthReport

    from .chosen_store import StoreChoice

_COMPACTED = ("journal", "sqlite")
_FREED_BY_ITSELF = {
    "jsonl": "a JSONL store writes a session's file anew when much of it was trimmed",
    "postgres": "Postgres frees room by its autovacuum, or by VACUUM",
    "redis": "Redis frees the memory at once",
}


async def verify_store(
    choice: StoreChoice, *, artifacts: Path | None, strict: bool, as_json: bool
) -> int:
    """Read and check everything, beside a live owner too. Returns 1 if something is damaged, or,
    if ``strict``, at risk. Raises CommandFailed and StoreFailed."""
    store = choice.existing()
    report = await inspect_store(store)
    if artifacts is not None:
        report = await _with_artifacts(store, artifacts, report)
    if as_json:
        plain = attrs.asdict(report, value_serializer=_plain)
        show_json({"sound": report.sound, **plain.pop("facts"), **plain})
    else:
        _show(choice, report)
    damages = [one for one in report.findings if one.severity is Severity.DAMAGE]
    if damages:
        places = "1 place is" if report.damages == 1 else f"{report.damages} places are"
        note(f"{places} damaged: {damages[0].remedy}")
    failed = not report.sound or (strict and report.findings)
    return EXIT_FAILED if failed else 0


async def _with_artifacts(store: Store, directory: Path, report: HealthReport) -> HealthReport:
    if not await trio.Path(directory).is_dir():
        raise CommandFailed(f"there is no directory of artifacts {str(directory)!r}")
    findings = Findings()
    findings.add_all(report)
    findings.sessions, findings.events = report.sessions, report.events
    if report.sound:
        async with store.reading() as reader:
            await check_artifacts(FileArtifacts(directory), reader, findings)
    return findings.report()


def _show(choice: StoreChoice, report: HealthReport) -> None:
    kind = choice.parsed().kind
    facts = [
        (kind, "sound" if report.sound else "DAMAGED"),
        ("sessions", str(report.sessions)),
        ("events", str(report.events)),
    ]
    facts += [
        (name.replace("_", " "), f"{value:,}" if name.endswith("bytes") else str(value))
        for name, value in report.facts.items()
        if name != "tail_bytes"
    ]
    if report.facts.get("tail_bytes"):
        cut = "bytes of an unfinished write, which the next owner cuts off"
        facts.append(("tail", f"{report.facts['tail_bytes']} {cut}"))
    show_facts(facts)
    if report.findings:
        write("\n")
        names = ["SEVERITY", "PLACE", "PROBLEM", "REMEDY"]
        rows = [[str(one.severity), one.place, one.problem, one.remedy] for one in report.findings]
        show_table(names, rows, full=names[1:])
    if report.left_out:
        note(f"{report.left_out} more findings are not shown")


def _plain(_: object, attribute: object, value: Any) -> Any:
    return str(value) if isinstance(value, Severity) else value


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


async def compact_store(choice: StoreChoice, *, as_json: bool) -> None:
    """Free the space of what was deleted, trimmed or superseded. Raises SessionHeld, and
    CommandFailed for a store that has nothing to compact."""
    spec = choice.parsed()
    if spec.kind not in _COMPACTED:
        raise CommandFailed(
            f"compact is for journals and SQLite files: {_FREED_BY_ITSELF[spec.kind]}"
        )
    store: Any = spec.load(must_exist=True)
    if spec.kind == "journal":
        async with owned(store, "compact"):
            report = await store.compact()
    else:
        report = await store.compact(owner="moorage compact")
    if as_json:
        show_json(attrs.asdict(report))
        return
    # where there was nothing to free, files may have grown by the header of a new one
    freed = max(report.bytes_before - report.bytes_after, 0)
    facts = [
        ("freed", f"{freed:,} bytes"),
        ("bytes", f"{report.bytes_before:,} before, {report.bytes_after:,} now"),
    ]
    if spec.kind == "journal":
        segments = f"{report.segments_before} before, {report.segments_after} now"
        facts.insert(1, ("segments", segments))
    show_facts(facts)
