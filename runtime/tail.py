"""The tail cache: recent events of sessions that somebody follows, decoded once for all readers.

A worker feeds it after each durable append, so nothing in it can be lost again. Subscribers look
here first and read the store for what is older. Bounded over all sessions by encoded bytes; the
session that was fed longest ago loses its events first, and its readers fall back to the store.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import attrs

from .codec import decode_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .events import Event
    from .ports import Record


@attrs.frozen
class TailStatistics:
    sessions: int
    bytes: int
    bytes_max: int


class _Tail:
    """One session's recent events: those some reader wanted are decoded, in one list that all
    readers take slices of; the newest may still be records."""

    __slots__ = ("appends", "closed", "events", "followers", "head_seq", "undecoded")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.undecoded: list[Sequence[Record]] = []
        self.appends: list[tuple[int, int]] = []
        """How many events, and bytes, each append brought, the oldest first."""
        self.head_seq = 0
        self.closed = False
        self.followers = 0

    def decoded(self, session_id: str) -> list[Event]:
        if self.undecoded:
            records = [record for append in self.undecoded for record in append]
            first_seq = self.head_seq - len(records) + 1
            self.events += decode_events(session_id, first_seq, [r.body for r in records])
            self.undecoded.clear()
        return self.events

    def drop_oldest(self, appends: int) -> int:
        """Forget what these many appends brought; returns its bytes."""
        gone, self.appends = self.appends[:appends], self.appends[appends:]
        decoded = 0
        for count, _ in gone:
            if decoded + count <= len(self.events):
                decoded += count
            else:
                del self.undecoded[0]
        del self.events[:decoded]
        return sum([size for _, size in gone])


class TailCache:
    """Recent events of followed sessions, at most ``bytes_max`` encoded bytes of them."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._tails: OrderedDict[str, _Tail] = OrderedDict()

    def follow(self, session_id: str) -> None:
        """A reader follows the session from now on; keep what is fed."""
        self._tails.setdefault(session_id, _Tail()).followers += 1

    def unfollow(self, session_id: str) -> None:
        tail = self._tails.get(session_id)
        if tail is not None:
            tail.followers -= 1
            if tail.followers <= 0:
                self._forget(session_id)

    def feed(
        self, session_id: str, first_seq: int, records: Sequence[Record], *, closed: bool
    ) -> None:
        """Keep durable records, if anybody follows the session."""
        tail = self._tails.get(session_id)
        if tail is None:
            return
        if tail.head_seq and tail.head_seq != first_seq - 1:
            self._clear(tail)
        size = sum([len(record.body) for record in records])
        tail.undecoded.append(records)
        tail.appends.append((len(records), size))
        tail.head_seq = first_seq + len(records) - 1
        tail.closed = closed
        self._bytes += size
        self._tails.move_to_end(session_id)
        while self._bytes > self._bytes_max:
            self._shrink()

    def read(self, session_id: str, after: int, limit: int) -> list[Event] | None:
        """Up to ``limit`` events behind ``after``; None if the store must be asked.

        An empty list says that there are none yet and that the session is open: wait.
        """
        tail = self._tails.get(session_id)
        if tail is None or not tail.appends:
            return None
        if after >= tail.head_seq:
            return None if tail.closed or after > tail.head_seq else []
        events = tail.decoded(session_id)
        start = after - tail.head_seq + len(events)
        return events[start : start + limit] if start >= 0 else None

    def drop(self, session_id: str) -> None:
        """Forget events, because another owner may write from now on."""
        tail = self._tails.get(session_id)
        if tail is not None:
            self._clear(tail)

    def statistics(self) -> TailStatistics:
        return TailStatistics(len(self._tails), self._bytes, self._bytes_max)

    def _clear(self, tail: _Tail) -> None:
        self._bytes -= tail.drop_oldest(len(tail.appends))
        tail.head_seq = 0

    def _forget(self, session_id: str) -> None:
        self._clear(self._tails.pop(session_id))

    def _shrink(self) -> None:
        """Give up the oldest half of the tail that was fed longest ago."""
        tail = next(tail for tail in self._tails.values() if tail.appends)
        self._bytes -= tail.drop_oldest(max(len(tail.appends) // 2, 1))
