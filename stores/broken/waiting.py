"""Stores that are wrong about news."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..memory import MemoryStore

if TYPE_CHECKING:
    from moorage.runtime.ports import Claim

    from ..memory_reader import MemoryStatistics

_LATE_SECONDS = 5.0


class NewsNeverComes(MemoryStore):
    """Nobody who waits is ever woken."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        log = self._content.logs.get(session_id)
        if log is None or (log.head_seq > after if run_id is None else log.run_ended(run_id)):
            return
        await trio.sleep_forever()


class OldNewsIgnored(MemoryStore):
    """Only what comes later is news."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        await self._board.wait(session_id, after=after, run_id=run_id)


class OneIsWoken(MemoryStore):
    """News wakes one of those who wait."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        if self._board.statistics().waiting:
            await trio.sleep_forever()
        await super().wait_news(session_id, after=after, run_id=run_id)


class RunEndIsNoNews(MemoryStore):
    """Those who wait for a run are not woken by its end."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        unknown = None if run_id is None else f"not {run_id}"
        await super().wait_news(session_id, after=after, run_id=unknown)


class DeleteIsNoNews(MemoryStore):
    """A delete wakes nobody."""

    async def delete(self, claim: Claim, **answered: Any) -> None:
        boards, self._content.boards = self._content.boards, []
        try:
            await super().delete(claim, **answered)
        finally:
            self._content.boards = boards


class CloseIsNoNews(MemoryStore):
    """Closing the store wakes nobody."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        await super().wait_news(session_id, after=after, run_id=run_id)
        if not self._is_open:
            await trio.sleep_forever()


class CancelEndsAllWaits(MemoryStore):
    """When one wait is cancelled the others of that session are never woken."""

    _deaf = False

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        try:
            await super().wait_news(session_id, after=after, run_id=run_id)
        except trio.Cancelled:
            self._deaf = True
            raise
        if self._deaf:
            await trio.sleep_forever()


class NewsComesOnce(MemoryStore):
    """News of a session is told to each task only once."""

    def __init__(self, *, lease_seconds: float | None = None) -> None:
        super().__init__(lease_seconds=lease_seconds)
        self._told: set[trio.lowlevel.Task] = set()

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        task = trio.lowlevel.current_task()
        if task in self._told:
            await trio.sleep_forever()
        await super().wait_news(session_id, after=after, run_id=run_id)
        self._told.add(task)


class CancelledStaysInLine(MemoryStore):
    """Who is cancelled is still counted among those who wait."""

    _cancelled = 0

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        try:
            await super().wait_news(session_id, after=after, run_id=run_id)
        except trio.Cancelled:
            self._cancelled += 1
            raise

    def statistics(self) -> MemoryStatistics:
        found = super().statistics()
        return attrs.evolve(found, waiting=found.waiting + self._cancelled)


class NewsComesLate(MemoryStore):
    """Everybody hears of everything, five seconds later."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        await trio.sleep(_LATE_SECONDS)
        await super().wait_news(session_id, after=after, run_id=run_id)


class OldNewsComesLate(MemoryStore):
    """News that is there is told five seconds later."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        log = self._content.logs.get(session_id)
        if log is not None and log.head_seq > after:
            await trio.sleep(_LATE_SECONDS)
        await super().wait_news(session_id, after=after, run_id=run_id)


class RunEndComesLate(MemoryStore):
    """The end of a run is told five seconds later."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        await super().wait_news(session_id, after=after, run_id=run_id)
        if run_id is not None:
            await trio.sleep(_LATE_SECONDS)
