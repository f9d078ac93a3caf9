"""Learning what other processes wrote: notifications are hints, and a poll is the truth.

One connection listens. Whatever it says only wakes who waits, or has us look; a poll every
``POLL_SECONDS`` looks in any case, so that a notification which was lost, or a connection that is
dead without anybody having noticed, costs latency and nothing else.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import structlog
import trio
from moorage.runtime.errors import StoreFailed
from psycopg import sql

from .place import cut
from .telling import UNSYNCED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ..relational.looking import Lookout
    from .place import Connection, Place
    from .reading import Pool, PostgresReads
    from .telling import Telling

POLL_SECONDS = 1.0
RECONNECT_SECONDS = 0.5
NUMBERS_KEPT = 1_000
"""Of sessions that were waited for once, so that a hint to one needs no look at them all."""

_log = structlog.get_logger("moorage.stores")


class Watch:
    """Tells a Lookout what others wrote. ``node`` is our own number (0: a reader's), whose news
    was told already; ``telling`` speaks to the others over the connection that listens; ``on_mail``
    is awaited when there may be commands or answers for us, and ``on_beat`` called every
    ``POLL_SECONDS``. Only sessions that are waited for at the Lookout, and not at its board alone,
    are watched: those of our own are told of by whoever writes."""

    def __init__(
        self,
        place: Place,
        pool: Pool,
        reads: PostgresReads,
        lookout: Lookout,
        *,
        telling: Telling,
        node: int = 0,
        on_mail: Callable[[], Awaitable[None]] | None = None,
        on_beat: Callable[[], None] | None = None,
        on_unheld: Callable[[], None] | None = None,
    ) -> None:
        self.notifications = 0
        self.listening = False
        self._place = place
        self._pool = pool
        self._reads = reads
        self._lookout = lookout
        self._node = node
        self._telling = telling
        self._on_mail = on_mail
        self._on_beat = on_beat
        self._on_unheld = on_unheld
        self._mail = trio.Event()
        self._look = trio.Event()
        self._numbers: dict[int, str] = {}
        """Number -> id of sessions that are or were waited for."""
        self._known: set[str] = set()
        """Their ids."""
        self._heads_changed: set[int] | None = set()
        """Sessions to look at; None: all that are waited for."""

    async def run(self) -> None:
        """Watch until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._poll)
            nursery.start_soon(self._mind_the_server)
            nursery.start_soon(self._telling.run)
            if self._on_mail is not None:
                nursery.start_soon(self._fetch_mail, self._on_mail)

    # ---- hints ----

    async def _listen(self) -> None:
        while True:
            try:
                connection = await self._connected()
            except (psycopg.Error, OSError) as error:
                _log.debug("not listening", error=str(error))
                await trio.sleep(RECONNECT_SECONDS)
                continue
            try:
                self.listening = True
                self._hint_everything()  # what was told meanwhile is lost
                self._hint_unheld()
                self._telling.begin(connection)
                await self._take_notifications(connection)
            except (psycopg.Error, OSError) as error:
                _log.debug("listening ended", error=str(error))
            finally:
                self.listening = False
                self._telling.end()
                connection.close()
            await trio.sleep(RECONNECT_SECONDS)

    async def _connected(self) -> Connection:
        """A connection that listens. Raises psycopg.Error and OSError."""
        channels = [self._place.channel]
        if self._on_mail is not None:
            channels += [self._place.mailbox(self._node), self._place.nodes_channel]
        attempt = _Attempt(self._place, channels)
        try:
            return await trio.to_thread.run_sync(
                attempt.make, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True
            )
        except trio.Cancelled:
            attempt.leave()
            raise

    async def _take_notifications(self, connection: Connection) -> None:
        """libpq takes in what is there without waiting; the waiting is trio's."""
        pgconn = connection.pgconn
        while True:
            while (notify := pgconn.notifies()) is not None:
                self.notifications += 1
                if notify.relname == self._place.channel.encode():
                    self._hint(notify.extra.decode())
                elif notify.extra == b"unheld":
                    self._hint_unheld()
                else:
                    self._mail.set()
            self._telling.collect()
            await trio.lowlevel.wait_readable(connection.fileno())
            pgconn.consume_input()

    def _hint(self, text: str) -> None:
        """See Telling for what it says."""
        writer, *parts = text.split(" ")
        if writer == str(self._node) and self._node:
            return
        for part in parts:
            number, _, what = part.partition(":")
            if part == "*":
                self._hint_everything()
            elif part == "?":
                self._telling.want_any()
            elif not number.isdecimal():
                continue  # not from us
            elif what == "?":
                self._telling.want(int(number))
            else:
                self._hint_head(int(number), what)

    def _hint_head(self, number: int, head: str) -> None:
        waited = self._lookout.session_ids
        if not waited:
            return
        session_id = self._numbers.get(number)
        if session_id is None:
            # maybe of a session that somebody began to wait for since the last look
            if not waited <= self._known:
                self._hint_everything()
        elif head.isdigit():
            self._lookout.publish(session_id, int(head))
        else:
            self._hint_number(number)

    def _hint_number(self, number: int) -> None:
        if self._heads_changed is not None:
            self._heads_changed.add(number)
        self._look.set()

    def _hint_everything(self) -> None:
        self._heads_changed = None
        self._look.set()
        self._mail.set()

    def _hint_unheld(self) -> None:
        if self._on_unheld is not None:
            self._on_unheld()

    # ---- the truth ----

    def waits(self, session_id: str, number: int) -> None:
        """Somebody is about to wait for news of a session of another node."""
        self._numbers[number] = session_id
        self._known.add(session_id)
        self._telling.ask([number])

    async def _poll(self) -> None:
        while True:
            with trio.move_on_after(POLL_SECONDS) as scope:
                await self._look.wait()
            changed = None if scope.cancelled_caught else self._heads_changed
            self._look, self._heads_changed = trio.Event(), set()
            if not self._lookout.session_ids:
                continue
            try:
                await self._look_at(changed)
            except StoreFailed as error:
                _log.debug("news not looked for", error=str(error))

    async def _look_at(self, changed: set[int] | None) -> None:
        """Tell those who wait where the sessions stand that they wait for."""
        board = self._lookout.board
        waited: Iterable[str] = list(self._lookout.session_ids)
        if changed is not None:
            waited = [name for number in changed if (name := self._numbers.get(number))]
        heads = await self._pool.ask(self._reads.rows, waited)
        if len(self._numbers) > 2 * len(heads) + NUMBERS_KEPT:
            self._numbers.clear()
            self._known.clear()
        self._numbers |= {row.number: session_id for session_id, row in heads.items()}
        self._known |= heads.keys()
        self._telling.ask(row.number for row in heads.values())
        for session_id in waited:
            row = heads.get(session_id)
            if row is None:
                self._lookout.wake_session(session_id)
                continue
            run_ids = board.run_ids(session_id)
            ended: list[str] = []
            if run_ids:
                ended = await self._pool.ask(self._reads.ended, session_id, run_ids)
            self._lookout.publish(session_id, row.head_seq, ended)

    async def _mind_the_server(self) -> None:
        """Beside the poll, which may itself wait for a server that hangs."""
        while True:
            await trio.sleep(POLL_SECONDS)
            self._pool.cut_stuck()
            if self._on_beat is not None:
                self._on_beat()

    async def _fetch_mail(self, fetch: Callable[[], Awaitable[None]]) -> None:
        while True:
            with trio.move_on_after(POLL_SECONDS):
                await self._mail.wait()
            self._mail = trio.Event()
            try:
                await fetch()
            except StoreFailed as error:
                _log.debug("commands not looked for", error=str(error))


class _Attempt:
    """Making a connection that listens, in a thread that may be left behind: its connection is
    cut then, so that the thread ends however the server hangs, and closes it."""

    def __init__(self, place: Place, channels: list[str]) -> None:
        self._place = place
        self._channels = channels
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._left = self._made = False

    def make(self) -> Connection:
        """The thread."""
        connection = self._place.connect()
        try:
            self._connection = connection
            connection.execute(UNSYNCED)
            for channel in self._channels:
                if not self._left:
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            with self._lock:
                self._made = not self._left
            if self._left:
                raise OSError("nobody waits for it any more")
        except BaseException:
            connection.close()
            raise
        return connection

    def leave(self) -> None:
        with self._lock:
            self._left = True
            made = self._made
        if self._connection is not None:
            if made:
                self._connection.close()
            else:
                cut(self._connection)
