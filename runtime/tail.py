"""The tail cache: recent events of sessions that somebody follows, decoded once for all readers.

A worker feeds it after each durable append, so nothing in it can be lost again. Subscribers look
here first and read the store for what is older. Bounded over all sessions by encoded bytes; the
session that was fed longest ago loses its events first, and its readers fall back to the store.
"""

from __future__ import annotations

from bisect import bisect_right
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


class _Chunk:
    """Events of one append; decoded when the first reader wants them."""

    __slots__ = ("events", "first_seq", "records", "size")

    def __init__(self, first_seq: int, records: Sequence[Record], size: int) -> None:
        self.first_seq = first_seq
        self.records: Sequence[Record] | None = records
        self.events: list[Event] = []
        self.size = size

    def decoded(self, session_id: str) -> list[Event]:
        if self.records is not None:
            bodies = [record.body for record in self.records]
            self.events = decode_events(session_id, self.first_seq, bodies)
            self.records = None
        return self.events


class _Tail:
    __slots__ = ("chunks", "closed", "first_seqs", "followers", "head_seq")

    def __init__(self) -> None:
        self.chunks: list[_Chunk] = []
        self.first_seqs: list[int] = []
        self.head_seq = 0
        self.closed = False
        self.followers = 0


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
        tail.chunks.append(_Chunk(first_seq, records, size))
        tail.first_seqs.append(first_seq)
        tail.head_seq = first_seq + len(records) - 1
        tail.closed = closed
        self._bytes += size
        self._tails.move_to_end(session_id)
        while self._bytes > self._bytes_max:
            self._shrink()

    def read(self, session_id: str, after: int, limit: int) -> list[Event] | None:
        """Up to about ``limit`` events behind ``after``; None if the store must be asked.

        An empty list says that there are none yet and that the session is open: wait.
        """
        tail = self._tails.get(session_id)
        if tail is None or not tail.chunks:
            return None
        if after >= tail.head_seq:
            return None if tail.closed or after > tail.head_seq else []
        index = bisect_right(tail.first_seqs, after + 1) - 1
        if index < 0:
            return None
        chunk = tail.chunks[index]
        events = chunk.decoded(session_id)[after + 1 - chunk.first_seq :]
        for chunk in tail.chunks[index + 1 :]:
            if len(events) >= limit:
                break
            events.extend(chunk.decoded(session_id))
        return events

    def drop(self, session_id: str) -> None:
        """Forget events, because another owner may write from now on."""
        tail = self._tails.get(session_id)
        if tail is not None:
            self._clear(tail)

    def statistics(self) -> TailStatistics:
        return TailStatistics(len(self._tails), self._bytes, self._bytes_max)

    def _clear(self, tail: _Tail) -> None:
        self._bytes -= sum(chunk.size for chunk in tail.chunks)
        tail.chunks.clear()
        tail.first_seqs.clear()
        tail.head_seq = 0

    def _forget(self, session_id: str) -> None:
        self._clear(self._tails.pop(session_id))

    def _shrink(self) -> None:
        """Give up the oldest half of the tail that was fed longest ago."""
        tail = next(tail for tail in self._tails.values() if tail.chunks)
        count = max(len(tail.chunks) // 2, 1)
        self._bytes -= sum(chunk.size for chunk in tail.chunks[:count])
        del tail.chunks[:count], tail.first_seqs[:count]
