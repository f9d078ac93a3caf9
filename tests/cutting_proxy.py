"""A TCP proxy of the tests' own, which cuts connections where it is told to."""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

CHUNK_BYTES = 65_536


class Cut(enum.Enum):
    """When a connection on which a client sends the marker is cut."""

    BEFORE = "nothing of what it sent arrives"
    DURING = "half of what it sent arrives"
    AFTER = "all of it arrives and is answered, and the answer is lost"


class CuttingProxy:
    """``port`` forwards to ``target`` on 127.0.0.1. ``plan`` says, by a marker in what a client
    sends, how often and when its connection is cut; ``silent`` makes it a cut network: connections
    stay, and nothing comes through."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.plan: dict[bytes, tuple[Cut, int]] = {}
        self.refusing = False
        self.cuts = 0
        self._silent = False
        self._heard = trio.Event()
        self._connections: set[trio.CancelScope] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[CuttingProxy]:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        self._heard.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._serve, [listener])
            yield self
            nursery.cancel_scope.cancel()

    def cut_all(self) -> None:
        for scope in list(self._connections):
            scope.cancel()

    def fall_silent(self) -> None:
        self._silent, self._heard = True, trio.Event()

    def speak(self) -> None:
        self._silent = False
        self._heard.set()

    async def _serve(self, client: trio.SocketStream) -> None:
        if self.refusing:
            await client.aclose()
            return
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with client, await trio.open_tcp_stream("127.0.0.1", self.target) as server:
                    lost_answer = trio.Event()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._up, client, server, lost_answer, scope)
                        nursery.start_soon(self._down, client, server, lost_answer, scope)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                self._connections.discard(scope)

    async def _up(
        self,
        client: trio.SocketStream,
        server: trio.SocketStream,
        lost_answer: trio.Event,
        scope: trio.CancelScope,
    ) -> None:
        while data := bytes(await client.receive_some(CHUNK_BYTES)):
            await self._heard.wait()
            cut = self._cut(data)
            if cut is Cut.BEFORE:
                scope.cancel()
                await trio.lowlevel.checkpoint()
            elif cut is Cut.AFTER:
                lost_answer.set()
            await server.send_all(data[: len(data) // 2] if cut is Cut.DURING else data)
            if cut is Cut.DURING:
                scope.cancel()
        scope.cancel()

    async def _down(
        self,
        client: trio.SocketStream,
        server: trio.SocketStream,
        lost_answer: trio.Event,
        scope: trio.CancelScope,
    ) -> None:
        while data := bytes(await server.receive_some(CHUNK_BYTES)):
            await self._heard.wait()
            if lost_answer.is_set():
                break
            await client.send_all(data)
        scope.cancel()

    def _cut(self, data: bytes) -> Cut | None:
        for marker, (cut, times) in self.plan.items():
            if times and marker in data:
                self.plan[marker] = (cut, times - 1)
                self.cuts += 1
                return cut
        return None
