"""Subscriptions: a cursor over a session's log, and a wake-up. No queue of their own.

A subscriber that stalls holds a number and nothing else; when it comes back it reads what it
missed in batches. Nothing here runs in the background, so there is nothing to shut down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import trio

from .errors import (
    CursorExpired,
    InvalidArgument,
    StoreFailed,
    UnknownRun,
    UnknownSession,
)
from .events import RUN_TERMINAL_TYPES

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from .events import Event
    from .reading import SessionLog

BATCH_EVENTS_MAX = 1_000
YIELDS_MAX = 2
"""Turns of the event loop a woken reader leaves the worker to feed the tail cache."""


class Subscription:
    """An async iterator over a session's events, from ``session.subscribe(...)``.

    Use it as ``async with session.subscribe(...) as events: async for event in events``. It ends
    when the session closes, the supervisor leaves, or, with ``run_id``, behind that run's terminal
    event. It raises UnknownSession when the session is deleted, CursorExpired when it was trimmed
    beyond the cursor, StoreFailed when the store failed. One task at a time may iterate; reading
    that is cancelled, by a deadline or otherwise, takes no event away from the next read.
    """

    def __init__(
        self,
        log: SessionLog,
        session_id: str,
        *,
        after: int | Literal["head"],
        types: frozenset[str] | None,
        run_id: str | None,
        name: str | None,
    ) -> None:
        self._log = log
        self._session_id = session_id
        self._after = after
        self._types = types
        self._run_id = run_id
        self._name = name
        self._cursor = 0
        self._acked = 0
        self._to_ack = 0
        self._acking = 0
        self._entered = False
        self._ended = False
        self._batch: list[Event] = []
        self._index = 0

    @property
    def cursor(self) -> int:
        """The seq up to which everything has been read (filtered out or not)."""
        return self._cursor

    async def __aenter__(self) -> Subscription:
        log, session_id = self._log, self._session_id
        if self._entered or self._ended:
            raise InvalidArgument("this subscription was entered before: make a new one")
        info = await log.store.info(session_id)
        if info is None:
            raise UnknownSession(session_id)
        if self._run_id is not None and not await log.store.find_run(session_id, self._run_id):
            raise UnknownRun(session_id, self._run_id)
        if self._name is not None:
            log.cursors.hold(session_id, self._name)
        self._entered = True
        try:
            self._cursor = await self._start(info.head_seq)
        except BaseException:
            self._let_go()
            raise
        log.tail.follow(session_id)
        return self

    async def _start(self, head_seq: int) -> int:
        """The seq to start behind: the stored cursor's if what follows it is still there."""
        store, session_id, after = self._log.store, self._session_id, self._after
        stored = None
        if self._name is not None:
            stored = await store.cursor(session_id, self._name)
        if stored is None and after == "head":
            return head_seq
        # nothing is behind the head: what is wanted of this page is the oldest seq
        oldest_seq = (await store.read(session_id, after=head_seq, limit=1)).oldest_seq
        if stored is not None:
            self._acked = self._to_ack = stored
            if stored >= oldest_seq - 1:
                return stored
        if after == "head":
            return head_seq
        if after > head_seq:
            raise InvalidArgument(
                f"after={after} is beyond the head of session {session_id!r}, which is "
                f"{head_seq}: use after='head' for what comes from now on"
            )
        if after < oldest_seq - 1:
            expired = after if stored is None else stored
            raise CursorExpired(session_id, after=expired, oldest_seq=oldest_seq)
        return after

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered:
            self._ended = True
            self._log.tail.unfollow(self._session_id)
            self._let_go()

    def _let_go(self) -> None:
        self._entered = False
        self._release_name()

    def _release_name(self) -> None:
        """Give the name to the next, who must find what is on its way into the store now."""
        if self._name is not None and not self._entered and not self._acking:
            self._log.cursors.release(self._session_id, self._name)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        index = self._index
        if index >= len(self._batch):
            self._batch = await self._next_batch()
            index = 0
        self._index = index + 1
        return self._batch[index]

    def batches(self) -> Batches:
        """The same events as lists, each of what was new; for readers that do much at once."""
        return Batches(self)

    async def ack(self, event: Event) -> None:
        """Record, durably, that everything up to ``event`` is done; it never goes back.

        Raises StoreFailed, and InvalidArgument for a subscription without a name, one that was
        left, or an event that was not delivered here.
        """
        if self._name is None:
            raise InvalidArgument("only a subscription with a name has a cursor to acknowledge")
        if not self._entered:
            raise InvalidArgument(
                f"outside of its `async with` a subscription has no cursor, {self._name!r} may be "
                "somebody else's by now: acknowledge before you leave"
            )
        if event.session_id != self._session_id or event.seq > self._cursor:
            raise InvalidArgument(
                f"seq {event.seq} of session {event.session_id!r} was not delivered here"
            )
        if event.seq <= self._acked:
            await trio.lowlevel.checkpoint()
            return
        # a smaller one that comes while this one is being stored must not be stored behind it
        seq = self._to_ack = max(self._to_ack, event.seq)
        self._acking += 1
        try:
            await self._log.cursors.save(self._session_id, self._name, seq)
        finally:
            self._acking -= 1
            self._release_name()
        self._acked = max(self._acked, seq)

    async def _next_batch(self) -> list[Event]:
        """What is new, at least one event. Raises StopAsyncIteration at the end.

        Cancelled means that nothing was taken: behind the cursor's move nothing can be cancelled.
        """
        if not self._entered and not self._ended:
            raise InvalidArgument("enter the subscription first: async with session.subscribe(...)")
        waited = skip_tail = False
        yields = 0
        log, session_id = self._log, self._session_id
        while not self._ended:
            before = self._cursor
            events = None if skip_tail else log.tail.read(session_id, before, BATCH_EVENTS_MAX)
            if not waited and (events or events is None):
                await trio.lowlevel.checkpoint_if_cancelled()
            if events:
                events = self._pass_on(events)
            elif events is None:
                try:
                    events = await self._read_store()
                except StoreFailed:
                    if log.left:
                        break
                    raise
            if events:
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return events
            if self._cursor > before or self._ended:
                continue
            if log.failure is not None:
                raise log.failure.refusal()
            if log.left or await self._run_is_over():
                break
            if waited and not skip_tail:
                # what woke us is in the log; its worker, woken with us, is about to feed it to
                # the cache, decoded once for all readers
                if yields < YIELDS_MAX:
                    yields += 1
                    await trio.lowlevel.checkpoint()
                else:
                    skip_tail = True
                continue
            skip_tail = False
            await log.store.wait_news(session_id, after=before)
            waited = True
        self._ended = True
        if not waited:
            await trio.lowlevel.checkpoint()
        raise StopAsyncIteration

    def _pass_on(self, events: list[Event]) -> list[Event]:
        """Move the cursor behind these, and leave those that are wanted."""
        self._cursor = events[-1].seq
        if self._run_id is not None:
            events = [event for event in events if event.run_id == self._run_id]
            self._end_with_run(events)
        if self._types is not None:
            events = [event for event in events if event.type in self._types]
        return events

    async def _read_store(self) -> list[Event]:
        """Read on from the cursor and move it; an empty list may mean that all was filtered."""
        page = await self._log.store.read(
            self._session_id,
            after=self._cursor,
            limit=BATCH_EVENTS_MAX,
            types=self._types if self._run_id is None else None,
            run_id=self._run_id,
        )
        events = page.events
        cursor = max(self._cursor, page.scanned_to)
        if not events and page.closed and cursor >= page.head_seq:
            self._ended = True
        if events:
            events = self._pass_on(events)
        self._cursor = cursor
        return events

    async def _run_is_over(self) -> bool:
        """Whether the followed run ended at or before the cursor, so that nothing will come."""
        if self._run_id is None:
            return False
        stored = await self._log.store.find_run(self._session_id, self._run_id)
        if stored is None:
            raise UnknownRun(self._session_id, self._run_id)
        return stored.ended is not None and stored.ended.seq <= self._cursor

    def _end_with_run(self, events: list[Event]) -> None:
        if events and events[-1].type in RUN_TERMINAL_TYPES:
            self._ended = True


class Batches:
    """Iterates a subscription by lists."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    def __aiter__(self) -> Batches:
        return self

    def __anext__(self) -> Awaitable[list[Event]]:
        subscription = self._subscription
        if subscription._index < len(subscription._batch):
            return self._rest()
        return subscription._next_batch()

    async def _rest(self) -> list[Event]:
        """What iterating event by event has left of its batch."""
        subscription = self._subscription
        rest = subscription._batch[subscription._index :]
        subscription._index = len(subscription._batch)
        return rest
