"""Telling other processes what this node wrote, and what this process waits for: hints.

A NOTIFY takes a lock on the whole server that is held until its transaction is on disk, so that
commits which notify go one after the other whatever the disk could do at once, and it wakes every
process that listens, whoever it is meant for. So no commit of ours notifies. Who waits for a
session of another node says so, when it begins to and every ``ASK_SECONDS``; a node tells of what
was asked for, and of nothing while nobody asks. One statement at a time says everything that came
up meanwhile: the first at once, the next after ``PAUSE_SECONDS``.

The statements go over the connection that listens, whose commits need not be on disk: what they
tell of is. Lost with its connection, or with a process, a hint costs its readers the time to their
next poll. What was written just before the question came is told in answer to it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import psycopg
import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg.pq.abc import PGconn

PAUSE_SECONDS = 0.01
"""Between two notifications of a process, for as long as there is anything to say."""
NOTICE_BYTES_MAX = 7_000
"""Of a notification; Postgres takes 8,000."""
SESSIONS_MAX = 1_000
"""Named one by one; of more it is told that there is news, or asked for news of all."""
ASK_SECONDS = 0.9
"""After this it is asked again: by every poll."""
WANTED_SECONDS = 5.0
"""Nobody who asked for news longer ago waits for it still."""
UNSYNCED = "SET synchronous_commit = off"
"""For the connection that tells, before it is given to ``begin``."""

_NOTIFY = b"SELECT pg_notify($1, $2)"
_log = structlog.get_logger("moorage.stores")


class Line(Protocol):
    """The connection that listens."""

    @property
    def pgconn(self) -> PGconn: ...


class Telling:
    """One process's side of it; ``node`` is 0 in a reader, which only asks. All methods are called
    on the trio thread.

    A notification is ``node part part ...``. Parts: ``number:head`` (``!`` behind it: a run has
    ended), ``number:-`` (deleted), ``*`` (news of whatever), ``number:?`` (tell of this one from
    now on), ``?`` (tell of everything).
    """

    def __init__(self, channel: str, node: int) -> None:
        self._channel = channel.encode()
        self._node = node
        self._news: dict[int, str] = {}
        self._news_of_any = False
        self._untold: OrderedDict[int, str] = OrderedDict()
        """The latest of sessions that nobody asked for."""
        self._wanted: OrderedDict[int, float] = OrderedDict()
        """Number -> until when; the next one to end first."""
        self._any_wanted_until = 0.0
        self._asks: dict[int, None] = {}
        self._ask_for_any = False
        self._asked: OrderedDict[int, float] = OrderedDict()
        self._asked_for_any_at = -ASK_SECONDS
        self._pgconn: PGconn | None = None
        self._under_way = False
        self._ready = trio.Event()

    # ---- what this node wrote ----

    def note(self, number: int, head_seq: int, ended: bool) -> None:
        """A session has this head, and maybe a run of it has ended."""
        self._note(number, f"{head_seq}!" if ended else str(head_seq))

    def note_deleted(self, number: int) -> None:
        self._note(number, "-")

    def _note(self, number: int, what: str) -> None:
        if self._is_wanted(number):
            self._put(number, what)
            return
        self._untold[number] = _joined(self._untold.pop(number, ""), what)
        if len(self._untold) > SESSIONS_MAX:
            self._untold.popitem(last=False)

    def _is_wanted(self, number: int) -> bool:
        if not self._wanted and not self._any_wanted_until:
            return False
        now = trio.current_time()
        return self._wanted.get(number, 0.0) > now or self._any_wanted_until > now

    def _put(self, number: int, what: str) -> None:
        self._news[number] = _joined(self._news.get(number, ""), what)
        if len(self._news) > SESSIONS_MAX:
            self._news.clear()
            self._news_of_any = True
        self._nudge()

    def want(self, number: int) -> None:
        """Another process waits for news of this session."""
        now = trio.current_time()
        self._wanted.pop(number, None)
        self._wanted[number] = now + WANTED_SECONDS
        _forget_until(self._wanted, now)
        if len(self._wanted) > SESSIONS_MAX:
            self._wanted.clear()
            self.want_any()
        untold = self._untold.pop(number, None)
        if untold is not None:
            self._put(number, untold)

    def want_any(self) -> None:
        """Another process waits for news of very many sessions."""
        self._any_wanted_until = trio.current_time() + WANTED_SECONDS
        while self._untold:
            self._put(*self._untold.popitem(last=False))

    # ---- what this process waits for ----

    def ask(self, numbers: Iterable[int]) -> None:
        """Have the others tell of these sessions; those asked for just now are left out."""
        now = trio.current_time()
        if now < self._asked_for_any_at + ASK_SECONDS:
            return
        _forget_until(self._asked, now - ASK_SECONDS)
        for number in numbers:
            if number not in self._asked:
                self._asked[number] = now
                self._asks[number] = None
        if len(self._asks) > SESSIONS_MAX or len(self._asked) > SESSIONS_MAX:
            self._asks.clear()
            self._asked.clear()
            self._ask_for_any = True
            self._asked_for_any_at = now
        self._nudge()

    # ---- saying it ----

    def take(self) -> str:
        """Everything there is to say, as one notification; empty if there is nothing."""
        any_news = "*" if self._news_of_any else ""
        asks = ["?"] if self._ask_for_any else [f"{number}:?" for number in self._asks]
        news = [any_news] if any_news else [f"{n}:{what}" for n, what in self._news.items()]
        self._news, self._news_of_any = {}, False
        self._asks, self._ask_for_any = {}, False
        if not asks and not news:
            return ""
        text = f"{self._node} {' '.join([*asks, *news])}"
        if len(text) > NOTICE_BYTES_MAX:
            text = f"{self._node}{' ?' if asks else ''}{' *' if news else ''}"
        return text

    def begin(self, line: Line) -> None:
        """Say it over this connection from now on, which another task reads from."""
        self._pgconn = line.pgconn
        if self._under_way:  # lost with the connection before
            self._under_way = False
            self._news_of_any = True
            self._asked.clear()
            self._asked_for_any_at = -ASK_SECONDS
        self._nudge()

    def end(self) -> None:
        """The connection is of no use any more."""
        self._pgconn = None

    def collect(self) -> None:
        """The reader has taken something in: see whether it is our answer. Raises psycopg.Error."""
        pgconn = self._pgconn
        if pgconn is None or not self._under_way:
            return
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                self._under_way = False
                self._nudge()
                return
            if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
                _log.debug("news not told", error=result.get_error_message())

    def _nudge(self) -> None:
        something = self._news or self._asks or self._news_of_any or self._ask_for_any
        if something and self._pgconn is not None and not self._under_way:
            self._ready.set()

    async def run(self) -> None:
        """Say what there is to say until cancelled."""
        while True:
            await self._ready.wait()
            self._ready = trio.Event()
            pgconn = self._pgconn
            if pgconn is None or self._under_way:
                continue
            self._under_way = True
            try:
                # one at a time, and far less than a socket takes in: this does not block
                pgconn.send_query_params(_NOTIFY, [self._channel, self.take().encode()])
            except psycopg.Error as error:
                _log.debug("news not told", error=str(error))
                self._pgconn = None  # who reads from it will notice
            await trio.sleep(PAUSE_SECONDS)


def _joined(before: str, what: str) -> str:
    """What there is to say of a session: that a run ended is true of every later head, too."""
    return what + "!" if before.endswith("!") and what.isdigit() else what


def _forget_until(times: OrderedDict[int, float], now: float) -> None:
    """Drop those at the front whose time has come."""
    while times and next(iter(times.values())) <= now:
        times.popitem(last=False)
