"""Whether the tables agree with each other and with the events. Blocks; for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.codec import decode_event
from moorage.runtime.errors import CorruptLog
from moorage.runtime.sessions import SessionState

from ..comparing import Pacing
from ..health import Findings, RunPlaces, place_of
from .rows import SESSION_COLUMNS, SessionRow
from .statements import in_dialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from .reads import Connection
    from .schema import Dialect

_SESSIONS_AT_ONCE = 200
_SESSIONS = (
    f"SELECT {SESSION_COLUMNS}, needs_worker FROM session WHERE number > ? "
    f"ORDER BY number LIMIT {_SESSIONS_AT_ONCE}"
)
_EVENTS = (
    "SELECT seq, type, run_id, body FROM event WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?"
)
_RUNS = "SELECT run_id, submitted_seq, ended_seq, idempotency_key FROM run WHERE session = ?"
_BEYOND = {
    "snapshot": "SELECT 'its snapshot', seq FROM snapshot WHERE session = ? AND seq > ?",
    "cursor": "SELECT 'its cursor ' || name, seq FROM cursor WHERE session = ? AND seq > ?",
}
_ORPHANS = (
    "SELECT DISTINCT session FROM {table} WHERE NOT EXISTS "
    "(SELECT 1 FROM session AS s WHERE s.number = {table}.session AND s.info IS NOT NULL)"
)
_MADE_AGAIN = "copy the store into another one, which makes this table anew: moorage copy"


class TableCheck:
    """``run(connection)`` looks at one moment of a database, in which nothing else changes."""

    def __init__(
        self, dialect: Dialect, findings: Findings, *, run: Callable[..., Any] | None = None
    ) -> None:
        """``run(connection, statement, parameters)`` gives a cursor, if ``execute`` does not."""
        self._dialect = dialect
        self._findings = findings
        self._execute = run or (lambda connection, sql, values: connection.execute(sql, values))

    def _rows(self, connection: Connection, statement: str, *values: object) -> list[Any]:
        sql = in_dialect(statement, self._dialect)
        return self._execute(connection, sql, values).fetchall()  # type: ignore[no-any-return]

    def run(self, connection: Connection) -> None:
        """Raises what the driver raises."""
        number = 0
        while True:
            rows = self._rows(connection, _SESSIONS, number)
            for *columns, needs_worker in rows:
                session = SessionRow._make(columns)
                if session.info is not None:
                    self._check(connection, session, bool(needs_worker))
            if len(rows) < _SESSIONS_AT_ONCE:
                break
            number = rows[-1][0]
        for table in ("event", "run", "snapshot", "cursor"):
            for (orphan,) in self._rows(connection, _ORPHANS.format(table=table)):
                self._findings.damage(
                    f"table {table}, session number {orphan}",
                    "rows of a session that does not exist, or was deleted",
                    f"DELETE FROM {table} WHERE session = {orphan}",
                )

    def _check(self, connection: Connection, session: SessionRow, needs_worker: bool) -> None:
        findings, place = self._findings, place_of(session.id)
        findings.sessions += 1
        try:
            info = session.decoded()
        except CorruptLog as error:
            findings.damage(place, error.reason)
            return
        assert info is not None
        flags = bool(session.closed), needs_worker
        if flags != (info.state is SessionState.CLOSED, info.needs_worker):
            findings.damage(place, "its columns closed and needs_worker are not those of its info")
        if not 1 <= session.oldest_seq <= session.head_seq + 1:
            findings.damage(
                place, f"oldest_seq is {session.oldest_seq} and head_seq {session.head_seq}"
            )
            return
        runs = self._events(connection, session)
        if runs is not None:
            self._runs(connection, session, runs)
        for statement in _BEYOND.values():
            for what, seq in self._rows(connection, statement, session.number, session.head_seq):
                findings.damage(place, f"{what} is at {seq}, beyond the head, {session.head_seq}")

    def _events(self, connection: Connection, session: SessionRow) -> RunPlaces | None:
        """What they tell of runs, None if some are missing."""
        places, pacing, seq = RunPlaces(), Pacing(), session.oldest_seq - 1
        whole = True
        while True:
            limit = pacing.limit
            rows = self._rows(connection, _EVENTS, session.number, seq, limit)
            for at, type_, run_id, body in rows:
                if at != seq + 1:
                    problem = f"seqs {seq + 1} to {at - 1} are missing"
                    self._findings.damage(place_of(session.id, seq + 1), problem)
                    whole = False
                seq = at
                try:
                    event = decode_event(session.id, at, body)
                except CorruptLog as error:
                    self._findings.damage(place_of(session.id, at), error.reason)
                    whole = False
                    continue
                if (event.type, event.run_id) != (type_, run_id):
                    self._findings.damage(
                        place_of(session.id, at),
                        f"the columns say {type_} of run {run_id}, the event {event.type} of "
                        f"{event.run_id}",
                    )
                places.see(event)
            self._findings.events += len(rows)
            pacing.seen(len(rows), sum([len(row[3]) for row in rows]))
            if len(rows) < limit:
                break
        if seq != session.head_seq:
            problem = f"the events end with {seq} and the head is {session.head_seq}"
            self._findings.damage(place_of(session.id, seq + 1), problem)
            whole = False
        return places if whole else None

    def _runs(self, connection: Connection, session: SessionRow, expected: RunPlaces) -> None:
        """Runs whose beginning, or end, is trimmed away are where the table alone knows."""
        oldest, told = session.oldest_seq, set[str]()
        for run_id, submitted, ended, key in self._rows(connection, _RUNS, session.number):
            told.add(run_id)
            found = (submitted if submitted >= oldest else 0, ended if ended >= oldest else 0)
            if found != (expected.submitted.get(run_id, 0), expected.ended.get(run_id, 0)):
                self._wrong(session.id, run_id, f"from {submitted} to {ended}")
            elif key is None and run_id in expected.keys.values():
                self._wrong(session.id, run_id, "without its key")
        for run_id in (expected.submitted.keys() | expected.ended.keys()) - told:
            self._wrong(session.id, run_id, "not at all")

    def _wrong(self, session_id: str, run_id: str, told: str) -> None:
        self._findings.damage(
            f"table run, {place_of(session_id)}",
            f"run {run_id!r} is there {told}, and its events say otherwise",
            _MADE_AGAIN,
        )
