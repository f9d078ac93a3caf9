"""One session's records in memory: bodies in a list, the few facts that reads select by beside it.

Pure and synchronous. A read costs what it returns (an unselective filter by type costs what it
looks at, at most ``SCAN_RECORDS_MAX`` records a page).
"""

from __future__ import annotations

import copy
from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.codec import decode_event, decode_events
from moorage.runtime.errors import CursorExpired
from moorage.runtime.events import RUN_TERMINAL_TYPES, Event
from moorage.runtime.ports import Page, Record, Snapshot, StoredRun
from moorage.runtime.sessions import SessionInfo, SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCAN_RECORDS_MAX = 10_000
"""Records that one page looks at; 20 ms of decoding if all of them are wanted."""


class _Run:
    """Where a run's events are. ``submitted_seq`` is 0 while it was not submitted (or that was
    trimmed away before its later events came), ``ended_seq`` while it is unfinished."""

    __slots__ = ("ended_seq", "key", "seqs", "submitted_seq")

    def __init__(self) -> None:
        self.seqs = array("Q")
        self.submitted_seq = 0
        self.ended_seq = 0
        self.key: str | None = None


class MemoryLog:
    """The log of one session that exists. ``bodies[0]`` has seq ``oldest_seq``."""

    __slots__ = (
        "_bodies",
        "_info",
        "_keys",
        "_runs",
        "_types",
        "change",
        "cursors",
        "head_seq",
        "modified_at_ns",
        "oldest_seq",
        "session_id",
        "size_bytes",
        "snapshot",
    )

    def __init__(self, session_id: str, *, head_seq: int, info: SessionInfo) -> None:
        self.session_id = session_id
        self.head_seq = head_seq
        self.oldest_seq = head_seq + 1
        self.modified_at_ns = info.modified_at_ns
        self.change = 0
        self.size_bytes = 0
        self.cursors: dict[str, int] = {}
        self.snapshot: Snapshot | None = None
        self._info = private_info(info)
        self._bodies: list[bytes] = []
        self._types: list[str] = []
        self._runs: dict[str, _Run] = {}
        self._keys: dict[str, str] = {}

    @property
    def closed(self) -> bool:
        return self._info.state is SessionState.CLOSED

    def replace_info(self, info: SessionInfo) -> None:
        self._info = private_info(info)

    def info(self) -> SessionInfo:
        return attrs.evolve(
            private_info(self._info), head_seq=self.head_seq, modified_at_ns=self.modified_at_ns
        )

    def append(self, records: Sequence[Record]) -> list[str]:
        """Add records behind the head; returns the ids of runs that they end."""
        ended: list[str] = []
        seq = self.head_seq
        runs = self._runs
        for time_ns, type, run_id, body, key in records:
            seq += 1
            self._bodies.append(body)
            self._types.append(type)
            self.size_bytes += len(body)
            self.modified_at_ns = time_ns
            if run_id is None:
                continue
            run = runs.get(run_id)
            if run is None:
                run = runs[run_id] = _Run()
            run.seqs.append(seq)
            if key is not None:
                run.key = key
                self._keys[key] = run_id
            if type == "run_submitted":
                run.submitted_seq, run.ended_seq = seq, 0
            elif type in RUN_TERMINAL_TYPES:
                run.ended_seq = seq
                ended.append(run_id)
        self.head_seq = seq
        return ended

    def trim(self, before: int) -> None:
        before = min(before, self.head_seq + 1)
        count = before - self.oldest_seq
        if count <= 0:
            return
        self.size_bytes -= sum(map(len, self._bodies[:count]))
        del self._bodies[:count]
        del self._types[:count]
        self.oldest_seq = before
        for run_id, run in list(self._runs.items()):
            if run.submitted_seq < before and run.key is not None:
                self._keys.pop(run.key, None)
                run.key = None
            if run.seqs[-1] < before:
                del self._runs[run_id]

    def run_ended(self, run_id: str) -> bool:
        run = self._runs.get(run_id)
        return run is not None and run.ended_seq > 0

    def find_run(self, run_id: str) -> StoredRun | None:
        run = self._runs.get(run_id)
        if run is None or run.submitted_seq < self.oldest_seq:
            return None
        return StoredRun(
            submitted=self._event(run.submitted_seq),
            ended=self._event(run.ended_seq) if run.ended_seq else None,
            head_seq=self.head_seq,
        )

    def find_key(self, key: str) -> str | None:
        return self._keys.get(key)

    def page(
        self,
        *,
        after: int,
        before: int | None,
        limit: int,
        types: frozenset[str] | None,
        run_id: str | None,
        backwards: bool,
    ) -> Page:
        """See ``StoreReader.read``. Raises CursorExpired."""
        if after < self.oldest_seq - 1:
            if not backwards:
                raise CursorExpired(self.session_id, after=after, oldest_seq=self.oldest_seq)
            after = self.oldest_seq - 1
        low = after + 1
        high = self.head_seq if before is None else min(before - 1, self.head_seq)
        if run_id is None and types is None:
            events, scanned_to = self._read_all(low, high, limit, backwards)
        else:
            events, scanned_to = self._read_some(low, high, limit, types, run_id, backwards)
        return Page(
            events=events,
            scanned_to=scanned_to,
            head_seq=self.head_seq,
            oldest_seq=self.oldest_seq,
            closed=self.closed,
        )

    def _read_all(
        self, low: int, high: int, limit: int, backwards: bool
    ) -> tuple[list[Event], int]:
        limit = min(limit, SCAN_RECORDS_MAX)
        if backwards:
            low = max(low, high - limit + 1)
        else:
            high = min(high, low + limit - 1)
        high = max(high, low - 1)
        bodies = self._bodies[low - self.oldest_seq : high + 1 - self.oldest_seq]
        return decode_events(self.session_id, low, bodies), low if backwards else high

    def _read_some(
        self,
        low: int,
        high: int,
        limit: int,
        types: frozenset[str] | None,
        run_id: str | None,
        backwards: bool,
    ) -> tuple[list[Event], int]:
        candidates: Iterable[int]
        limit = min(limit, SCAN_RECORDS_MAX)
        if run_id is None:
            if backwards:
                low = max(low, high - SCAN_RECORDS_MAX + 1)
            else:
                high = min(high, low + SCAN_RECORDS_MAX - 1)
            candidates = range(high, low - 1, -1) if backwards else range(low, high + 1)
        else:
            part = self._seqs_of_run(run_id, low, high)
            candidates = reversed(part) if backwards else part
        chosen: list[int] = []
        for seq in candidates:
            if types is not None and self._types[seq - self.oldest_seq] not in types:
                continue
            if len(chosen) == limit:  # there is another one: stop before it
                last = chosen[-1] if chosen else (high + 1 if backwards else low - 1)
                break
            chosen.append(seq)
        else:
            last = low if backwards else max(high, low - 1)
        if backwards:
            chosen.reverse()
        return [self._event(seq) for seq in chosen], last

    def _seqs_of_run(self, run_id: str, low: int, high: int) -> array[int]:
        """Those of its events, from the request to the end as far as there are both."""
        run = self._runs.get(run_id)
        if run is None:
            return array("Q")
        if run.submitted_seq >= self.oldest_seq:
            low = max(low, run.submitted_seq)
        if run.ended_seq >= self.oldest_seq:
            high = min(high, run.ended_seq)
        seqs = run.seqs
        return seqs[bisect_left(seqs, low) : bisect_right(seqs, max(high, 0))]

    def _event(self, seq: int) -> Event:
        return decode_event(self.session_id, seq, self._bodies[seq - self.oldest_seq])


def private_info(info: SessionInfo) -> SessionInfo:
    """A copy that shares nothing mutable with the original."""
    return attrs.evolve(
        info,
        tags=dict(info.tags),
        metadata=copy.deepcopy(info.metadata) if info.metadata else {},
        runs=dict(info.runs),
    )
