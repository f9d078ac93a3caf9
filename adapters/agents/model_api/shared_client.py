"""One client of an SDK for all runs of an agent that are executed at the same time."""

from __future__ import annotations

import functools
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Closing(Protocol):
    """What SDK clients have in common."""

    async def close(self) -> None: ...


Client = TypeVar("Client", bound=Closing)


class SharedClient(Generic[Client]):
    """Makes a client for the first user and closes it behind the last.

    So connections are shared while there is work, and none is left open when there is none. Users
    in several trio runs have a client in each, since a connection belongs to its event loop.

    ``own`` is a client of the user's own: it is used as it is, and left open.
    """

    def __init__(self, make: Callable[[], Client], own: Client | None = None) -> None:
        self._make = make
        self._own = own
        self._open: dict[trio.lowlevel.TrioToken, tuple[Client, int]] = {}

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Client]:
        """The client, open until the block ends. Raises what making it raises."""
        if self._own is not None:
            yield self._own
            return
        client = self._taken()
        try:
            yield client
        finally:
            await self.let_go()

    async def hold(self) -> None:
        """Keep the client until ``let_go``. Raises what making it raises."""
        await trio.lowlevel.checkpoint()
        if self._own is None:
            self._taken()

    async def let_go(self) -> None:
        """End one ``hold``; closes the client if nobody else has it."""
        if self._own is not None:
            return
        token = trio.lowlevel.current_trio_token()
        client, users = self._open[token]
        if users > 1:
            self._open[token] = (client, users - 1)
            return
        del self._open[token]
        with trio.CancelScope(shield=True):
            await client.close()

    def _taken(self) -> Client:
        token = trio.lowlevel.current_trio_token()
        client, users = self._open.get(token) or (self._make(), 0)
        self._open[token] = (client, users + 1)
        return client


@functools.cache
def certificates() -> ssl.SSLContext:
    """The system's trusted certificates, read once per process: reading them takes 20 ms."""
    return ssl.create_default_context()
