"""Something between a client and a server that cuts connections."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class CuttingProxy:
    """Passes bytes on; each connection is cut when the server has sent so many through it, and
    the next one gets a few more, so that every event may be the one in the middle of which it is.
    """

    def __init__(self, address: str, bytes_step: int) -> None:
        self.address = ""
        self.cuts = 0
        self._server = int(address.rpartition(":")[2])
        self._bytes_step = bytes_step
        self._connections = 0

    async def handle(self, client: trio.SocketStream) -> None:
        self._connections += 1
        left = self._bytes_step + 37 * self._connections
        server = await trio.open_tcp_stream("127.0.0.1", self._server)
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._up, client, server, nursery.cancel_scope)
            try:
                while left > 0 and (piece := await server.receive_some(4_096)):
                    await client.send_all(piece[:left])
                    left -= len(piece)
            except trio.BrokenResourceError:
                left = 1
            self.cuts += left <= 0
            nursery.cancel_scope.cancel()

    async def _up(
        self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            while piece := await client.receive_some(65_536):
                await server.send_all(piece)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


@asynccontextmanager
async def cutting(address: str, *, bytes_step: int) -> AsyncIterator[CuttingProxy]:
    """A proxy of the server at ``address``."""
    proxy = CuttingProxy(address, bytes_step)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy.address = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.handle, listeners)
        yield proxy
        nursery.cancel_scope.cancel()
