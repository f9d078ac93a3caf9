"""HTTP/1.1 on one trio stream: h11 thinks, this moves the bytes."""

from __future__ import annotations

import math
import socket
import struct
import zlib
from collections.abc import Iterable, Mapping

import attrs
import trio

try:
    import h11
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "ModelTwin needs h11: pip install 'moorage[twin]'", name="h11"
    ) from error

READ_BYTES = 65_536
BODY_BYTES_MAX = 256 * 1_048_576
LINGER_SECONDS = 1.0


@attrs.frozen
class Incoming:
    """A request with its whole body, still encoded as ``content-encoding`` says."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class RequestRefused(Exception):
    """The request cannot be taken; ``status`` says what to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpConnection:
    """A server's end of a connection.

    Every call raises trio.BrokenResourceError or trio.ClosedResourceError if the connection is
    gone.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=READ_BYTES)
        self._silent = False

    async def receive(self) -> Incoming | None:
        """The next request, or None when the client has closed.

        Raises RequestRefused if it is no HTTP or over BODY_BYTES_MAX; then nothing but ``refuse``
        may follow.
        """
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await self._send(go_on)
        body = bytearray()
        while isinstance(data := await self._next_event(), h11.Data):
            body += data.data
            if len(body) > BODY_BYTES_MAX:
                raise RequestRefused(413, f"a request has at most {BODY_BYTES_MAX} bytes")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        self._silent = event.method == b"HEAD"
        return Incoming(event.method.decode(), event.target.decode("latin-1"), headers, bytes(body))

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this connection."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def begin(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the head. Without a content-length the body is chunked."""
        await self._send(h11.Response(status_code=status, headers=list(headers)))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        if not self._silent:
            await self._send(h11.Data(data=data))

    async def finish(self) -> None:
        """The body is complete."""
        await self._send(h11.EndOfMessage())

    async def respond(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Send a whole response."""
        length = ("content-length", str(len(body)))
        head = h11.Response(status_code=status, headers=[*headers, length])
        data = [h11.Data(data=body)] if body and not self._silent else []
        await self._send(head, *data, h11.EndOfMessage())

    async def send_raw(self, data: bytes) -> None:
        """Send bytes outside of any protocol; nothing but closing may follow."""
        await self._stream.send_all(data)

    async def pause(self, seconds: float | None) -> bool:
        """Say nothing for so long (None: for ever); True at once when the client has left."""
        with trio.move_on_after(math.inf if seconds is None else seconds):
            while data := await self._stream.receive_some(READ_BYTES):
                self._http.receive_data(data)
            return True
        return False

    def reset(self) -> None:
        """End the connection so that the client gets a reset."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()

    async def refuse(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Answer what could not be taken, and drop what the client still sends, for LINGER_SECONDS
        at most: a close with unread bytes is a reset, which may overtake the answer."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self.respond(status, [*headers, ("connection", "close")], body)
        with trio.move_on_after(LINGER_SECONDS):
            await self._stream.send_eof()
            while await self._stream.receive_some(READ_BYTES):
                pass

    async def close(self) -> None:
        """End the connection, whatever state it is in."""
        await self._stream.aclose()

    async def _next_event(self) -> object:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise RequestRefused(400, f"this is no HTTP: {error}") from error
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(bytes(await self._stream.receive_some(READ_BYTES)))

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        if data:
            await self._stream.send_all(data)


def decoded(body: bytes, encoding: str) -> bytes:
    """The body without its content-encoding. Raises RequestRefused for one that is unknown, for
    bytes that are not in it, and for what would be over BODY_BYTES_MAX."""
    for name in reversed([word.strip().lower() for word in encoding.split(",") if word.strip()]):
        if name == "identity":
            continue
        if name not in ("gzip", "x-gzip", "deflate"):
            raise RequestRefused(
                415, f"content-encoding {name!r} is none of gzip, deflate, identity"
            )
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            body = unpacker.decompress(body, BODY_BYTES_MAX)
        except zlib.error as error:
            raise RequestRefused(400, f"the body is not in {name}: {error}") from error
        if unpacker.unconsumed_tail:
            raise RequestRefused(413, f"a request has at most {BODY_BYTES_MAX} bytes")
        if not unpacker.eof:
            raise RequestRefused(400, f"the body in {name} ends too early")
    return body
