"""Following a session over HTTP: server-sent events, or one JSON object a line.

A stream holds a cursor and the events it is sending at this moment, never a queue: a reader that
stalls holds up its own stream alone, and is cut off after ``stall_seconds_max``. Where it was is
in the ``id`` of the last event that it has read.
"""

from __future__ import annotations

import json
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Literal, Protocol

import structlog
import trio
from moorage.runtime.errors import MoorageError
from moorage.runtime.sessions import SessionState

from .encoding import event_line
from .operations import EVENT_STREAM, NDJSON
from .problems import Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from moorage.runtime import Event, Subscription
    from starlette.types import Receive, Scope, Send

    from .call import Call

logger = structlog.get_logger("moorage")


class Framing(Protocol):
    """How events, the end and problems look in a stream."""

    media_type: str

    def opening(self, cursor: int | None, reconnect_seconds: float) -> bytes:
        """What is sent at once: the head of an answer goes out with the first piece of its body.
        ``cursor`` is where it begins, if the request did not say so itself."""
        ...

    def event(self, event: Event) -> bytes: ...
    def heartbeat(self, cursor: int | None) -> bytes: ...
    def end(self, reason: str, cursor: int) -> bytes: ...
    def problem(self, problem: Problem) -> bytes: ...


class ServerSentEvents:
    """``id:`` is the event's seq, ``data:`` the event. Events of the log have no ``event:``, so
    that ``onmessage`` gets them all; the stream's own are ``end`` and ``problem``."""

    media_type = EVENT_STREAM

    def opening(self, cursor: int | None, reconnect_seconds: float) -> bytes:
        """How long a browser waits before it comes back; and with ``after=head`` the id of where
        it is, or one that is cut before its first event would begin at another head."""
        id = b"" if cursor is None else b"id: %d\n" % cursor
        return b": open\nretry: %d\n%s\n" % (round(reconnect_seconds * 1_000), id)

    def event(self, event: Event) -> bytes:
        return b"id: %d\ndata: %s\n" % (event.seq, event_line(event))

    def heartbeat(self, cursor: int | None) -> bytes:
        """A comment; with the id a client that filters comes back where it has been led to."""
        return b": heartbeat\n\n" if cursor is None else b": heartbeat\nid: %d\n\n" % cursor

    def end(self, reason: str, cursor: int) -> bytes:
        told = json.dumps({"reason": reason, "after": cursor}).encode()
        return b"id: %d\nevent: end\ndata: %s\n\n" % (cursor, told)

    def problem(self, problem: Problem) -> bytes:
        return b"event: problem\ndata: %s\n\n" % problem.body()


class JsonLines:
    """An event a line; an empty line is a heartbeat; the last line is ``{"end": ...}`` or
    ``{"problem": ...}``."""

    media_type = NDJSON

    def opening(self, cursor: int | None, reconnect_seconds: float) -> bytes:
        return b"\n"

    def event(self, event: Event) -> bytes:
        return event_line(event)

    def heartbeat(self, cursor: int | None) -> bytes:
        return b"\n"

    def end(self, reason: str, cursor: int) -> bytes:
        return json.dumps({"end": {"reason": reason, "after": cursor}}).encode() + b"\n"

    def problem(self, problem: Problem) -> bytes:
        return json.dumps({"problem": problem.document()}).encode() + b"\n"


FRAMINGS: dict[str, Framing] = {EVENT_STREAM: ServerSentEvents(), NDJSON: JsonLines()}


class EventStream:
    """The answer that follows a session; an ASGI application.

    The subscription is entered before the first byte goes out, so that what is wrong with it is a
    status; what goes wrong later is an event of the stream. A server that drains is nothing wrong:
    to a browser every other status than 200 means never to come back, so it gets a stream, which
    ends when the server does, and the reason.
    """

    def __init__(
        self,
        call: Call,
        framing: Framing,
        *,
        after: int | Literal["head"],
        types: set[str] | None,
        run_id: str | None,
    ) -> None:
        self._call = call
        self._framing = framing
        self._subscription = call.session.subscribe(after=after, types=types, run_id=run_id)
        self._from_head = after == "head"
        self._run_id = run_id
        self._filters = types is not None or run_id is not None
        self._limits = call.state.limits
        self._reading: trio.CancelScope | None = None
        self._ending = False
        self._sending = trio.Lock()
        self._sent_at = 0.0
        self._stalled = False
        self._to_client: Send | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what entering the subscription does, and TooManyStreams."""
        if await self._call.while_wanted(lambda: self._serve(send), ending=self, pulse=self):
            # out here: the server tells that the client has gone while it takes the last piece,
            # and would be cancelled before it has tidied up
            with suppress(ReaderStalled):
                await self._send(send, b"", more=False)

    def cancel(self) -> None:
        """The server ends: finish what is being sent, say so, and be done."""
        self._ending = True
        if self._reading is not None:
            self._reading.cancel()

    def due(self) -> float:
        """When the next heartbeat is: so long after the last thing that was sent."""
        return self._sent_at + self._limits.heartbeat_seconds

    async def beat(self) -> None:
        """Show that the stream lives.

        What is sent to a client that filters says how far it has been led. Only between two reads
        that is certain, so its read is interrupted, and begins again behind the heartbeat.
        """
        self._sent_at = trio.current_time()
        if self._to_client is None or self._reading is None or self._sending.locked():
            return
        if not self._filters:
            try:
                await self._send(self._to_client, self._framing.heartbeat(None))
                return
            except ReaderStalled:
                self._stalled = True
        self._reading.cancel()

    async def _serve(self, send: Send) -> bool:
        """Send all but the end. False if that is in vain."""
        self._to_client = send
        self._sent_at = trio.current_time()
        try:
            async with self._subscription as subscription:
                await send({"type": "http.response.start", "status": 200, "headers": self._head()})
                cursor = subscription.cursor if self._from_head else None
                wait = self._limits.reconnect_seconds
                await self._send(send, self._framing.opening(cursor, wait))
                try:
                    async with aclosing(self._chunks(subscription)) as chunks:
                        async for chunk in chunks:
                            await self._send(send, chunk)
                except MoorageError as error:
                    disclose = self._call.principal.operates
                    problem = problem_of(error, disclose=disclose)
                    await self._send(send, self._framing.problem(problem))
        except ReaderStalled:
            logger.warning("stream_cut", session_id=self._call.session_id, client=self._client)
            return False
        return True

    @property
    def _client(self) -> str:
        return self._call.principal.key

    def _head(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", self._framing.media_type.encode()),
            (b"cache-control", b"no-cache, no-store"),
            (b"x-accel-buffering", b"no"),  # or a proxy keeps events back
        ]

    async def _send(self, send: Send, content: bytes, *, more: bool = True) -> None:
        """Raises ReaderStalled."""
        with trio.move_on_after(self._limits.stall_seconds_max) as sending:
            async with self._sending:
                await send({"type": "http.response.body", "body": content, "more_body": more})
        self._sent_at = trio.current_time()
        if sending.cancelled_caught:
            raise ReaderStalled

    async def _chunks(self, subscription: Subscription) -> AsyncGenerator[bytes, None]:
        """Events as they come, several at once; heartbeats in between; how it ended."""
        batches = subscription.batches()
        while not self._ending:
            batch: list[Event] | None = None
            ended = False
            with trio.CancelScope() as self._reading:
                try:
                    batch = await batches.__anext__()
                except StopAsyncIteration:
                    ended = True
            if self._stalled:
                raise ReaderStalled
            if ended:
                yield self._framing.end(await self._why(), subscription.cursor)
                return
            if batch is not None:
                for chunk in self._framed(batch):
                    yield chunk
            elif not self._ending:
                yield self._framing.heartbeat(subscription.cursor)
        yield self._framing.end("draining", subscription.cursor)

    def _framed(self, batch: list[Event]) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        for event in batch:
            part = self._framing.event(event)
            parts.append(part)
            size += len(part)
            if size >= self._limits.chunk_bytes:
                yield b"".join(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts)

    async def _why(self) -> str:
        """Why the subscription ended by itself."""
        if (await self._call.session.info()).state is SessionState.CLOSED:
            return "session_closed"
        if self._run_id is None or self._call.supervisor.left.is_set():
            return "draining"
        return "run_ended"


class ReaderStalled(Exception):
    """The client takes nothing any more."""
