"""A real server over sockets, and clients of it under trio and under asyncio."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from moorage.adapters.gateways.http import create_app, serve
from moorage.adapters.gateways.http_client import ClientLimits, connect

from tests.adapters.gateways.http.service import Service
from tests.adapters.gateways.http.service import serving as supervised

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PATIENCE_SECONDS = 60
HASTY = ClientLimits(backoff_seconds_min=0.001, backoff_seconds_max=0.02)
"""For tests whose server is soon back, or never."""

both_loops = pytest.mark.parametrize("loop", ["trio", "asyncio"])


class Listening:
    """A service behind a socket, and how clients of either kind reach it."""

    def __init__(self, service: Service, address: str, shutdown: trio.Event) -> None:
        self.service = service
        self.address = address
        self.shutdown = shutdown
        self._token = trio.lowlevel.current_trio_token()

    def tell(self, event: trio.Event) -> None:
        """Set an event of the server's loop, from either loop."""
        self._token.run_sync_soon(event.set)

    async def told(self, event: trio.Event) -> None:
        """Wait for one, in either loop: asked again and again, as a thread that waits for it
        could not be cancelled."""
        while not event.is_set():
            await anyio.sleep(0.01)

    async def client(
        self,
        loop: str,
        work: Callable[[Any], Awaitable[Any]],
        *,
        token: str | None = None,
        limits: ClientLimits = HASTY,
    ) -> Any:
        """What ``work`` returns, given a client, under this event loop."""

        async def connected() -> Any:
            with anyio.fail_after(PATIENCE_SECONDS):
                async with connect(self.address, token=token, limits=limits) as client:
                    return await work(client)

        return await under(loop, connected)


async def under(loop: str, work: Callable[[], Awaitable[Any]]) -> Any:
    """Run ``work`` in this loop of trio's, or in one of asyncio's in a thread."""
    if loop == "trio":
        return await work()
    return await trio.to_thread.run_sync(partial(anyio.run, work, backend="asyncio"))


@asynccontextmanager
async def listening(
    *, auth: Any = None, limits: Any = None, bind: str = "127.0.0.1:0", **options: Any
) -> AsyncIterator[Listening]:
    """A server in this process, with a StepAgent unless the options name another."""
    async with supervised(**options) as service, trio.open_nursery() as nursery:
        shutdown = trio.Event()
        app = service.app = create_app(service.supervisor, auth=auth, limits=limits)
        address = await nursery.start(partial(serve, app, bind, shutdown=shutdown.wait))
        with trio.fail_after(PATIENCE_SECONDS):
            yield Listening(service, address, shutdown)
            nursery.cancel_scope.cancel()
