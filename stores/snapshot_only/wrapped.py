"""The store of snapshots that is wrapped: what is asked of it, and how it is called."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

import trio
from moorage.runtime.errors import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable

CALLS_MAX = 8
"""Threads that call sync methods at the same time, each for another session."""


class Snapshots(Protocol):
    """What people have already. Methods may be sync (then they are called in threads) or async
    (trio's), and may raise what they like. ``save`` is durable on return."""

    def load(self, session_id: str) -> bytes | Awaitable[bytes | None] | None:
        """What was saved last, None if nothing was, or it was cleared."""
        ...

    def save(self, session_id: str, snapshot: bytes) -> Awaitable[None] | None: ...

    def clear(self, session_id: str) -> Awaitable[None] | None:
        """Forget it; no error if there is nothing."""
        ...


class Wrapped:
    """Calls one that never are cancelled in the middle."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._threads = trio.CapacityLimiter(CALLS_MAX)

    async def load(self, session_id: str) -> bytes | None:
        """Raises StoreFailed."""
        try:
            found = await self._call("load", session_id)
        except Exception as error:
            raise StoreFailed(f"a snapshot cannot be loaded: {error!r}", written=False) from error
        if found is not None and not isinstance(found, bytes):
            raise StoreFailed(f"load() returned {type(found).__name__}, not bytes", written=False)
        return found

    async def save(self, session_id: str, new: bytes | None, old: bytes | None) -> None:
        """Save it, or clear it if ``new`` is None. If that fails, what is there then decides.

        Raises StoreFailed: with written=False if it is ``old`` as before, poisoned if it is
        neither, or cannot be seen.
        """
        try:
            if new is None:
                await self._call("clear", session_id)
            else:
                await self._call("save", session_id, new)
        except Exception as error:
            try:
                found = await self.load(session_id)
            except StoreFailed as unseen:
                raise _unknown(error) from unseen
            if found == new:
                return
            if found == old:
                raise StoreFailed(
                    f"a snapshot cannot be saved: {error!r}; what was there is there as before",
                    written=False,
                ) from error
            raise _unknown(error) from error

    async def _call(self, name: str, *arguments: Any) -> Any:
        method = getattr(self._snapshots, name)
        with trio.CancelScope(shield=True):
            if inspect.iscoroutinefunction(method):
                return await method(*arguments)
            # in a list: trio takes a function that returns an awaitable for a mistake
            (result,) = await trio.to_thread.run_sync(
                lambda: [method(*arguments)], limiter=self._threads
            )
            return await result if inspect.isawaitable(result) else result


def _unknown(error: Exception) -> StoreFailed:
    return StoreFailed(
        f"a snapshot could not be saved and what is there is unknown: {error!r}; everything is "
        "refused until the store is opened again",
        poisoned=True,
    )
