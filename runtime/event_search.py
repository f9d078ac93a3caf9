"""Events over sessions: in the order of the sessions' ids, and in each by seq."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from .query_filters import text_bytes
from .recall import check_readable
from .scanning import LISTED_WORK, Work, finished, read_stretch, sessions_from

if TYPE_CHECKING:
    from .events import Event
    from .ports import StoreReader
    from .query_filters import EventFilter, SessionFilter
    from .sessions import SessionInfo

PAGE_BYTES_MAX = 8 * 2**20
"""Of the events on a page, about; a larger one goes alone."""
EVENTS_PER_CHECKPOINT = 64


class EventScan:
    """The events of one page. ``position`` is that up to which everything was looked at, and None
    once that is the end."""

    def __init__(
        self,
        store: StoreReader,
        filter: EventFilter,
        *,
        descending: bool,
        position: tuple[str, int] | None,
        limit: int,
    ) -> None:
        self._store = store
        self._filter = filter
        self._descending = descending
        self._limit = limit
        self._bytes = 0
        self._work = Work()
        self.items: list[Event] = []
        self.position = position

    @property
    def scanned(self) -> int:
        return self._work.events

    async def run(self, sessions: SessionFilter, session_id: str | None) -> None:
        """Fill the page. Raises UnknownSession for a ``session_id`` that does not exist, and
        StoreFailed for a text in a session that is encrypted, where the store has no keys."""
        source = sessions_from(
            self._store,
            sessions,
            session_id=session_id,
            descending=self._descending,
            position=self.position,
        )
        async with aclosing(source):
            async for info, start in source:
                self._work.add(LISTED_WORK)
                if self._may_have(info):
                    if self._filter.text is not None:
                        check_readable(info)  # or it would seem that nothing matches
                    if not await self._read(info.id, start):
                        return
                self.position = (info.id, finished(descending=self._descending))
                if self._work.spent:
                    return
        self.position = None

    def _may_have(self, info: SessionInfo) -> bool:
        after = self._filter.after_ns
        # an active session's last event may be an agent's, which stamps its own as it likes
        return after is None or info.modified_at_ns >= after or info.active > 0

    async def _read(self, session_id: str, position: int) -> bool:
        """Read a session on; False if the page is full, or as much as it may be."""
        while True:
            stretch = await read_stretch(
                self._store,
                session_id,
                position=position,
                descending=self._descending,
                work=self._work,
                types=self._filter.types,
                run_id=self._filter.run_id,
            )
            if stretch is None:
                return True
            for count, event in enumerate(stretch.events):
                if count % EVENTS_PER_CHECKPOINT == EVENTS_PER_CHECKPOINT - 1:
                    await trio.lowlevel.checkpoint()
                if self._filter.matches(event) and not self._take(event):
                    return False
            if stretch.whole:
                return True
            position = stretch.position
            self.position = (session_id, position)
            if self._work.spent:
                return False

    def _take(self, event: Event) -> bool:
        self._bytes += text_bytes(event.data)
        if len(self.items) == self._limit or (self.items and self._bytes > PAGE_BYTES_MAX):
            # behind the last item, or behind more that was looked at in front of this one
            before = event.seq + 1 if self._descending else event.seq - 1
            self.position = (event.session_id, before)
            return False
        self.items.append(event)
        return True
