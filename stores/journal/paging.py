"""One ``read`` of the store port: from a range and filters to a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.errors import CursorExpired
from moorage.runtime.ports import Page

from .gather import Budget, check_no_gap, fetch, gather, parts_down
from .lookup import find_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moorage.runtime.events import Event

    from .gather import Located, Part
    from .state import View

PAGE_BYTES_MAX = 4 * 2**20
"""Blocks that one page touches, in bytes, and so about the memory that it costs."""
SCAN_EVENTS_MAX = 4_096
"""Events that one page looks at when it filters; it may come back short."""
INLINE_BLOCKS_MAX = 64


class Query:
    """What was asked, fixed against one view. Raises CursorExpired."""

    def __init__(
        self,
        view: View,
        *,
        after: int,
        before: int | None,
        limit: int,
        types: frozenset[str] | None = None,
        run_id: str | None = None,
        backwards: bool = False,
    ) -> None:
        if after < view.oldest - 1 and not backwards:
            raise CursorExpired(view.session_id, after=after, oldest_seq=view.oldest)
        self._view = view
        self._after = after
        self._low = max(after + 1, view.oldest)
        self._high = view.head if before is None else min(before - 1, view.head)
        self._limit = limit
        self._types = types
        self._run_id = run_id
        self._backwards = backwards
        # what is looked at; narrower than low to high when a run is asked for
        self._scan_low, self._scan_high = self._low, self._high

    def run_recent(self) -> Page | None:
        """The page, if it needs no more than a few blocks that were just written."""
        if self._low > self._high:
            return self._page([])
        if self._run_id is not None:
            return None
        view = self._view
        part = view.newest_part()
        if part is None:
            return None
        if not self._backwards and part.first_seq > self._low:
            return None
        budget = self._budget()
        located = self._gather(iter([part]), budget)
        if not located or len(located) > INLINE_BLOCKS_MAX:
            return None
        first = located[0]
        if not view.is_recent(first.number, first.span.offset):
            return None
        if self._backwards and first.span.first_seq > self._low and not budget.spent:
            return None
        return self._page(located)

    def run(self) -> Page:
        """The page, wherever it is; for a thread."""
        if self._run_id is not None:
            self._bound_by_run(self._run_id)
        if self._scan_low > self._scan_high:
            return self._page([])
        view = self._view
        parts = parts_down(view.session_id, view.memory_parts(), view.chain())
        return self._page(self._gather(parts, self._budget()))

    def _gather(self, parts: Iterator[Part], budget: Budget) -> list[Located]:
        return gather(parts, self._scan_low, self._scan_high, budget, backwards=self._backwards)

    def _budget(self) -> Budget:
        filtered = self._types is not None or self._run_id is not None
        events = max(self._limit, SCAN_EVENTS_MAX) if filtered else self._limit
        return Budget(events, PAGE_BYTES_MAX)

    def _bound_by_run(self, run_id: str) -> None:
        view = self._view
        submitted, ended = find_run(view, run_id)
        # what is below the oldest was of a former life of the session, or is trimmed away; what
        # is above the head came since, maybe of the next life
        if view.oldest <= submitted <= view.head:
            self._scan_low = max(self._low, submitted)
        if ended >= view.oldest:
            self._scan_high = min(self._high, ended)

    def _page(self, located: list[Located]) -> Page:
        if not located:
            check_no_gap(located, self._view, self._scan_low, self._scan_high)
            scanned_to = self._low if self._backwards else max(self._after, self._high)
            return self._answer([], scanned_to)
        first, last = located[0].span, located[-1].span
        low = max(self._scan_low, first.first_seq)
        high = min(self._scan_high, last.first_seq + last.events - 1)
        check_no_gap(
            located,
            self._view,
            low if self._backwards else self._scan_low,
            self._scan_high if self._backwards else high,
        )
        events = self._matching(located, low, high)
        if self._backwards:
            return self._page_backwards(events, low)
        scanned_to = self._high if high == self._scan_high else high
        if len(events) > self._limit:
            del events[self._limit :]
            scanned_to = events[-1].seq
        return self._answer(events, scanned_to)

    def _page_backwards(self, events: list[Event], low: int) -> Page:
        scanned_to = self._low if low == self._scan_low else low
        if len(events) > self._limit:
            del events[: -self._limit]
            scanned_to = events[0].seq
        return self._answer(events, scanned_to)

    def _matching(self, located: list[Located], low: int, high: int) -> list[Event]:
        blocks = fetch(located, self._view.session_id, self._view.files)
        events = blocks[0] if len(blocks) == 1 else [event for block in blocks for event in block]
        skip = low - events[0].seq
        if skip or events[-1].seq > high:
            events = events[skip : skip + high - low + 1]
        types, run_id = self._types, self._run_id
        if types is not None:
            events = [event for event in events if event.type in types]
        if run_id is not None:
            events = [event for event in events if event.run_id == run_id]
        return events

    def _answer(self, events: list[Event], scanned_to: int) -> Page:
        view = self._view
        return Page(events, scanned_to, view.head, view.oldest, view.closed)
