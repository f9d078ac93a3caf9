"""Waiting for news where looking for it takes a while: a query in a thread, or over a network.

A NewsBoard wants its callers to look before they wait, without a checkpoint in between. Here a
look may take milliseconds, and what is published meanwhile must not be missed: whoever looks is
noted, and news that comes during the look ends the wait, as a hint may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..news import NewsBoard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Set


class _Look:
    __slots__ = ("disturbed",)

    def __init__(self) -> None:
        self.disturbed = False


class Lookout:
    """A NewsBoard and those who are about to wait at it."""

    def __init__(self) -> None:
        self.board = NewsBoard()
        self._looks: dict[str, set[_Look]] = {}
        self._waiting: dict[str, int] = {}

    @property
    def session_ids(self) -> Set[str]:
        """Of the sessions that anybody waits for here; not of those waited for at the board alone,
        who are told by whoever writes."""
        return self._waiting.keys()

    async def wait(
        self,
        session_id: str,
        *,
        after: int,
        run_id: str | None,
        has_news: Callable[[], Awaitable[bool]],
    ) -> None:
        """What ``wait_news`` promises; ``has_news`` asks the database."""
        self._waiting[session_id] = self._waiting.get(session_id, 0) + 1
        try:
            await self._look_and_wait(session_id, after, run_id, has_news)
        finally:
            self._waiting[session_id] -= 1
            if not self._waiting[session_id]:
                del self._waiting[session_id]

    async def _look_and_wait(
        self,
        session_id: str,
        after: int,
        run_id: str | None,
        has_news: Callable[[], Awaitable[bool]],
    ) -> None:
        look = _Look()
        looks = self._looks.setdefault(session_id, set())
        looks.add(look)
        try:
            found = await has_news()
        finally:
            looks.discard(look)
            if not looks and self._looks.get(session_id) is looks:
                del self._looks[session_id]
        if not found and not look.disturbed:
            await self.board.wait(session_id, after=after, run_id=run_id)

    def publish(self, session_id: str, head_seq: int, ended_runs: Iterable[str] = ()) -> None:
        self._disturb(session_id)
        self.board.publish(session_id, head_seq, ended_runs)

    def wake_session(self, session_id: str) -> None:
        self._disturb(session_id)
        self.board.wake_session(session_id)

    def wake_all(self) -> None:
        for session_id in list(self._looks):
            self._disturb(session_id)
        self.board.wake_all()

    def _disturb(self, session_id: str) -> None:
        for look in self._looks.get(session_id, ()):
            look.disturbed = True
