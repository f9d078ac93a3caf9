"""What is where in one session's log: the few facts that reads select by, without the bodies.

Pure and synchronous. To select costs what is selected (an unselective filter by type costs what it
looks at, at most ``SCAN_RECORDS_MAX`` records a page).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from moorage.runtime.errors import CursorExpired
from moorage.runtime.events import RUN_TERMINAL_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCAN_RECORDS_MAX = 10_000
"""Records that one page looks at; 20 ms of decoding if all of them are wanted."""


class Selection(NamedTuple):
    """Which events belong on a page, ascending, and how far it scanned (see ports.Page)."""

    seqs: Sequence[int]
    scanned_to: int


class _Run:
    """Where a run's events are. ``submitted_seq`` is 0 while it was not submitted (or that was
    trimmed away before its later events came), ``ended_seq`` while it is unfinished."""

    __slots__ = ("ended_seq", "key", "seqs", "submitted_seq")

    def __init__(self) -> None:
        self.seqs = array("Q")
        self.submitted_seq = 0
        self.ended_seq = 0
        self.key: str | None = None


class LogIndex:
    """The events of one session from ``oldest_seq`` to ``head_seq``."""

    __slots__ = ("_keys", "_runs", "_types", "head_seq", "oldest_seq", "session_id")

    def __init__(self, session_id: str, *, head_seq: int) -> None:
        self.session_id = session_id
        self.head_seq = head_seq
        self.oldest_seq = head_seq + 1
        self._types: list[str] = []
        self._runs: dict[str, _Run] = {}
        self._keys: dict[str, str] = {}

    def add(self, type: str, run_id: str | None, key: str | None) -> bool:
        """Count one event behind the head; returns whether it ends its run."""
        self.head_seq = seq = self.head_seq + 1
        self._types.append(type)
        if run_id is None:
            return False
        runs = self._runs
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
            return True
        return False

    def trim(self, before: int) -> int:
        """Forget what is below ``before``; returns how many events that were."""
        before = min(before, self.head_seq + 1)
        count = before - self.oldest_seq
        if count <= 0:
            return 0
        del self._types[:count]
        self.oldest_seq = before
        for run_id, run in list(self._runs.items()):
            if run.submitted_seq < before and run.key is not None:
                self._keys.pop(run.key, None)
                run.key = None
            if run.seqs[-1] < before:
                del self._runs[run_id]
        return count

    def run_ended(self, run_id: str) -> bool:
        run = self._runs.get(run_id)
        return run is not None and run.ended_seq > 0

    def run_seqs(self, run_id: str) -> tuple[int, int] | None:
        """The seqs of its request and of its end (0 while it is unfinished), None if unknown."""
        run = self._runs.get(run_id)
        if run is None or run.submitted_seq < self.oldest_seq:
            return None
        return run.submitted_seq, run.ended_seq

    def find_key(self, key: str) -> str | None:
        return self._keys.get(key)

    def select(
        self,
        *,
        after: int,
        before: int | None,
        limit: int,
        types: frozenset[str] | None,
        run_id: str | None,
        backwards: bool,
    ) -> Selection:
        """What ``StoreReader.read`` asks for. Raises CursorExpired."""
        if after < self.oldest_seq - 1:
            if not backwards:
                raise CursorExpired(self.session_id, after=after, oldest_seq=self.oldest_seq)
            after = self.oldest_seq - 1
        low = after + 1
        high = self.head_seq if before is None else min(before - 1, self.head_seq)
        limit = min(limit, SCAN_RECORDS_MAX)
        if run_id is None and types is None:
            return _all(low, high, limit, backwards)
        return self._some(low, high, limit, types, run_id, backwards)

    def _some(
        self,
        low: int,
        high: int,
        limit: int,
        types: frozenset[str] | None,
        run_id: str | None,
        backwards: bool,
    ) -> Selection:
        candidates: Iterable[int]
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
        return Selection(chosen, last)

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


def _all(low: int, high: int, limit: int, backwards: bool) -> Selection:
    if backwards:
        low = max(low, high - limit + 1)
    else:
        high = min(high, low + limit - 1)
    high = max(high, low - 1)
    return Selection(range(low, high + 1), low if backwards else high)
