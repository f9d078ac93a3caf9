"""Connections: how many there may be, and what becomes of one whose other end takes nothing."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
import trio

from .own_sockets import OwnSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .limits import HttpLimits

logger = structlog.get_logger("moorage")

REFUSE_SECONDS_MAX = 1.0
REFUSED_STATUS = 503
"""What is answered on a connection too many, whatever was going to be asked on it."""
_FINAL_HEADS = tuple(b"HTTP/1.1 %d" % family for family in (2, 3, 4, 5))
"""How the heads of answers begin; one of the family 1 is followed by nothing for a while."""


class BoundedStream(trio.abc.HalfCloseableStream):
    """A socket whose ``send_all`` ends, by closing it, when nothing of it is taken for too long.

    The server below shields its sends from being cancelled, so this is where a reader that stalls
    is cut. ``send_buffer_bytes`` bounds what the kernel keeps for it.

    It sends the head of an answer on its own, too, and an empty piece behind a body. A head waits
    here for what follows it, which is one system call, and one packet, less for each answer; so
    whoever streams begins with a piece of body.
    """

    def __init__(self, stream: trio.SocketStream, limits: HttpLimits) -> None:
        self._stream = stream
        self._stall_seconds_max = limits.stall_seconds_max
        self._piece_bytes = limits.chunk_bytes
        self._head = b""
        self._own = OwnSocket(stream.socket)
        self._ended = False
        self.socket = stream.socket
        """The server asks it for the addresses of both ends."""
        with suppress(OSError):  # it may be gone already
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises BrokenResourceError when the other end has gone, or stalls, and
        ClosedResourceError behind ``send_eof``: one task may end the connection while another is
        about to say what was wrong with what came in, and the server expects nothing else then.
        """
        if self._ended:
            raise trio.ClosedResourceError("the end has been sent")
        content = bytes(data)
        if self._head:
            content, self._head = self._head + content, b""
        elif content.startswith(_FINAL_HEADS) and content.endswith(b"\r\n\r\n"):
            self._head = content
        if self._head or not content:
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        view = memoryview(content)
        for begin in range(0, len(view), self._piece_bytes):
            with trio.move_on_after(self._stall_seconds_max) as sending:
                await self._stream.send_all(view[begin : begin + self._piece_bytes])
            if sending.cancelled_caught:
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError("the other end takes nothing")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        self._ended = True
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Connections:
    """Serves connections, ``connections_max`` at most at once; the others are told to come back,
    and ``note_refused`` is called for each."""

    def __init__(
        self,
        limits: HttpLimits,
        serve: Callable[[BoundedStream], Awaitable[Any]],
        note_refused: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._serve = serve
        self._note_refused = note_refused
        self.count = 0

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end. Whatever fails in it harms no other."""
        if self.count >= self._limits.connections_max:
            self._note_refused()
            await self._refuse(stream)
            return
        self.count += 1
        try:
            await self._serve(BoundedStream(stream, self._limits))
        except* Exception:
            logger.exception("http_connection_failed")
            await trio.aclose_forcefully(stream)
        finally:
            self.count -= 1

    async def _refuse(self, stream: trio.SocketStream) -> None:
        answer = (
            f"HTTP/1.1 {REFUSED_STATUS} Service Unavailable\r\n"
            "content-length: 0\r\nconnection: close\r\n"
            f"retry-after: {self._limits.retry_after_seconds}\r\n\r\n"
        )
        with trio.move_on_after(REFUSE_SECONDS_MAX), suppress(trio.BrokenResourceError):
            await stream.send_all(answer.encode())
            await stream.send_eof()
            # closed with something unread in it, the socket would take the answer back
            while await stream.receive_some(65_536):
                pass
        await trio.aclose_forcefully(stream)
