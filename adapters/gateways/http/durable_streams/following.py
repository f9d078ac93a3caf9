"""Following a stream by server-sent events: ``data``, and behind each one ``control``, which tells
where the client is and comes back."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from ..streaming import EventStream, ReaderStalled, ServerSentEvents
from .content import data_event, is_text
from .cursors import next_cursor
from .offsets import write_offset
from .reading import contents

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from moorage.runtime import Subscription

    from ..call import Call
    from .content import Content
    from .reading import Piece, View
    from .registry import DurableStreams

FOLLOWED_SECONDS = 60.0
"""After which clients are sent back, as the protocol has it, so that caches can join them."""


class StreamFollower(EventStream):
    """The answer that follows a stream; an ASGI application."""

    def __init__(
        self, call: Call, streams: DurableStreams, view: View, position: int, cursor: str | None
    ) -> None:
        super().__init__(
            call,
            ServerSentEvents(),
            after=view.own_seq(position),
            types=view.own.types,
            run_id=None,
        )
        self._filters = False  # a client comes back by its offset: heartbeats need not tell any
        self._streams = streams
        self._view = view
        self._position = position
        self._cursor = cursor
        self._until = trio.current_time() + FOLLOWED_SECONDS

    def _head(self) -> list[tuple[bytes, bytes]]:
        head = super()._head()
        if not is_text(self._view.content_type):
            head.append((b"stream-sse-data-encoding", b"base64"))
        return head

    async def _chunks(self, subscription: Subscription) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._inherited()) as inherited:
            async for chunk in inherited:
                yield chunk
        view = self._view
        if self._position >= view.tail:
            yield self._control(up_to_date=True, closed=view.closed)
            if view.closed:
                return
        batches = subscription.batches()
        while not self._ending and trio.current_time() < self._until:
            batch = None
            with trio.CancelScope(deadline=self._until) as self._reading:
                try:
                    batch = await batches.__anext__()
                except StopAsyncIteration:
                    if await self._why() == "session_closed":
                        yield self._control(up_to_date=True, closed=True)
                    return
            if self._stalled:
                raise ReaderStalled
            if batch is None:
                continue
            pieces = [view.own.piece(event) for event in batch]
            for chunk in self._told(pieces, await self._tail()):
                yield chunk
            if pieces[-1].closes:
                return

    async def _inherited(self) -> AsyncGenerator[bytes, None]:
        """What is not in the session that is followed."""
        view = self._view
        inherited = view.own.shift
        while self._position < inherited and not self._ending:
            chunk_bytes = self._limits.chunk_bytes
            pieces, _ = await view.read(self._position, bytes_max=chunk_bytes)
            pieces = [piece for piece in pieces if piece.position <= inherited]
            for chunk in self._told(pieces, view.tail):
                yield chunk
            if not pieces:
                self._position = inherited

    async def _tail(self) -> int:
        view = await self._streams.view(self._call.session_id)
        await self._streams.touch(view)
        return view.tail

    def _told(self, pieces: Sequence[Piece], tail: int) -> Iterator[bytes]:
        """Data, as much at once as is sent together, and where that leads."""
        some: list[Piece] = []
        size = 0
        for piece in pieces:
            some.append(piece)
            size += len(piece.content or b"")
            if size >= self._limits.chunk_bytes:
                yield self._data(some, tail)
                some, size = [], 0
        if some:
            yield self._data(some, tail)

    def _data(self, pieces: Sequence[Piece], tail: int) -> bytes:
        found: list[Content] = contents(pieces)
        if found:
            self._position = [p.position for p in pieces if p.content is not None][-1]
        told = data_event(self._view.content_type, found) if found else b""
        closed = pieces[-1].closes
        return told + self._control(up_to_date=self._position >= tail, closed=closed)

    def _control(self, *, up_to_date: bool, closed: bool) -> bytes:
        told: dict[str, object] = {"streamNextOffset": write_offset(self._position)}
        if not closed:
            cursor = next_cursor(self._call.state.time_ns(), self._cursor)
            told["streamCursor"] = str(cursor)
        if up_to_date:
            told["upToDate"] = True
        if closed:
            told["streamClosed"] = True
        return b"event: control\ndata:%s\n\n" % json.dumps(told, separators=(",", ":")).encode()
