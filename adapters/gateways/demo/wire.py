"""JSON lines between the processes of the demo."""

from __future__ import annotations

import json
from typing import Any

import trio

LINE_BYTES_MAX = 64 * 2**20


class PeerGone(Exception):
    """The process at the other end has closed the connection, or died."""


class Lines:
    """Both directions of a stream as JSON values. One task may send and one receive at a time;
    ``send`` puts several in line."""

    def __init__(self, receiving: trio.abc.ReceiveStream, sending: trio.abc.SendStream) -> None:
        self._receiving = receiving
        self._sending = sending
        self._buffer = bytearray()
        self._turn = trio.Lock()

    async def send(self, value: Any) -> None:
        """Raises PeerGone."""
        async with self._turn:
            try:
                await self._sending.send_all(json.dumps(value).encode() + b"\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone(str(error)) from error

    async def receive(self) -> Any:
        """The next value. Raises PeerGone at the end, also in the middle of a line."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LINE_BYTES_MAX:
                raise PeerGone(f"a line is longer than {LINE_BYTES_MAX} bytes")
            try:
                more = await self._receiving.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone(str(error)) from error
            if not more:
                raise PeerGone("end of stream")
            self._buffer += more
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return json.loads(line)

    async def aclose(self) -> None:
        await self._sending.aclose()
        await self._receiving.aclose()

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except PeerGone:
            raise StopAsyncIteration from None


def standard_streams() -> Lines:
    """Standard input and output of this process."""
    return Lines(trio.lowlevel.FdStream(0), trio.lowlevel.FdStream(1))


def process_streams(process: trio.Process) -> Lines:
    """The other ends: what the process prints, and its standard input."""
    assert process.stdout is not None
    assert process.stdin is not None
    return Lines(process.stdout, process.stdin)


async def connect(path: str) -> Lines:
    """Connect to the service. Raises PeerGone while it isn't there."""
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        raise PeerGone(str(error)) from error
    return Lines(stream, stream)
