"""Cursors of live reads: a number that many readers share, so that a cache in between can answer
them together, and that never comes back, so that none is answered with what it has."""

from __future__ import annotations

from ..problems import MalformedRequest, shown

INTERVAL_NS = 20_000_000_000
DIGITS_MAX = 18


def next_cursor(now_ns: int, given: str | None) -> int:
    """The number of the interval, or one more than the client's. Raises MalformedRequest."""
    interval = now_ns // INTERVAL_NS
    if given is None:
        return interval
    if not (given.isascii() and given.isdigit() and len(given) <= DIGITS_MAX):
        raise MalformedRequest(f"cursor is {shown(given)}: send a Stream-Cursor as it came")
    return max(interval, int(given) + 1)
