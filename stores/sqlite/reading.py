"""Reading: a few connections that threads take turns with, and the readers' side of the port."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from moorage.runtime.errors import StoreFailed

from ..relational.reading import RelationalReading
from ..relational.reads import Reads
from ..relational.schema import Dialect
from .failures import failure_of
from .opening import open_for_reading
from .statistics import SqliteStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from .opening import Place

READ_THREADS_MAX = 4
POLL_SECONDS = 0.02
POLL_SECONDS_MAX = 0.25
"""How often a reader in another process than the writer looks, while anybody waits: less often
the longer there was nothing."""
POLL_GROWTH = 1.2

T = TypeVar("T")


class ReadPool:
    """Read-only connections; each question is answered within one read transaction."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._threads = trio.CapacityLimiter(READ_THREADS_MAX)
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self.connections = 0

    async def ask(self, question: Callable[..., T], *arguments: object) -> T:
        """``question(connection, *arguments)`` in a thread. Raises StoreFailed and CorruptLog."""
        return await trio.to_thread.run_sync(self._ask, question, arguments, limiter=self._threads)

    def _ask(self, question: Callable[..., T], arguments: tuple[object, ...]) -> T:
        connection = self._idle.pop() if self._idle else self._open()
        try:
            connection.execute("BEGIN")
            try:
                return question(connection, *arguments)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise failure_of(error, self._place.path, "reading") from error
        finally:
            self._idle.append(connection)
            if self._closed:
                self.close()

    def _open(self) -> sqlite3.Connection:
        connection = open_for_reading(self._place)
        self.connections += 1
        return connection

    def close(self) -> None:
        """Close the connections; one that is in use closes when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
            self.connections -= 1


class SqliteReading(RelationalReading):
    """The reading methods of the store port, the same for the owner and for readers beside it.

    ``_pool`` is set while it is open.
    """

    _place: Place
    _reads = Reads(Dialect.SQLITE)
    _pool: ReadPool | None = None

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def _opened(self) -> ReadPool:
        if self._pool is None:
            raise StoreFailed(
                f"the store in {self._place.path} is not open: use it within `async with`",
                written=False,
            )
        return self._pool

    async def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        return await self._opened().ask(question, *arguments)

    _ask_at_once = _ask

    async def session_bytes(self, session_id: str) -> int:
        """What the session's event bodies take together. Raises UnknownSession."""
        return await self._opened().ask(self._reads.size, session_id)

    def statistics(self) -> SqliteStatistics:
        return SqliteStatistics(
            waiting=self._lookout.board.statistics().waiting,
            connections=self._opened().connections,
        )


class SqliteReader(SqliteReading):
    """From ``SqliteStore.reading``: sees what another store object, or process, commits."""

    async def run(self) -> None:
        """Look for what others wrote while anybody waits for it, until cancelled.

        SQLite counts commits of others per connection (``data_version``), which costs a look into
        shared memory; so one connection is kept for that alone.
        """
        threads = trio.CapacityLimiter(1)
        connection = await trio.to_thread.run_sync(open_for_reading, self._place, limiter=threads)
        try:
            version, pause = 0, POLL_SECONDS
            while True:
                await trio.sleep(pause)
                pause = min(pause * POLL_GROWTH, POLL_SECONDS_MAX)
                if not self._lookout.board.anybody:
                    continue
                try:
                    now = await trio.to_thread.run_sync(_data_version, connection, limiter=threads)
                    if now != version:
                        await self._publish()
                        version, pause = now, POLL_SECONDS
                except (sqlite3.Error, StoreFailed):
                    self._lookout.wake_all()  # who waits will read, and be told
        finally:
            connection.close()

    async def _publish(self) -> None:
        """Tell those who wait where the sessions stand that they wait for."""
        board, pool = self._lookout.board, self._opened()
        waited = board.session_ids()
        rows = await pool.ask(self._reads.rows, waited)
        for session_id in waited:
            row = rows.get(session_id)
            if row is None:
                self._lookout.wake_session(session_id)
                continue
            run_ids = board.run_ids(session_id)
            ended: Any = ()
            if run_ids:
                ended = await pool.ask(self._reads.ended, session_id, run_ids)
            self._lookout.publish(session_id, row.head_seq, ended)


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
