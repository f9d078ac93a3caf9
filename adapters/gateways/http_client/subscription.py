"""Following a session over HTTP: a cursor, and a connection that is opened again behind it.

What was cut in the middle is asked for again from the cursor on, so that every event comes once and
in order however often the connection, the server or its machine is exchanged. What is held is the
events of one piece of the stream: who does not read leaves the rest in the socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.lowlevel
import httpx
from moorage.runtime.errors import CursorExpired, InvalidArgument
from moorage.runtime.events import Event
from moorage.runtime.identifiers import check_name

from .decoding import session_info
from .errors import error_of
from .event_stream import Ended, EventStreamReader, Failed, Led
from .named_cursors import move_cursor, stored_cursor
from .transport import path_of

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from moorage.runtime.errors import MoorageError

    from .transport import Incoming, Transport


class Subscription:
    """An async iterator over a session's events, from ``session.subscribe(...)``.

    Use it as ``async with session.subscribe(...) as events: async for event in events``. It ends
    when the session closes or, with ``run_id``, behind that run's terminal event; a server that is
    drained, killed or started again is waited for. It raises UnknownSession when the session is
    deleted, CursorExpired when it was trimmed beyond the cursor, StoreFailed when the store failed,
    ServerUnreachable when there was no server for ``unreachable_seconds_max``. One task at a time
    may iterate; reading that is cancelled takes no event away from the next read.
    """

    def __init__(
        self,
        transport: Transport,
        session_id: str,
        *,
        after: int | Literal["head"],
        types: list[str] | None,
        run_id: str | None,
        name: str | None,
    ) -> None:
        self._transport = transport
        self._session_id = session_id
        self._after = after
        self._filters = filters_of(types, run_id)
        self._name = name
        self._cursor = 0
        self._acked = 0
        self._entered = False
        self._left = False
        self._ended = False
        self._failure: MoorageError | None = None
        self._incoming: Incoming | None = None
        self._reader = self._new_reader()
        self._backoff = transport.backoff()
        self._batch: list[Event] = []
        self._index = 0

    @property
    def cursor(self) -> int:
        """The seq up to which everything has been received (filtered out or not). Behind the last
        event that one has taken, ``subscribe(after=event.seq)`` goes on."""
        return self._cursor

    async def __aenter__(self) -> Subscription:
        if self._entered or self._left:
            raise InvalidArgument("this subscription was entered before: make a new one")
        stored = None
        if self._name is not None:
            stored = await stored_cursor(self._transport, self._session_id, self._name)
        if stored is None or not await self._went_on(stored):
            await self._begin(stored)
        self._entered = True
        return self

    async def _went_on(self, stored: int) -> bool:
        """Begin behind the stored cursor. False if what follows it is gone."""
        self._cursor = self._acked = stored
        try:
            await self._open()
        except CursorExpired:
            return False
        return True

    async def _begin(self, stored: int | None) -> None:
        """Begin where ``after`` says."""
        if self._after == "head":
            # asked for by number: a connection that is cut before its first event has no place
            path = path_of("sessions", self._session_id)
            info = session_info(await self._transport.call("GET", path, repeatable=True))
            self._cursor = info.head_seq
        else:
            self._cursor = self._after
        try:
            await self._open()
        except CursorExpired as error:
            if stored is None:
                raise
            oldest_seq = error.oldest_seq
            raise CursorExpired(self._session_id, after=stored, oldest_seq=oldest_seq) from None

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        await self._drop()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        if self._index >= len(self._batch):
            self._batch = await self._next_batch()
            self._index = 0
        self._index += 1
        return self._batch[self._index - 1]

    async def ack(self, event: Event) -> None:
        """Record, durably, that everything up to ``event`` is done; it never goes back.

        The request is sent again when its connection is cut. Raises StoreFailed, CursorHeld while a
        program at the server subscribes by the name, ServerUnreachable, and InvalidArgument for a
        subscription without a name, one that was left, or an event that was not delivered here.
        """
        if self._name is None:
            raise InvalidArgument("only a subscription with a name has a cursor to acknowledge")
        if not self._entered or self._left:
            raise InvalidArgument(
                "outside of its `async with` a subscription has no cursor: acknowledge before you "
                "leave, or use session.acknowledge"
            )
        if event.session_id != self._session_id or event.seq > self._cursor:
            raise InvalidArgument(
                f"seq {event.seq} of session {event.session_id!r} was not delivered here"
            )
        if event.seq <= self._acked:
            await anyio.lowlevel.checkpoint()
            return
        moved = await move_cursor(self._transport, self._session_id, self._name, event.seq)
        self._acked = max(self._acked, moved)

    def batches(self) -> Batches:
        """The same events as lists, each of what was new; for readers that do much at once."""
        return Batches(self)

    async def _next_batch(self) -> list[Event]:
        """What is new, at least one event. Raises StopAsyncIteration at the end."""
        if not self._entered:
            raise InvalidArgument("enter the subscription first: async with session.subscribe(...)")
        while not self._ended and not self._left:
            if self._failure is not None:
                raise self._failure
            events = await self._receive()
            if events:
                return events
        await anyio.lowlevel.checkpoint()
        raise StopAsyncIteration

    async def _receive(self) -> list[Event]:
        """The events of one piece of the stream, which is opened first if need be."""
        if self._incoming is None:
            await self._open()
        assert self._incoming is not None, "opened just now"
        try:
            piece = await self._incoming.piece()
        except httpx.TransportError as error:
            await self._pause(error)
            return []
        except BaseException:
            await self._drop()  # a read that was cancelled has ended the answer
            raise
        if piece is None:
            await self._pause(httpx.ReadError("the stream was cut"))
            return []
        events = self._take(piece)
        if self._ended or self._failure is not None:
            await self._drop()
        return events

    def _take(self, piece: bytes) -> list[Event]:
        """Move the cursor behind what the piece says. Nothing here can be cancelled."""
        events: list[Event] = []
        for item in self._reader.feed(piece):
            if not isinstance(item, Ended):
                self._backoff.succeeded()
            if isinstance(item, Event):
                if item.seq > self._cursor:
                    events.append(item)
                    self._cursor = item.seq
            elif isinstance(item, Led):
                self._cursor = max(self._cursor, item.cursor or 0)
            elif isinstance(item, Failed):
                self._failure = error_of(item.document)
            elif isinstance(item, Ended):
                self._cursor = max(self._cursor, item.cursor)
                # a server that drains ends the connection now; until there is another one it does
                # so each time
                self._ended = item.reason != "draining"
                if not self._ended:
                    self._backoff.turned_away()
        return events

    async def _open(self) -> None:
        query = [("after", str(self._cursor)), *self._filters]
        path = path_of("sessions", self._session_id, "events")
        self._reader = self._new_reader()
        self._incoming = await self._transport.stream(path, query=query, backoff=self._backoff)
        self._backoff.reached()

    async def _pause(self, error: httpx.TransportError) -> None:
        """Leave the connection that was cut, and wait as long as it is good to. Raises
        ServerUnreachable."""
        await self._drop()
        seconds = await self._transport.after_cut(error, repeatable=True, backoff=self._backoff)
        await anyio.sleep(seconds)

    async def _drop(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            await incoming.aclose()

    def _new_reader(self) -> EventStreamReader:
        return EventStreamReader(event_bytes_max=self._transport.limits.event_bytes_max)


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


def check_after(after: Any) -> Any:
    """A seq, or "head". Raises InvalidArgument."""
    if after != "head" and (type(after) is not int or not 0 <= after < 2**63):
        raise InvalidArgument(f"after must be a whole number from 0 on, or 'head', not {after!r}")
    return after


def check_types(types: object) -> list[str] | None:
    """A filter of event types. Raises InvalidArgument, also for what the query cannot say."""
    if types is None:
        return None
    if isinstance(types, str) or not isinstance(types, set | frozenset | list | tuple) or not types:
        raise InvalidArgument(f"types must be None or a set of event types, not {types!r}")
    for name in types:
        if "," in check_name("event type", name):
            raise InvalidArgument(f"event type {name!r} has a comma, and HTTP separates by them")
    return sorted(types)


def filters_of(types: list[str] | None, run_id: str | None) -> list[tuple[str, str]]:
    """The query's part that filters events."""
    filters = [] if types is None else [("types", ",".join(types))]
    return filters if run_id is None else [*filters, ("run_id", run_id)]
