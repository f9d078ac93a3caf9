"""A real HTTP server that webhooks are posted to, on this machine's loopback address."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs
import h11
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

LOOPBACK = ("127.0.0.0/8",)
PATIENCE_SECONDS = 120


@attrs.frozen
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@attrs.frozen
class Reply:
    """What it answers. ``endless`` sends more for as long as somebody listens."""

    status: int = 204
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    endless: bool = False


class Target:
    """``answer`` decides, given how many requests came before and the request."""

    def __init__(self, answer: Callable[[int, Received], Awaitable[Reply]]) -> None:
        self._answer = answer
        self.received: list[Received] = []
        self.connections = 0
        self.sent_bytes = 0
        self.url = ""
        self.port = 0
        self._news = trio.Event()

    async def wait_received(self, count: int) -> None:
        """Return when there were so many requests."""
        with trio.fail_after(PATIENCE_SECONDS):
            while len(self.received) < count:
                await self._news.wait()

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            async with stream:
                while await self._serve_one(stream, connection):
                    connection.start_next_cycle()

    async def _serve_one(self, stream: trio.abc.Stream, connection: h11.Connection) -> bool:
        request, body = None, b""
        while True:
            event: Any = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert request is not None
        headers = {name.decode(): value.decode() for name, value in request.headers}
        received = Received(request.target.decode(), headers, body)
        self.received.append(received)
        self._news.set()
        self._news = trio.Event()
        reply = await self._answer(len(self.received) - 1, received)
        await self._send(stream, connection, reply)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _send(
        self, stream: trio.abc.Stream, connection: h11.Connection, reply: Reply
    ) -> None:
        headers = list(reply.headers.items())
        if not reply.endless and reply.status != 204:
            headers.append(("content-length", str(len(reply.body))))
        start = h11.Response(status_code=reply.status, headers=headers)
        await stream.send_all(connection.send(start) or b"")
        while reply.endless:
            await stream.send_all(connection.send(h11.Data(data=bytes(65_536))) or b"")
            self.sent_bytes += 65_536
        if reply.body:
            await stream.send_all(connection.send(h11.Data(data=reply.body)) or b"")
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")


@asynccontextmanager
async def listening(
    answer: Callable[[int, Received], Awaitable[Reply]] | None = None,
    *,
    port: int = 0,
    ssl_context: Any = None,
) -> AsyncIterator[Target]:
    """A target that answers 204, or what ``answer`` says."""

    async def takes(number: int, received: Received) -> Reply:
        return Reply()

    target = Target(answer or takes)
    listeners: list[Any] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    target.port = listeners[0].socket.getsockname()[1]
    target.url = f"http://127.0.0.1:{target.port}/hook"
    if ssl_context is not None:
        listeners = [
            trio.SSLListener(listener, ssl_context, https_compatible=True) for listener in listeners
        ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, target.serve, listeners)
        yield target
        nursery.cancel_scope.cancel()


@contextmanager
def refusing() -> Iterator[int]:
    """A port where nobody listens, and where meanwhile nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def replies(*in_turn: Reply) -> Callable[[int, Received], Awaitable[Reply]]:
    """Answer these, one after the other, and the last one from then on."""

    async def answer(number: int, received: Received) -> Reply:
        return in_turn[min(number, len(in_turn) - 1)]

    return answer
