"""Reading a subscription, or a listing, from another thread: in batches, and without losing one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime import Event, Subscription

LISTED_AT_ONCE = 100
"""Entries of a listing that cross together."""

Entry = TypeVar("Entry")


class BatchReader:
    """A subscription's events on this side.

    ``read``, which is called in trio, leaves what it got here and returns nothing: a reader that is
    cancelled while the answer is on its way finds it here the next time.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._batches = subscription.batches()
        self._events: list[Event] = []
        self._index = 0

    async def read(self) -> None:
        """In trio: get the next batch, or nothing at the end."""
        if self._index >= len(self._events):
            try:
                self._events, self._index = await self._batches.__anext__(), 0
            except StopAsyncIteration:
                self._events, self._index = [], 0

    def next_event(self) -> Event | None:
        """The next event that is here."""
        if self._index >= len(self._events):
            return None
        event = self._events[self._index]
        self._index += 1
        return event

    def rest(self) -> list[Event]:
        """All events that are here and have not been given out."""
        rest = self._events[self._index :]
        self._index = len(self._events)
        return rest


class ListingReader(Generic[Entry]):
    """An async iterator of trio's, read by pages; ``close`` it in trio as well."""

    def __init__(self, entries: AsyncIterator[Entry]) -> None:
        self._entries = entries

    async def read(self) -> list[Entry]:
        """The next page; an empty one is the end."""
        page: list[Entry] = []
        async for entry in self._entries:
            page.append(entry)
            if len(page) == LISTED_AT_ONCE:
                break
        return page

    async def close(self) -> None:
        """Let go of what the listing holds."""
        close = getattr(self._entries, "aclose", None)
        if close is not None:
            await close()
