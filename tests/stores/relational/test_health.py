"""What the tables say of each other is in the tests of both databases; here is what one moment of
a large one costs in memory."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from moorage.stores import Durability, SqliteStore
from moorage.stores.comparing import PAGE_EVENTS_MAX
from moorage.stores.conformance.scenario import Author, notes, opened
from moorage.stores.health import Findings
from moorage.stores.relational.health import TableCheck
from moorage.stores.relational.schema import Dialect

if TYPE_CHECKING:
    from pathlib import Path


async def test_sessions_and_events_are_looked_at_a_part_at_a_time(tmp_path: Path) -> None:
    events, sessions = 2 * PAGE_EVENTS_MAX + 5, 401
    async with opened(
        lambda: SqliteStore(tmp_path / "a.db", durability=Durability.BUFFERED)
    ) as store:
        await (await Author.of(store, "long")).write(*notes(1, events))
        for number in range(sessions):
            await (await Author.of(store, f"s{number}")).write(*notes(1, 1))
    findings = Findings()
    taken: list[int] = []
    connection = sqlite3.connect(tmp_path / "a.db")

    class Counted:
        def __init__(self, cursor: sqlite3.Cursor) -> None:
            self._cursor = cursor

        def fetchall(self) -> list[object]:
            rows = self._cursor.fetchall()
            taken.append(len(rows))
            return rows

    TableCheck(
        Dialect.SQLITE, findings, run=lambda it, sql, values: Counted(it.execute(sql, values))
    ).run(connection)
    connection.close()

    report = findings.report()
    assert (report.sessions, report.events, report.findings) == (
        sessions + 1,
        events + sessions,
        (),
    )
    assert max(taken) == PAGE_EVENTS_MAX
