"""``moorage copy``: sessions from one store into another, compared in the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs
from moorage.stores.copying import CopyReport, copy_sessions

from .data_directory import refusing
from .frame import EXIT_FAILED, CommandFailed, note
from .key_file import encrypted
from .store_spec import load_store
from .tables import show_facts, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TOLD_SECONDS = 2.0


async def copy_store(
    source: str,
    target: str,
    *,
    source_keys: Path | None = None,
    target_keys: Path | None = None,
    session_ids: Sequence[str] = (),
    prefix: str = "",
    verify: bool = True,
    as_json: bool = False,
) -> int:
    """Copy; returns 1 if a session could not be copied. Raises CommandFailed and what the stores
    raise."""
    if source == target:
        raise CommandFailed("both are the same store: name another one with --to")
    reading = encrypted(load_store(source, must_exist=True), source_keys)
    writing = encrypted(load_store(target, must_exist=False), target_keys)
    progress = _Progress()
    begin = time.monotonic()
    async with (
        reading.reading() as reader,
        writing.opened(owner="moorage copy", deliver=refusing),
    ):
        report = await copy_sessions(
            reader,
            writing,
            session_ids=list(session_ids) or None,
            prefix=prefix,
            verify=verify,
            told=progress.told,
        )
    _show(report, time.monotonic() - begin, verify, as_json)
    return EXIT_FAILED if report.problems else 0


class _Progress:
    """Says now and then how far it is."""

    def __init__(self) -> None:
        self._sessions = 0
        self._events = 0
        self._next = time.monotonic() + _TOLD_SECONDS

    def told(self, session_id: str, events: int) -> None:
        self._sessions += 1
        self._events += events
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TOLD_SECONDS
            note(f"{self._sessions} sessions, {self._events} events so far ({session_id})")


def _show(report: CopyReport, seconds: float, verify: bool, as_json: bool) -> None:
    if as_json:
        show_json({**attrs.asdict(report), "verified": verify, "seconds": round(seconds, 3)})
        return
    facts: list[tuple[str, str]] = [
        ("sessions", f"{report.sessions} copied, {report.sessions_there} were there already"),
        ("events", f"{report.events}, in {seconds:.1f} s"),
        ("cursors", str(report.cursors)),
        ("deleted ids", str(report.tombstones)),
        ("compared", "every event, the same" if verify and not report.problems else _not(verify)),
    ]
    show_facts(facts)
    if report.problems:
        rows: list[list[Any]] = [[one.session_id, one.reason] for one in report.problems]
        show_table(["SESSION", "PROBLEM"], rows, full=["SESSION", "PROBLEM"])
        count = len(report.problems)
        sessions = "1 session was" if count == 1 else f"{count} sessions were"
        note(f"{sessions} not copied; the others are there")


def _not(verify: bool) -> str:
    return "every event; see the problems below" if verify else "no"
