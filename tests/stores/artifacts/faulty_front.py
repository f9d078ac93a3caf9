"""An HTTP server before a real one: it passes on everything that it is not told to spoil."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_HEAD_END = b"\r\n\r\n"


@attrs.frozen
class Status:
    """The request is answered with this status, and goes no further."""

    code: int


@attrs.frozen
class CutBody:
    """The answer's head promises everything, and half of its body comes."""


@attrs.frozen
class ShortBody:
    """Half of the body comes, and the head says that this is all."""


@attrs.frozen
class Drop:
    """The connection is closed without an answer, before the request went further, or after."""

    after: bool = False


Fault = Status | CutBody | ShortBody | Drop


class FaultyFront:
    """``faults`` are used up one per request whose method is in ``methods``. ``requests`` has the
    first line of each request that came."""

    def __init__(self, host: str, port: int) -> None:
        self._behind = (host, port)
        self.faults: list[Fault] = []
        self.methods = {"GET", "PUT", "POST", "DELETE", "HEAD"}
        self.requests: list[str] = []
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def serving(cls, url: str) -> AsyncGenerator[FaultyFront]:
        parts = urlsplit(url)
        front = cls(parts.hostname or "", parts.port or 80)
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            front.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            nursery.start_soon(trio.serve_listeners, front._serve, listeners)
            yield front
            nursery.cancel_scope.cancel()

    async def _serve(self, client: trio.SocketStream) -> None:
        with trio.move_on_after(60):
            with suppress(trio.BrokenResourceError, OSError):
                await self._answer(client)
        await trio.aclose_forcefully(client)

    async def _answer(self, client: trio.SocketStream) -> None:
        request = await _message(client)
        line = request.partition(b"\r\n")[0].decode()
        self.requests.append(line)
        method = line.split()[0]
        fault = self.faults.pop(0) if self.faults and method in self.methods else None
        if isinstance(fault, Status):
            body = b"<Error><Code>InternalError</Code></Error>"
            await client.send_all(
                b"HTTP/1.1 %d Sorry\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                % (fault.code, 0 if method == "HEAD" else len(body))
                + (b"" if method == "HEAD" else body)
            )
            return
        if isinstance(fault, Drop) and not fault.after:
            return
        answer = await self._ask(request)
        if isinstance(fault, Drop):
            return
        if isinstance(fault, CutBody):
            head, _, body = answer.partition(_HEAD_END)
            answer = head + _HEAD_END + body[: len(body) // 2]
        if isinstance(fault, ShortBody):
            answer = _shortened(answer)
        await client.send_all(answer)

    async def _ask(self, request: bytes) -> bytes:
        """One connection for each request, so that the end of the answer is that of the stream."""
        head, _, body = request.partition(_HEAD_END)
        lines = [
            line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")
        ]
        server = await trio.open_tcp_stream(*self._behind)
        async with server:
            await server.send_all(b"\r\n".join([*lines, b"Connection: close"]) + _HEAD_END + body)
            answer = bytearray()
            async for piece in server:
                answer += piece
        return bytes(answer)


def _shortened(answer: bytes) -> bytes:
    head, _, body = answer.partition(_HEAD_END)
    body = body[: len(body) // 2]
    lines = [
        line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")
    ]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body)]) + _HEAD_END + body


async def _message(stream: trio.SocketStream) -> bytes:
    """A request with its body, whose size is in its head."""
    data = bytearray()
    while _HEAD_END not in data:
        piece = await stream.receive_some()
        if not piece:
            raise trio.BrokenResourceError
        data += piece
    head = bytes(data.partition(_HEAD_END)[0])
    size = len(head) + len(_HEAD_END)
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            size += int(value)
    while len(data) < size:
        piece = await stream.receive_some()
        if not piece:
            raise trio.BrokenResourceError
        data += piece
    return bytes(data)
