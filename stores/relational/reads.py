"""The reading half of the store port, blocking, on a connection: for threads.

Each function is called with a connection that shows one moment of the database for as long as it
runs (a read transaction), and raises UnknownSession, CursorExpired and CorruptLog; what the driver
raises passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs
from moorage.runtime.codec import decode_event, decode_events
from moorage.runtime.errors import CorruptLog, CursorExpired, UnknownSession
from moorage.runtime.ports import Page, StoredRun

from . import statements as sql
from .names import after_prefix, is_text
from .rows import SessionRow, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moorage.runtime.events import Event
    from moorage.runtime.ports import Snapshot
    from moorage.runtime.sessions import SessionInfo

    from .schema import Dialect

SCAN_EVENTS_MAX = 10_000
"""Events that one filtered page looks at; it may come back short."""
PAGE_BYTES_MAX = 4 * 2**20
"""Bodies that one page reads, in bytes (a larger one goes alone): about the memory it costs."""
_NAMES_PER_STATEMENT = 500


class Rows(Protocol):
    """A cursor of any driver, with the rows of one statement."""

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Any: ...
    def close(self) -> None: ...


class Connection(Protocol):
    """A connection of any driver."""

    def execute(self, statement: Any, parameters: Any = ..., /) -> Any: ...


@attrs.frozen
class Question:
    """What ``StoreReader.read`` asks for."""

    session_id: str
    after: int
    before: int | None
    limit: int
    types: frozenset[str] | None
    run_id: str | None
    backwards: bool


class Reads:
    """Questions in one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def _run(self, connection: Connection, statement: str, *parameters: object) -> Any:
        return connection.execute(sql.in_dialect(statement, self._dialect), parameters)

    def session(self, connection: Connection, session_id: str) -> SessionRow | None:
        """The session's row, a tombstone too."""
        if not is_text(session_id):
            return None
        row = self._run(connection, sql.SESSION, session_id).fetchone()
        return None if row is None else SessionRow._make(row)

    def _existing(self, connection: Connection, session_id: str) -> SessionRow:
        session = self.session(connection, session_id)
        if session is None or session.info is None:
            raise UnknownSession(session_id)
        return session

    def info(self, connection: Connection, session_id: str) -> SessionInfo | None:
        session = self.session(connection, session_id)
        return None if session is None else session.decoded()

    def numbers(self, connection: Connection, prefix: str, needs_worker: bool) -> list[int]:
        """Of the sessions that a listing shows, in its order."""
        if not is_text(prefix):
            return []
        statement = sql.sessions(prefix=bool(prefix), needs_worker=needs_worker)
        parameters = (len(prefix), prefix) if prefix else ()
        return [row[0] for row in self._run(connection, statement, *parameters)]

    def infos(self, connection: Connection, numbers: Sequence[int]) -> list[SessionInfo]:
        """Of those that still exist, in the order of the numbers."""
        statement = sql.sessions_by("number", len(numbers))
        rows = {row[0]: SessionRow._make(row) for row in self._run(connection, statement, *numbers)}
        found = [rows[number].decoded() for number in numbers if number in rows]
        return [info for info in found if info is not None]

    def session_page(
        self,
        connection: Connection,
        order: str,
        descending: bool,
        after: tuple[Any, ...] | None,
        prefix: str,
        limit: int,
    ) -> list[SessionInfo]:
        """What ``OrderedReader.session_page`` asks for."""
        if not is_text(prefix):
            return []
        end = after_prefix(prefix)
        statement = sql.session_page(
            order=order,
            descending=descending,
            after=after is not None,
            prefix=bool(prefix),
            bounded=end is not None,
        )
        bounds = [bound for bound in (prefix, end) if bound]
        rows = self._run(connection, statement, *bounds, *(after or ()), limit)
        numbers = [row[0] for row in rows]
        infos: list[SessionInfo] = []
        for start in range(0, len(numbers), _NAMES_PER_STATEMENT):
            infos += self.infos(connection, numbers[start : start + _NAMES_PER_STATEMENT])
        return infos

    def rows(self, connection: Connection, session_ids: Iterable[str]) -> dict[str, SessionRow]:
        """Of those of these sessions that exist."""
        found: dict[str, SessionRow] = {}
        for chunk in sql.chunks(filter(is_text, session_ids), _NAMES_PER_STATEMENT):
            statement = sql.sessions_by("id", len(chunk))
            for row in self._run(connection, statement, *chunk):
                session = SessionRow._make(row)
                if session.info is not None:
                    found[session.id] = session
        return found

    def ended(self, connection: Connection, session_id: str, run_ids: Iterable[str]) -> list[str]:
        """Which of these runs have ended."""
        found: list[str] = []
        for chunk in sql.chunks(filter(is_text, run_ids), _NAMES_PER_STATEMENT):
            statement = sql.ended_among(len(chunk))
            found += [row[0] for row in self._run(connection, statement, session_id, *chunk)]
        return found

    def has_news(
        self, connection: Connection, session_id: str, after: int, run_id: str | None
    ) -> bool:
        """What ``wait_news`` returns for at once."""
        session = self.session(connection, session_id)
        if session is None or session.info is None:
            return True
        return self.is_news(connection, session, after, run_id)

    def is_news(
        self, connection: Connection, session: SessionRow, after: int, run_id: str | None
    ) -> bool:
        """The same of a session that exists."""
        if session.head_seq <= after:
            return False
        return run_id is None or bool(self.ended(connection, session.id, [run_id]))

    def size(self, connection: Connection, session_id: str) -> int:
        """Bytes of all event bodies: both databases know lengths without reading large ones."""
        session = self._existing(connection, session_id)
        return int(self._run(connection, sql.SIZE, session.number).fetchone()[0])

    def snapshot(self, connection: Connection, session_id: str) -> Snapshot | None:
        if not is_text(session_id):
            return None
        return snapshot_of(self._run(connection, sql.SNAPSHOT, session_id).fetchone())

    def cursor(self, connection: Connection, session_id: str, name: str) -> int | None:
        if not (is_text(session_id) and is_text(name)):
            return None
        row = self._run(connection, sql.CURSOR, session_id, name).fetchone()
        return None if row is None else int(row[0])

    def cursors(self, connection: Connection, session_id: str) -> dict[str, int]:
        if not is_text(session_id):
            return {}
        return dict(self._run(connection, sql.CURSORS, session_id).fetchall())

    def tombstones(self, connection: Connection) -> list[tuple[str, int]]:
        """Every deleted session with its last seq; what was claimed and never written is none."""
        return list(self._run(connection, sql.TOMBSTONES).fetchall())

    def find_key(self, connection: Connection, session_id: str, key: str) -> str | None:
        if not (is_text(session_id) and is_text(key)):
            return None
        row = self._run(connection, sql.KEY, session_id, key).fetchone()
        return None if row is None else str(row[0])

    def find_run(self, connection: Connection, session_id: str, run_id: str) -> StoredRun | None:
        session = self.session(connection, session_id)
        if session is None or session.info is None or not is_text(run_id):
            return None
        row = self._run(connection, sql.RUN, session.number, run_id).fetchone()
        if row is None or row[0] < session.oldest_seq:
            return None
        submitted = self._event(connection, session, row[0])
        ended = self._event(connection, session, row[1]) if row[1] else None
        return StoredRun(submitted, ended, session.head_seq)

    def _event(self, connection: Connection, session: SessionRow, seq: int) -> Event:
        row = self._run(connection, sql.BODY, session.number, seq).fetchone()
        if row is None:
            raise _gap(session.id, seq)
        return decode_event(session.id, seq, row[0])

    def read(self, connection: Connection, question: Question) -> Page:
        session = self._existing(connection, question.session_id)
        after = question.after
        if after < session.oldest_seq - 1:
            if not question.backwards:
                oldest_seq = session.oldest_seq
                raise CursorExpired(session.id, after=after, oldest_seq=oldest_seq)
            after = session.oldest_seq - 1
        low, high = after + 1, session.head_seq
        if question.before is not None:
            high = min(high, question.before - 1)
        if high < low:
            events: list[Event] = []
            scanned_to = low if question.backwards else max(after, high)
        elif question.run_id is None and question.types is None:
            events, scanned_to = self._read_all(connection, session, question, low, high)
        else:
            events, scanned_to = self._read_some(connection, session, question, low, high)
        return Page(events, scanned_to, session.head_seq, session.oldest_seq, bool(session.closed))

    def _read_all(
        self, connection: Connection, session: SessionRow, question: Question, low: int, high: int
    ) -> tuple[list[Event], int]:
        limit = min(question.limit, SCAN_EVENTS_MAX)
        if question.backwards:
            low = max(low, high - limit + 1)
        else:
            high = min(high, low + limit - 1)
        rows, cut = self._rows(connection, session, question, low, high, limit)
        first, last = rows[0][0] if rows else 0, rows[-1][0] if rows else 0
        if question.backwards:
            low = first if cut else low
        else:
            high = last if cut else high
        if (first, last, len(rows)) != (low, high, high - low + 1):
            raise _gap(session.id, low)
        events = decode_events(session.id, low, [row[1] for row in rows])
        return events, low if question.backwards else high

    def _read_some(
        self, connection: Connection, session: SessionRow, question: Question, low: int, high: int
    ) -> tuple[list[Event], int]:
        scan_low, scan_high = low, high
        if question.run_id is not None:
            scan_low, scan_high = self._bounds_of_run(connection, session, question, low, high)
        backwards = question.backwards
        if scan_high < scan_low:
            return [], low if backwards else high
        if backwards:
            bounded = max(scan_low, scan_high - SCAN_EVENTS_MAX + 1)
            whole, scan_low = bounded == scan_low, bounded
        else:
            bounded = min(scan_high, scan_low + SCAN_EVENTS_MAX - 1)
            whole, scan_high = bounded == scan_high, bounded
        limit = min(question.limit, SCAN_EVENTS_MAX)
        rows, cut = self._rows(connection, session, question, scan_low, scan_high, limit)
        if cut:
            scanned_to = rows[0][0] if backwards else rows[-1][0]
        elif backwards:
            scanned_to = low if whole else scan_low
        else:
            scanned_to = high if whole else scan_high
        return [decode_event(session.id, seq, body) for seq, body in rows], scanned_to

    def _bounds_of_run(
        self, connection: Connection, session: SessionRow, question: Question, low: int, high: int
    ) -> tuple[int, int]:
        """From its request to its end, as far as both are there."""
        if not is_text(question.run_id):
            return low, low - 1
        row = self._run(connection, sql.RUN, session.number, question.run_id).fetchone()
        if row is None:
            return low, high
        submitted, ended = row
        if submitted >= session.oldest_seq:
            low = max(low, submitted)
        if ended >= session.oldest_seq:
            high = min(high, ended)
        return low, high

    def _rows(
        self,
        connection: Connection,
        session: SessionRow,
        question: Question,
        low: int,
        high: int,
        limit: int,
    ) -> tuple[list[tuple[int, bytes]], bool]:
        """Up to ``limit`` rows, ascending, and whether there are more that match."""
        types = sorted(filter(is_text, question.types or ()))
        if question.types is not None and not types:
            return [], False
        statement = sql.events(
            types=len(types), run=question.run_id is not None, backwards=question.backwards
        )
        run = [] if question.run_id is None else [question.run_id]
        cursor = self._run(
            connection, statement, session.number, low, high, *run, *types, limit + 1
        )
        rows: list[tuple[int, bytes]] = []
        size, cut = 0, False
        for seq, body in cursor:
            size += len(body)
            if rows and (len(rows) == limit or size > PAGE_BYTES_MAX):
                cut = True
                break
            rows.append((seq, body))
        cursor.close()
        if question.backwards:
            rows.reverse()
        return rows, cut


def _gap(session_id: str, seq: int) -> CorruptLog:
    reason = "events that should be there are missing"
    return CorruptLog(file=f"session {session_id!r}", offset=seq, reason=reason)
