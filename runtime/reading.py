"""Reading sessions: what a supervisor and a reader without ownership have in common.

Everything here reads the log. Nothing looks into a worker's memory, so it is the same for a
session of this process, of another one, and of none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import trio

from .arguments import (
    PAGE_EVENTS_MAX,
    check_count,
    check_run_id,
    check_seconds,
    check_types,
)
from .conversation import ConversationReading
from .errors import (
    AdmissionClosed,
    SessionQuarantined,
    StoreFailed,
    UnknownRun,
    UnknownSession,
)
from .identifiers import check_name
from .machine import SessionMachine
from .named_cursors import NamedCursors
from .own_process import OwnProcess
from .recall import recall_session
from .runs import outcome_of
from .sessions import SessionState
from .subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .events import Event
    from .limits import SupervisorLimits
    from .ports import StoredRun, StoreReader
    from .recent_runs import RecentRuns
    from .runs import RunOutcome
    from .sessions import SessionInfo, SessionStatus
    from .tail import TailCache

HOPE_SECONDS = 10
"""After which who waits for a run looks again whether it can still end."""


def has_left() -> AdmissionClosed:
    """What every ask of a supervisor is refused with from its leaving on."""
    return AdmissionClosed("the supervisor", reason="closed")


class SessionLog:
    """The log as readers see it. ``failure`` and ``left`` end what follows it live. ``store`` and
    ``recent`` raise WrongProcess in a process that was forked off later."""

    def __init__(
        self,
        store: StoreReader,
        tail: TailCache,
        recent: RecentRuns,
        save_cursor: Callable[[str, str, int], Awaitable[None]] | None = None,
    ) -> None:
        self.process = OwnProcess()
        self.tail = tail
        self._store = store
        self._recent = recent
        self.failure: StoreFailed | None = None
        self.left = False
        self.copying: set[str] = set()
        """Ids of sessions that are being made out of others."""
        self.cursors = NamedCursors(save_cursor)
        self._waiting: dict[str, set[trio.CancelScope]] = {}

    @property
    def store(self) -> StoreReader:
        self.process.check()
        return self._store

    @property
    def recent(self) -> RecentRuns:
        self.process.check()
        return self._recent

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        """The store's ``wait_news``, which returns on ``wake`` as well."""
        if self.failure is not None or self.left:
            await trio.lowlevel.checkpoint()
            return
        scopes = self._waiting.setdefault(session_id, set())
        with trio.CancelScope() as scope:
            scopes.add(scope)
            try:
                await self.store.wait_news(session_id, after=after, run_id=run_id)
            finally:
                scopes.discard(scope)
                if not scopes and self._waiting.get(session_id) is scopes:
                    del self._waiting[session_id]

    def wake(self, session_id: str | None = None) -> None:
        """Have the session's waiters, or all, look again at what they wait for: it may have been
        quarantined, or the store failed, which is no news in the log."""
        for waiting_for, scopes in list(self._waiting.items()):
            if session_id is None or session_id == waiting_for:
                for scope in list(scopes):
                    scope.cancel()


class SessionReader(ConversationReading):
    """One session, read-only. Methods raise UnknownSession if it does not exist, StoreFailed and
    CorruptLog if it cannot be read."""

    def __init__(self, log: SessionLog, session_id: str, limits: SupervisorLimits) -> None:
        self._log = log
        self._id = session_id
        self._limits = limits

    @property
    def id(self) -> str:
        return self._id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id!r}>"

    async def info(self) -> SessionInfo:
        """The facts that listings show."""
        await trio.lowlevel.checkpoint()
        info = await self._log.store.info(self._id)
        if info is None:
            raise UnknownSession(self._id)
        return info

    async def status(self) -> SessionStatus:
        """State, slots, and the ids of running, queued and waiting runs, as the log has them."""
        await trio.lowlevel.checkpoint()
        recalled = await recall_session(self._log.store, self._id)
        return SessionMachine(recalled.image, self._limits).status()

    async def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        types: set[str] | None = None,
        run_id: str | None = None,
        wait_seconds: float = 0,
    ) -> list[Event]:
        """A page of events, ascending: the first ``limit`` after ``after``.

        With ``before`` it is the last ``limit`` below that seq. When the page would be empty and
        ``wait_seconds`` is given, waits that long for a matching event. Raises CursorExpired.
        """
        check_count("after", after, minimum=0, maximum=2**63)
        check_count("limit", limit, minimum=1, maximum=PAGE_EVENTS_MAX)
        if before is not None:
            check_count("before", before, minimum=1, maximum=2**63)
        wanted = check_types(types)
        if run_id is not None:
            check_run_id(run_id)
        wait = check_seconds("wait_seconds", wait_seconds)
        await trio.lowlevel.checkpoint()
        if before is not None:
            return await self._page_before(before, after, limit, wanted, run_id)
        until = math.inf if wait is None else trio.current_time() + wait
        return await self._page_after(after, limit, wanted, run_id, wait_until=until)

    async def _page_after(
        self,
        after: int,
        limit: int,
        types: frozenset[str] | None,
        run_id: str | None,
        *,
        wait_until: float,
    ) -> list[Event]:
        events: list[Event] = []
        store = self._log.store
        while True:
            page = await store.read(
                self._id, after=after, limit=limit - len(events), types=types, run_id=run_id
            )
            events += page.events
            after = max(after, page.scanned_to)
            if len(events) >= limit:
                return events
            if page.scanned_to < page.head_seq:
                continue
            if events or page.closed or self._log.left or self._log.failure:
                return events
            if trio.current_time() >= wait_until:
                return []
            with trio.move_on_at(wait_until):  # reading what is there is not limited
                await self._log.wait_news(self._id, after=after)

    async def _page_before(
        self, before: int, after: int, limit: int, types: frozenset[str] | None, run_id: str | None
    ) -> list[Event]:
        events: list[Event] = []
        while True:
            page = await self._log.store.read(
                self._id,
                after=after,
                before=before,
                limit=limit - len(events),
                types=types,
                run_id=run_id,
                backwards=True,
            )
            events = page.events + events
            if len(events) >= limit or page.scanned_to <= max(page.oldest_seq, after + 1):
                return events
            before = page.scanned_to

    def subscribe(
        self,
        *,
        after: int | Literal["head"] = 0,
        types: set[str] | None = None,
        run_id: str | None = None,
        name: str | None = None,
    ) -> Subscription:
        """Follow the session from behind ``after``: first the backlog, then live.

        ``after="head"`` means from now. ``types`` and ``run_id`` filter. With ``name`` the stored
        cursor of that name beats ``after``, and ``ack`` moves it. Where the name has no cursor
        yet, or events behind its cursor were trimmed away, ``after`` says where to start.

        Entering raises UnknownSession, UnknownRun, CursorHeld, InvalidArgument for a seq beyond
        the head, and CursorExpired if events behind both the stored cursor and ``after`` are gone:
        ``after=error.oldest_seq - 1`` starts with what is left, also under the same name.
        """
        if after != "head":
            check_count("after", after, minimum=0, maximum=2**63, also="'head'")
        if name is not None:
            check_name("cursor name", name)
        if run_id is not None:
            check_run_id(run_id)
        return Subscription(
            self._log, self._id, after=after, types=check_types(types), run_id=run_id, name=name
        )

    async def cursor(self, name: str) -> int | None:
        """The seq up to which who reads by this name has acknowledged; None if nothing yet."""
        check_name("cursor name", name)
        await self.info()
        return await self._log.store.cursor(self._id, name)

    async def wait(self, run_id: str, *, timeout_seconds: float | None = None) -> RunOutcome:
        """The run's outcome, as soon as it has ended; at any time, from any process.

        Raises UnknownRun, UnknownSession, SessionQuarantined, StoreFailed, and trio.TooSlowError
        after ``timeout_seconds``, which ends only the wait.
        """
        check_run_id(run_id)
        limit = check_seconds("timeout_seconds", timeout_seconds)
        if limit is None:
            return await self._wait(run_id)
        with trio.move_on_after(limit):
            return await self._wait(run_id)
        # a run that has ended is told of even to those who have no time
        ended = self._log.recent.outcome(self._id, run_id) or (await self._find(run_id)).ended
        if ended is None:
            raise trio.TooSlowError
        return outcome_of(ended)

    async def _find(self, run_id: str) -> StoredRun:
        stored = await self._log.store.find_run(self._id, run_id)
        if stored is not None:
            return stored
        if await self._log.store.info(self._id) is None:
            raise UnknownSession(self._id)
        raise UnknownRun(self._id, run_id)

    async def _wait(self, run_id: str) -> RunOutcome:
        log = self._log
        waited = False
        while True:
            ended = log.recent.outcome(self._id, run_id)
            if ended is not None:
                if not waited:
                    await trio.lowlevel.checkpoint()
                return outcome_of(ended)
            if await log.recent.wait(self._id, run_id):
                waited = True
                continue
            stored = await self._find(run_id)
            if stored.ended is not None:
                if not waited:
                    await trio.lowlevel.checkpoint()
                return outcome_of(stored.ended)
            await self._check_hope()
            # a quarantine is no news of the run, and who reads beside the owner is not woken
            with trio.move_on_after(HOPE_SECONDS):
                await log.wait_news(self._id, after=stored.head_seq, run_id=run_id)
            waited = True

    async def _check_hope(self) -> None:
        """Raise if nothing will ever end the run that is being waited for."""
        log = self._log
        if log.failure is not None:
            raise log.failure.refusal()
        if log.left:
            raise StoreFailed(
                "the supervisor has left; the run goes on with the next one", written=False
            )
        info = await log.store.info(self._id)
        if info is not None and info.state is SessionState.QUARANTINED:
            raise SessionQuarantined(self._id, reason=info.reason or "unknown")

    async def wait_idle(self, *, timeout_seconds: float | None = None) -> None:
        """Return when no run is queued or running.

        Raises SessionQuarantined, StoreFailed, and trio.TooSlowError after ``timeout_seconds``.
        """
        limit = check_seconds("timeout_seconds", timeout_seconds)
        with trio.move_on_after(math.inf if limit is None else limit):
            while (info := await self.info()).active:
                await self._check_hope()
                await self._log.wait_news(self._id, after=info.head_seq)
            return
        # that it is idle is told even to those who have no time
        if (await self.info()).active:
            raise trio.TooSlowError
