"""What the writer thread does: each kind of write, many of them in one transaction.

Who may write was decided before, on the trio thread, and jobs come in the order of that decision.
A write first looks whether it fits, which may raise, and then changes rows, which may not: so a
refused one leaves nothing behind in the transaction that it shares with others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import InvalidArgument, MoorageError, StaleOwner, UnknownSession
from moorage.runtime.ports import Record, Snapshot
from moorage.runtime.sessions import SessionInfo

from ..group_commit import Job, refuse
from ..relational import statements as sql
from ..relational.reads import Reads
from ..relational.rows import event_rows, info_values, run_rows
from ..relational.schema import Dialect
from .failures import UNFIT, failure_of

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.runtime.errors import StoreFailed

    from ..relational.rows import SessionRow

CHECKPOINT_PAGES = 8_000
"""Estimated pages in the write-ahead log that bring on a checkpoint: about 32 MiB."""
PAGE_BYTES = 4_096
PAGES_PER_WRITE = 6
"""An append touches its session, an event page, two of runs, and some of their parents."""
_KNOWN_MAX = 20_000

_INSERT_EVENT = "INSERT INTO event (session, seq, type, run_id, body) VALUES (?, ?, ?, ?, ?)"
_INSERT_SESSION = (
    "INSERT INTO session (head_seq, modified_ns, change, info, closed, needs_worker, id, "
    "oldest_seq) VALUES (?, ?, ?, ?, ?, ?, ?, 1)"
)
_REPLACE_INFO = (
    "UPDATE session SET head_seq = ?, modified_ns = ?, change = ?, info = ?, closed = ?, "
    "needs_worker = ? WHERE number = ?"
)
_ADVANCE = "UPDATE session SET head_seq = ?, modified_ns = ?, change = ? WHERE number = ?"
_SUBMITTED = (
    "INSERT INTO run (session, run_id, submitted_seq, ended_seq, idempotency_key) "
    "VALUES (?, ?, ?, ?, ?) ON CONFLICT (session, run_id) DO UPDATE SET "
    "submitted_seq = excluded.submitted_seq, ended_seq = excluded.ended_seq, "
    "idempotency_key = excluded.idempotency_key"
)
_ENDED = (
    "INSERT INTO run (session, run_id, submitted_seq, ended_seq) VALUES (?, ?, 0, ?) "
    "ON CONFLICT (session, run_id) DO UPDATE SET ended_seq = excluded.ended_seq"
)


@attrs.frozen
class Read:
    """What a claim tells. Result: (SessionRow | None, Snapshot | None)."""

    session_id: str


@attrs.frozen
class Append:
    """Result: the ids of runs that ended."""

    session_id: str
    epoch: int
    expected_seq: int
    records: Sequence[Record]
    info: SessionInfo | None


@attrs.frozen
class SaveSnapshot:
    session_id: str
    snapshot: Snapshot


@attrs.frozen
class SaveCursor:
    session_id: str
    name: str
    seq: int


@attrs.frozen
class Trim:
    session_id: str
    before: int


@attrs.frozen
class Delete:
    session_id: str


@attrs.define
class Counts:
    commits: int = 0
    commits_failed: int = 0
    records: int = 0
    bytes: int = 0
    checkpoints: int = 0


@attrs.define
class _Known:
    """What the last write left of a session's row."""

    number: int
    head_seq: int
    oldest_seq: int
    exists: bool
    modified_ns: int


class Writes:
    """The writer thread's connection and what it knows. ``change`` numbers the appends; it starts
    above those of earlier openings."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, change: int) -> None:
        self.counts = Counts()
        self._connection = connection
        self._path = path
        self._change = change
        self._reads = Reads(Dialect.SQLITE)
        self._known: dict[str, _Known] = {}
        self._pages = 0
        self._do: dict[type, Callable[[Any], Any]] = {
            Read: self._read,
            Append: self._append,
            SaveSnapshot: self._save_snapshot,
            SaveCursor: self._save_cursor,
            Trim: self._trim,
            Delete: self._delete,
        }

    def execute(self, batch: list[Job]) -> StoreFailed | None:
        """See ``Executor.execute``. A value that SQLite cannot hold is the matter of one job: the
        others are done again without it."""
        try:
            return self._transact(batch)
        except UNFIT as error:
            if len(batch) == 1:
                batch[0].error = InvalidArgument(f"SQLite cannot keep this: {error}")
                batch[0].error.__cause__ = error
                return None
        for index, job in enumerate(batch):
            failure = self.execute([job])
            if failure is not None:
                refuse(batch[index:], failure)
                return failure
        return None

    def _transact(self, batch: list[Job]) -> StoreFailed | None:
        committing = False
        before = self._connection.total_changes
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in batch:
                job.error = None
                try:
                    job.result = self._do[type(job.work)](job.work)
                except MoorageError as error:
                    job.error = error
            committing = True
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._undo()
            if isinstance(error, UNFIT) or not isinstance(error, sqlite3.Error):
                raise
            self.counts.commits_failed += 1
            failure = failure_of(error, self._path, "writing", committing=committing)
            refuse(batch, failure)
            return failure
        self._count(batch, wrote=self._connection.total_changes > before)
        return None

    def _count(self, batch: list[Job], *, wrote: bool) -> None:
        counts = self.counts
        counts.commits += wrote
        for job in batch:
            self._pages += PAGES_PER_WRITE + job.size // PAGE_BYTES
            if isinstance(job.work, Append) and job.error is None:
                counts.records += len(job.work.records)
                counts.bytes += job.size

    def _undo(self) -> None:
        self._known.clear()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise AssertionError(f"SQLite neither commits nor rolls back: {error}") from error

    def rest(self) -> StoreFailed | None:
        """Bring the write-ahead log into the file now and then, so that it stays small."""
        if self._pages < CHECKPOINT_PAGES:
            return None
        self._pages = 0
        self.counts.checkpoints += 1
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            failure = failure_of(error, self._path, "a checkpoint", committing=True)
            return failure if failure.poisoned else None
        return None

    # ---- each kind of write ----

    def _read(self, work: Read) -> tuple[SessionRow | None, Snapshot | None]:
        session = self._reads.session(self._connection, work.session_id)
        return session, self._reads.snapshot(self._connection, work.session_id)

    def _find(self, session_id: str) -> _Known | None:
        known = self._known.get(session_id)
        if known is None:
            row = self._reads.session(self._connection, session_id)
            if row is None:
                return None
            known = _Known(
                row.number, row.head_seq, row.oldest_seq, row.info is not None, row.modified_ns
            )
            self._keep(session_id, known)
        return known

    def _keep(self, session_id: str, known: _Known) -> None:
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[session_id] = known

    def _existing(self, session_id: str) -> _Known:
        known = self._find(session_id)
        if known is None or not known.exists:
            raise UnknownSession(session_id)
        return known

    def _append(self, work: Append) -> list[str]:
        known = self._find(work.session_id)
        head_seq = 0 if known is None else known.head_seq
        if work.expected_seq != head_seq + 1:
            raise StaleOwner(
                work.session_id,
                epoch=work.epoch,
                current=f"the head is {head_seq} and the append starts at {work.expected_seq}",
            )
        if work.info is None and (known is None or not known.exists):
            raise InvalidArgument(f"the first append to session {work.session_id!r} needs an info")
        if work.records:
            modified_ns = work.records[-1].time_ns
        elif known is not None and known.exists:
            modified_ns = known.modified_ns
        else:
            assert work.info is not None
            modified_ns = work.info.modified_at_ns
        known = self._advance(work, known, head_seq + len(work.records), modified_ns)
        execute = self._connection.executemany
        execute(_INSERT_EVENT, event_rows(known.number, work.expected_seq, work.records))
        rows, ended = run_rows(work.expected_seq, work.records)
        for run_id, submitted_seq, ended_seq, key in rows:
            if submitted_seq:
                values = (known.number, run_id, submitted_seq, ended_seq, key)
                self._connection.execute(_SUBMITTED, values)
            else:
                self._connection.execute(_ENDED, (known.number, run_id, ended_seq))
        return ended

    def _advance(
        self, work: Append, known: _Known | None, head_seq: int, modified_ns: int
    ) -> _Known:
        """Write the session's row, or make it."""
        self._change += 1
        facts = (head_seq, modified_ns, self._change)
        if work.info is None:
            assert known is not None
            self._connection.execute(_ADVANCE, (*facts, known.number))
        elif known is None:
            values = (*facts, *info_values(work.info), work.session_id)
            number = self._connection.execute(_INSERT_SESSION, values).lastrowid
            assert number is not None
            known = _Known(number, head_seq, 1, True, modified_ns)
            self._keep(work.session_id, known)
            return known
        else:
            self._connection.execute(_REPLACE_INFO, (*facts, *info_values(work.info), known.number))
        known.head_seq, known.modified_ns, known.exists = head_seq, modified_ns, True
        return known

    def _save_snapshot(self, work: SaveSnapshot) -> None:
        known = self._existing(work.session_id)
        if work.snapshot.seq > known.head_seq:
            raise InvalidArgument(
                f"a snapshot at seq {work.snapshot.seq} is ahead of the head, {known.head_seq}"
            )
        values = (known.number, work.snapshot.seq, work.snapshot.body)
        self._connection.execute(sql.SAVE_SNAPSHOT, values)

    def _save_cursor(self, work: SaveCursor) -> None:
        self._existing(work.session_id)
        self._connection.execute(sql.SAVE_CURSOR, (work.name, work.seq, work.session_id))

    def _trim(self, work: Trim) -> None:
        known = self._existing(work.session_id)
        before = min(work.before, known.head_seq + 1)
        if before <= known.oldest_seq:
            return
        execute = self._connection.execute
        execute("UPDATE session SET oldest_seq = ? WHERE number = ?", (before, known.number))
        execute(sql.FORGET_EVENTS, (known.number, before))
        execute(sql.FORGET_RUNS, (known.number, before, before))
        known.oldest_seq = before

    def _delete(self, work: Delete) -> None:
        known = self._find(work.session_id)
        if known is None or not known.exists:
            return
        for statement in sql.FORGET_EVERYTHING:
            self._connection.execute(statement, (known.number,))
        self._connection.execute(
            "UPDATE session SET info = NULL, closed = 0, needs_worker = 0, oldest_seq = ? "
            "WHERE number = ?",
            (known.head_seq + 1, known.number),
        )
        known.exists, known.oldest_seq = False, known.head_seq + 1
