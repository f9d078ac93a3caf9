"""What the writer thread does: the writes of many sessions in one transaction.

Appends to different sessions become one statement, which is a transaction of its own when there is
nothing else: one round trip, one sync. Who may write is for the database to say: each write names
the epoch it goes under, and one whose epoch is over changes nothing.

When the connection is lost the answer is, too. The same writes are then made again on a new one:
a fence lets no append in twice, and one that it keeps out because it was in already is recognised
by its first body standing where it belongs.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
from moorage.runtime.errors import (
    InvalidArgument,
    MoorageError,
    StaleOwner,
    StoreFailed,
    UnknownSession,
)

from ..group_commit import Job, refuse
from ..mail import answered_before
from ..relational import statements as shared
from ..relational.schema import Dialect
from . import statements as sql
from .failures import Kind, failure_of, kind_of
from .place import Connection, Place, cut, is_broken
from .work import (
    Append,
    Counts,
    Delete,
    Letter,
    SaveCursor,
    SaveSnapshot,
    Step,
    Trim,
    append_values,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RETRY_SECONDS = 0.05
RETRY_SECONDS_MAX = 1.0
AGAIN_MAX = 10
"""Deadlocks in a row that a batch puts up with."""


class Writes:
    """The writer's connection. ``patience_seconds`` is how long it tries to get a lost one back,
    ``stuck_seconds`` after how long without an answer it counts as lost: the server itself ends
    statements earlier, if it is well."""

    def __init__(
        self,
        place: Place,
        connection: Connection,
        *,
        node: int,
        patience_seconds: float,
        stuck_seconds: float,
    ) -> None:
        self.counts = Counts()
        self._place = place
        self._connection: Connection | None = connection
        self._node = node
        self._patience_seconds = patience_seconds
        self._stuck_seconds = stuck_seconds
        self._busy_since: float | None = None
        self._stopping = threading.Event()
        self._do: dict[type, Callable[[Connection, Any], None]] = {
            SaveSnapshot: self._save_snapshot,
            SaveCursor: self._save_cursor,
            Trim: self._trim,
            Delete: self._delete,
        }

    def stop(self) -> None:
        """Have no patience any more: the store closes. From any thread."""
        self._stopping.set()

    def cut_if_stuck(self) -> None:
        """From any thread."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._stuck_seconds:
            self.cut()

    def cut(self) -> None:
        """End the connection under a statement that waits for an answer. From any thread."""
        connection = self._connection
        if connection is not None:
            cut(connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def rest(self) -> StoreFailed | None:
        """There is nothing to do."""
        return None

    def execute(self, batch: list[Job]) -> StoreFailed | None:
        """See ``Executor.execute``."""
        self._busy_since = time.monotonic()
        try:
            return self._execute(batch)
        finally:
            self._busy_since = None

    def _execute(self, batch: list[Job]) -> StoreFailed | None:
        deadline = time.monotonic() + self._patience_seconds
        pause, undone, sent, lost = RETRY_SECONDS, 0, False, False
        while True:
            try:
                connection = self._open()
                self._transact(connection, batch, sent)
            except (psycopg.Error, OSError) as error:
                kind = self._kind(error)
                if kind is Kind.UNFIT:
                    return self._isolate(batch, error)
                sent = sent or self._connection is not None
                # what a later try finds says nothing of one whose answer was lost
                lost = lost or (kind is Kind.LOST and sent)
                if kind is Kind.AGAIN and undone < AGAIN_MAX:
                    undone += 1
                    continue
                if kind is Kind.LOST:
                    self._drop()
                    if time.monotonic() < deadline and not self._stopping.wait(pause):
                        pause = min(2 * pause, RETRY_SECONDS_MAX)
                        continue
                return self._fail(batch, error, None if lost else False)
            self._count(batch)
            return None

    def _kind(self, error: psycopg.Error | OSError) -> Kind:
        connection = self._connection
        return kind_of(error, broken=connection is None or is_broken(connection))

    def _fail(
        self, batch: list[Job], error: psycopg.Error | OSError, written: bool | None
    ) -> StoreFailed:
        self.counts.commits_failed += 1
        schema = self._place.schema
        failure = failure_of(
            error, self._place.described, "writing", written=written, schema=schema
        )
        refuse(batch, failure)
        return failure

    def _isolate(self, batch: list[Job], error: Exception) -> StoreFailed | None:
        """One of them cannot be kept: do them one by one to find out which."""
        if len(batch) == 1:
            batch[0].error = InvalidArgument(f"Postgres cannot keep this: {error}")
            batch[0].error.__cause__ = error
            return None
        for index, job in enumerate(batch):
            failure = self._execute([job])
            if failure is not None:
                refuse(batch[index:], failure)
                return failure
        return None

    def _open(self) -> Connection:
        if self._connection is None or is_broken(self._connection):
            self._connection = None
            self._connection = self._place.connect_to_write()
            self.counts.reconnects += 1
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _count(self, batch: list[Job]) -> None:
        counts = self.counts
        counts.commits += 1
        for job in batch:
            if job.error is None and isinstance(job.work, Append):
                counts.records += len(job.work.records)
                counts.bytes += job.size
            elif isinstance(job.error, StaleOwner):
                counts.fenced += 1

    def _transact(self, connection: Connection, batch: list[Job], sent: bool) -> None:
        for job in batch:
            job.error = None
        parts = steps(batch)
        if len(parts) == 1 and isinstance(parts[0][0].work, Append):
            kept_out = self._append(connection, parts[0])
            if kept_out:
                with connection.transaction():
                    self._explain(connection, kept_out, sent)
            return
        with connection.transaction():
            for part in parts:
                if isinstance(part[0].work, Append):
                    self._explain(connection, self._append(connection, part), sent)
                    continue
                (job,) = part
                try:
                    self._do[type(job.work)](connection, job.work)
                except MoorageError as error:
                    job.error = error

    def _append(self, connection: Connection, jobs: Step) -> list[Job]:
        """Returns those that were kept out."""
        parameters = append_values(jobs, self._node)
        statement = sql.APPEND
        if any(job.work.answered for job in jobs):
            statement = sql.APPEND_ANSWERING
            parameters = (*parameters, self._place.mailbox(""))
        found = connection.execute(statement, parameters).fetchall()
        kept = {row[0] for row in found}
        return [job for job in jobs if job.work.number not in kept]

    def _explain(self, connection: Connection, jobs: Step, sent: bool) -> None:
        """Why these appends were kept out; ``sent`` says that they may be in already."""
        for job in jobs:
            work: Append = job.work
            row = connection.execute(sql.LOOK, (work.number,)).fetchone()
            if row is None:
                job.error = UnknownSession(work.session_id)
                continue
            head_seq, epoch, owner, exists = row
            if sent and work.records and self._is_there(connection, work):
                self.counts.resolved += 1
                continue
            if epoch != work.epoch or owner != self._node:
                current = f"epoch {epoch} of node {owner}"
            elif head_seq != work.expected_seq - 1:
                current = f"the head is {head_seq} and the append starts at {work.expected_seq}"
            elif not exists and work.info is None:
                job.error = InvalidArgument(
                    f"the first append to session {work.session_id!r} needs an info"
                )
                continue
            else:
                current = "it was kept out, and now would not be"
                if work.answered:
                    job.error = answered_before(", ".join(name for name, _ in work.answered))
                    continue
            job.error = StaleOwner(work.session_id, epoch=work.epoch, current=current)

    def _is_there(self, connection: Connection, work: Append) -> bool:
        statement = shared.in_dialect(shared.BODY, Dialect.POSTGRES)
        row = connection.execute(
            statement, (work.number, work.expected_seq), binary=True
        ).fetchone()
        return row is not None and row[0] == work.records[0].body

    def _hold(
        self, connection: Connection, work: SaveSnapshot | Trim | Delete
    ) -> tuple[int, int, bool]:
        """(head, oldest, whether it exists) of a session that is ours until the end of the
        transaction. Raises StaleOwner."""
        row = connection.execute(sql.HOLD, (work.number, work.epoch, self._node)).fetchone()
        if row is None:
            raise StaleOwner(
                work.session_id, epoch=work.epoch, current="another node or nobody owns it"
            )
        return row

    def _existing(self, connection: Connection, work: SaveSnapshot | Trim) -> tuple[int, int]:
        head_seq, oldest_seq, exists = self._hold(connection, work)
        if not exists:
            raise UnknownSession(work.session_id)
        return head_seq, oldest_seq

    def _save_snapshot(self, connection: Connection, work: SaveSnapshot) -> None:
        head_seq, _ = self._existing(connection, work)
        if work.snapshot.seq > head_seq:
            raise InvalidArgument(
                f"a snapshot at seq {work.snapshot.seq} is ahead of the head, {head_seq}"
            )
        values = (work.number, work.snapshot.seq, work.snapshot.body)
        connection.execute(shared.in_dialect(shared.SAVE_SNAPSHOT, Dialect.POSTGRES), values)

    def _save_cursor(self, connection: Connection, work: SaveCursor) -> None:
        values = (work.name, work.seq, work.session_id)
        statement = shared.in_dialect(shared.SAVE_CURSOR, Dialect.POSTGRES)
        if connection.execute(statement, values).rowcount == 0:
            raise UnknownSession(work.session_id)

    def _trim(self, connection: Connection, work: Trim) -> None:
        head_seq, oldest_seq = self._existing(connection, work)
        before = min(work.before, head_seq + 1)
        if before > oldest_seq:
            connection.execute(sql.TRIM, (before, work.number))
            for statement, values in (
                (shared.FORGET_EVENTS, (work.number, before)),
                (shared.FORGET_RUNS, (work.number, before, before)),
            ):
                connection.execute(shared.in_dialect(statement, Dialect.POSTGRES), values)

    def _answer(self, connection: Connection, letters: Sequence[Letter]) -> None:
        """All of them, or raise StoreFailed."""
        names = [name for name, _ in letters]
        if names and connection.execute(sql.OURS, (names, self._node)).fetchone() != (len(names),):
            raise answered_before(", ".join(names))
        for name, body in letters:
            row = connection.execute(sql.ANSWER, (body, name, self._node)).fetchone()
            assert row is not None, "it is locked"
            connection.execute(sql.NOTIFY, (self._place.mailbox(row[0]), "answer"))

    def _delete(self, connection: Connection, work: Delete) -> None:
        _, _, exists = self._hold(connection, work)
        self._answer(connection, work.answered)
        connection.execute(sql.BURY, (work.number,))
        if not exists:
            return
        for statement in shared.FORGET_EVERYTHING:
            connection.execute(shared.in_dialect(statement, Dialect.POSTGRES), (work.number,))
