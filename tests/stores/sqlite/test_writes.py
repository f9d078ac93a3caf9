"""Many writes in one transaction: a refused one leaves nothing, a failed one takes all along."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed, UnknownSession
from moorage.runtime.ports import Record, Snapshot
from moorage.stores.conformance.scenario import facts, note, notes
from moorage.stores.group_commit import Job
from moorage.stores.sqlite import writes as module
from moorage.stores.sqlite.opening import Opened, Place, open_for_writing
from moorage.stores.sqlite.writes import (
    Append,
    Delete,
    Read,
    SaveCursor,
    SaveSnapshot,
    Trim,
    Writes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stores.sqlite.conftest import Faults


@pytest.fixture
def opened(tmp_path: Path, faults: Faults) -> Iterator[Opened]:
    opened = open_for_writing(Place(tmp_path / "x.sqlite", True, 0.1, faults.connect), "me")
    yield opened
    opened.close()


@pytest.fixture
def writes(opened: Opened, tmp_path: Path) -> Writes:
    return Writes(opened.connection, tmp_path / "x.sqlite", change=0)


def job(work: object, size: int = 0) -> Job:
    return Job(work, size, None)


def append(session_id: str, first: int, last: int, *, info: bool = True) -> Job:
    information = facts(session_id) if info else None
    return job(Append(session_id, 1, first, notes(first, last), information))


def do(writes: Writes, work: object) -> Any:
    only = job(work)
    writes.execute([only])
    if only.error is not None:
        raise only.error
    return only.result


def rows(opened: Opened, table: str) -> int:
    return int(opened.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_refused_write_leaves_the_others_of_its_transaction(writes: Writes) -> None:
    batch = [
        append("a", 1, 3),
        append("a", 3, 4),
        append("b", 1, 1, info=False),
        append("a", 4, 5, info=False),
        job(SaveSnapshot("a", Snapshot(9, b""))),
        job(SaveCursor("c", "x", 1)),
    ]

    assert writes.execute(batch) is None

    kinds = [type(one.error) for one in batch]
    none = type(None)
    assert kinds == [none, StaleOwner, InvalidArgument, none, InvalidArgument, UnknownSession]
    row, snapshot = do(writes, Read("a"))
    assert (row.head_seq, snapshot) == (5, None)
    assert writes.counts.commits == 1
    assert writes.counts.records == 5


def test_a_value_that_sqlite_cannot_hold_is_the_matter_of_its_job_alone(writes: Writes) -> None:
    unfit = job(Append("b", 1, 1, [Record(1, "\ud800", None, b"\x90")], facts("b")))
    batch = [append("a", 1, 2), unfit, append("a", 3, 3)]

    assert writes.execute(batch) is None

    assert [type(one.error) for one in batch] == [type(None), InvalidArgument, type(None)]
    assert do(writes, Read("a"))[0].head_seq == 3
    assert do(writes, Read("b")) == (None, None)


def test_a_transaction_that_fails_leaves_nothing_in_memory_either(
    writes: Writes, faults: Faults
) -> None:
    assert writes.execute([append("a", 1, 1)]) is None
    faults.planned.append("/dev/full")
    batch = [append("a", 2, 5), append("b", 1, 1)]

    failure = writes.execute(batch)

    assert failure is not None
    assert failure.written is False
    assert all(isinstance(one.error, StoreFailed) for one in batch)
    assert batch[0].error is not batch[1].error
    assert writes.execute([append("a", 2, 3), append("b", 1, 1)]) is None
    assert do(writes, Read("a"))[0].head_seq == 3


def test_a_sync_that_fails_poisons(writes: Writes, faults: Faults) -> None:
    assert writes.execute([append("a", 1, 1)]) is None
    faults.planned.append("/dev/null")

    failure = writes.execute([append("a", 2, 2)])

    assert failure is not None
    assert (failure.written, failure.poisoned) == (None, True)
    assert "SQLITE_IOERR_FSYNC" in str(failure)


def test_the_row_in_memory_is_that_in_the_database(writes: Writes, opened: Opened) -> None:
    for work in (
        append("a", 1, 5).work,
        Trim("a", 3),
        Append("a", 1, 6, [], facts("a", summary="x")),
        Delete("a"),
        append("a", 6, 7).work,
    ):
        do(writes, work)
        known = writes._known["a"]
        fresh = Writes(opened.connection, writes._path, change=99)._find("a")
        assert known == fresh


def test_a_deleted_session_leaves_one_row(writes: Writes, opened: Opened) -> None:
    records = [note(1, "run_submitted", "r", key="k"), note(2, "run_completed", "r")]
    do(writes, Append("a", 1, 1, records, facts("a")))
    do(writes, SaveSnapshot("a", Snapshot(1, b"s")))
    do(writes, SaveCursor("a", "c", 1))

    do(writes, Delete("a"))
    do(writes, Delete("a"))
    do(writes, Delete("never there"))

    tables = ("session", "event", "run", "snapshot", "cursor")
    assert [rows(opened, table) for table in tables] == [1, 0, 0, 0, 0]


def test_a_trim_forgets_runs_that_it_took_whole(writes: Writes, opened: Opened) -> None:
    records = [
        note(1, "run_submitted", "whole"),
        note(2, "run_submitted", "half"),
        note(3, "run_completed", "whole"),
        note(4, "run_submitted", "open"),
        note(5, "run_completed", "half"),
    ]
    do(writes, Append("a", 1, 1, records, facts("a")))

    do(writes, Trim("a", 5))
    left = opened.connection.execute("SELECT run_id FROM run ORDER BY run_id").fetchall()

    assert left == [("half",), ("open",)]
    do(writes, Trim("a", 2))
    assert do(writes, Read("a"))[0].oldest_seq == 5


def test_many_sessions_are_not_all_remembered(
    writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KNOWN_MAX", 3)

    for number in range(10):
        do(writes, append(f"s{number}", 1, 1).work)
        assert len(writes._known) <= 3

    do(writes, append("s0", 2, 2).work)
    assert do(writes, Read("s0"))[0].head_seq == 2


def test_a_checkpoint_that_cannot_be_synced_poisons(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_PAGES", 1)

    class Unsynced(sqlite3.Connection):
        def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if "checkpoint" in statement:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                raise error
            return super().execute(statement, parameters)

    connection = sqlite3.connect(tmp_path / "x.sqlite", factory=Unsynced, isolation_level=None)
    writes = Writes(connection, tmp_path / "x.sqlite", change=0)
    assert writes.rest() is None
    do(writes, append("a", 1, 1).work)

    failure = writes.rest()

    connection.close()
    assert failure is not None
    assert failure.poisoned
