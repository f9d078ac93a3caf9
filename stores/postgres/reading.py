"""Reading: a pool of connections, used in threads, and the readers' side of the port."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import psycopg
import trio
from moorage.runtime.errors import StoreFailed
from psycopg_pool import ConnectionPool

from ..relational import reads as shared
from ..relational.reading import RelationalReading
from ..relational.reads import Reads
from ..relational.schema import Dialect
from . import ownership
from . import statements as sql
from .failures import Kind, failure_of, kind_of
from .health import inspect
from .place import cut, is_broken, one_moment
from .statistics import PostgresStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime.placement import NodeInfo, SessionHolder, UnheldSession

    from ..health import HealthReport
    from .place import Connection, Place
    from .watch import Watch

P = ParamSpec("P")
T = TypeVar("T")


class PostgresReads(Reads):
    """Questions on psycopg's connections: values come as they are, not as text."""

    def __init__(self) -> None:
        super().__init__(Dialect.POSTGRES)

    def _run(self, connection: Any, statement: str, *parameters: object) -> Any:
        statement = statement.replace("?", Dialect.POSTGRES.value)
        if statement.startswith("SELECT seq, body FROM event"):
            # the driver takes in all rows at once: bounded over there
            statement = sql.EVENTS_BOUNDED.format(
                inner=statement,
                order="DESC" if " DESC " in statement else "ASC",
                bytes_max=shared.PAGE_BYTES_MAX,
            )
        return connection.execute(statement, parameters, binary=True)

    def look(
        self, connection: Any, session_id: str, after: int, run_id: str | None
    ) -> tuple[bool, int]:
        """(whether ``wait_news`` returns at once, the session's number)."""
        session = self.session(connection, session_id)
        if session is None or session.info is None:
            return True, 0
        return self.is_news(connection, session, after, run_id), session.number


class Pool:
    """Connections, each used by one thread at a time.

    A thread that waits for a server cannot be cancelled, and a server that hangs may never answer:
    ``stuck_seconds`` without an answer, and a connection is cut under who waits for it.
    """

    def __init__(
        self,
        place: Place,
        connections_max: int,
        timeout_seconds: float,
        stuck_seconds: float = math.inf,
    ) -> None:
        self._place = place
        self._stuck_seconds = stuck_seconds
        self._in_use: dict[int, tuple[Connection, float]] = {}
        self._cutting: threading.Timer | None = None
        self._threads = trio.CapacityLimiter(connections_max)
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            place.conninfo,
            kwargs={"autocommit": True},
            min_size=0,
            max_size=connections_max,
            timeout=timeout_seconds,
            open=False,
            name="moorage",
        )

    def open(self) -> None:
        """Blocks, but makes no connection yet."""
        self._pool.open()

    def cut_stuck(self) -> None:
        """End the connections whose server does not answer."""
        now = time.monotonic()
        for connection, since in list(self._in_use.values()):
            if now - since > self._stuck_seconds:
                cut(connection)

    def cut_after(self, seconds: float) -> None:
        """End what is under way by then: a server that hangs does not keep us from closing."""

        def cut_all() -> None:
            self._stuck_seconds = -1.0
            self.cut_stuck()

        self._cutting = threading.Timer(seconds, cut_all)
        self._cutting.daemon = True
        self._cutting.start()

    def close(self) -> None:
        """Blocks until the pool's own threads have ended."""
        if self._cutting is not None:
            self._cutting.cancel()
            self._cutting.join()
        self._stuck_seconds = -1.0
        self.cut_stuck()  # whoever was left behind
        self._pool.close()

    async def ask(
        self, question: Callable[Concatenate[Connection, P], T], *arguments: P.args, **_: P.kwargs
    ) -> T:
        """``question(connection, *arguments)`` in a thread. Raises StoreFailed and CorruptLog.

        It is asked once more on a new connection if the first was lost, as all connections are
        that a server left behind when it started again: for what may be done twice.
        """
        return await trio.to_thread.run_sync(
            lambda: self._ask(question, arguments, tries=2), limiter=self._threads
        )

    async def ask_or_leave(
        self, question: Callable[Concatenate[Connection, P], T], *arguments: P.args, **_: P.kwargs
    ) -> T:
        """For what may be done although nobody waits for it any more: cancelled, it returns while
        the thread waits on for a server that may hang."""
        return await trio.to_thread.run_sync(
            lambda: self._ask(question, arguments, tries=1),
            limiter=self._threads,
            abandon_on_cancel=True,
        )

    def _ask(self, question: Callable[..., T], arguments: tuple[Any, ...], *, tries: int) -> T:
        maybe_done = False
        while True:
            tries -= 1
            lost = False
            try:
                with self._pool.connection() as connection:
                    self._in_use[id(connection)] = connection, time.monotonic()
                    try:
                        return question(connection, *arguments)
                    except psycopg.Error as error:
                        lost = kind_of(error, broken=is_broken(connection)) is Kind.LOST
                        maybe_done |= lost
                        raise
                    finally:
                        del self._in_use[id(connection)]
            except (psycopg.Error, OSError) as error:
                if lost and tries and self._stuck_seconds > 0:
                    continue
                raise failure_of(
                    error,
                    self._place.described,
                    "asking it",
                    written=None if maybe_done else False,
                    schema=self._place.schema,
                ) from error


def notify(connection: Connection, channel: str, text: str) -> None:
    """Tell who listens on the channel."""
    connection.execute(sql.NOTIFY, (channel, text))


class PostgresReading(RelationalReading):
    """The reading methods of the store port, the same for nodes and for readers.

    ``_pool`` and ``_watch`` are set while it is open.
    """

    _place: Place
    _reads = PostgresReads()
    _pool: Pool | None = None
    _watch: Watch | None = None

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def _opened(self) -> Pool:
        if self._pool is None:
            raise StoreFailed(
                f"the store in {self._place.described} is not open: use it within `async with`",
                written=False,
            )
        return self._pool

    async def inspect(self) -> HealthReport:
        """Read and check everything, beside all nodes, as of one moment; it need not be open.
        Raises MigrationRequired and StoreFailed."""
        return await trio.to_thread.run_sync(
            inspect, self._place, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True
        )

    async def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        return await self._opened().ask(question, *arguments)

    async def _ask_at_once(self, question: Callable[..., T], *arguments: Any) -> T:
        return await self._opened().ask(_in_one_moment, question, *arguments)

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        async def has_news() -> bool:
            found, number = await self._ask(self._reads.look, session_id, after, run_id)
            if not found:
                watch = self._watch
                if watch is not None:
                    watch.waits(session_id, number)
            return found

        await self._lookout.wait(session_id, after=after, run_id=run_id, has_news=has_news)

    async def session_bytes(self, session_id: str) -> int:
        """What the session's event bodies take together. Raises UnknownSession."""
        return await self._opened().ask(self._reads.size, session_id)

    async def nodes(self) -> list[NodeInfo]:
        """All nodes that the database knows of, those of the last day too."""
        return await self._opened().ask(ownership.nodes)

    async def holder(self, session_id: str) -> SessionHolder | None:
        """See HolderReader."""
        return await self._opened().ask(ownership.holder, session_id)

    async def unserved(self, limit: int) -> list[UnheldSession]:
        return await self._opened().ask(ownership.unserved, limit)

    def statistics(self) -> PostgresStatistics:
        self._opened()
        return PostgresStatistics(waiting=self._lookout.board.statistics().waiting)


def _in_one_moment(connection: Connection, question: Callable[..., T], *arguments: Any) -> T:
    with one_moment(connection):
        return question(connection, *arguments)
