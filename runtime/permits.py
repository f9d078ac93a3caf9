"""The shared limit on running runs: fair over sessions, and work waits instead of failing.

A session that wants to start a run and finds no permit stands in line once, however many runs it
has queued, and after each grant goes to the end of the line: round robin by session, so that a
session with a thousand queued runs delays another's first run by one run and not by a thousand.
"""

from __future__ import annotations

from typing import Protocol

import attrs


class Holder(Protocol):
    """Who may wait in line."""

    def granted(self) -> None:
        """A permit is yours now: use it, or release it."""
        ...


@attrs.frozen
class PermitStatistics:
    limit: int
    in_use: int
    waiting: int


class RunPermits:
    """``limit`` permits to run, for all sessions of one supervisor."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_use = 0
        self._line: dict[Holder, None] = {}

    def try_acquire(self) -> bool:
        """Take a permit unless none is left or somebody stands in line."""
        if self._line or self._in_use >= self._limit:
            return False
        self._in_use += 1
        return True

    def stand_in_line(self, holder: Holder) -> None:
        """Have ``holder.granted()`` called when it is its turn; standing twice is once."""
        self._line.setdefault(holder)

    def leave_line(self, holder: Holder) -> None:
        self._line.pop(holder, None)

    def release(self) -> None:
        self._in_use -= 1
        while self._line and self._in_use < self._limit:
            holder = next(iter(self._line))
            del self._line[holder]
            self._in_use += 1
            holder.granted()

    def statistics(self) -> PermitStatistics:
        return PermitStatistics(self._limit, self._in_use, len(self._line))
