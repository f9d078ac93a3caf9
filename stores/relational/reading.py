"""The reading methods of the store port over ``Reads``, whatever asks the database.

Subclasses say how a question gets a connection; the two databases differ in nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from ..bounds import check_limit
from .looking import Lookout
from .reads import Question, Reads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from moorage.runtime.ports import Page, Snapshot, StoredRun
    from moorage.runtime.sessions import SessionInfo

LISTING_SLICE = 200
"""Sessions that a listing reads at a time."""

T = TypeVar("T")


class RelationalReading:
    """The same for whoever writes and for readers beside."""

    _reads: ClassVar[Reads]

    def __init__(self) -> None:
        self._lookout = Lookout()

    async def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """``question(connection, *arguments)``. Raises StoreFailed, also if it is not open."""
        raise NotImplementedError

    async def _ask_at_once(self, question: Callable[..., T], *arguments: Any) -> T:
        """The same for a question of several statements, which see one moment."""
        raise NotImplementedError

    async def info(self, session_id: str) -> SessionInfo | None:
        return await self._ask(self._reads.info, session_id)

    async def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncGenerator[SessionInfo]:
        numbers = await self._ask(self._reads.numbers, prefix, needs_worker)
        for start in range(0, len(numbers), LISTING_SLICE):
            part = numbers[start : start + LISTING_SLICE]
            for info in await self._ask(self._reads.infos, part):
                if needs_worker and not info.needs_worker:
                    continue
                if not tags or tags.items() <= info.tags.items():
                    yield info

    async def session_page(
        self,
        *,
        order: Literal["id", "modified"],
        descending: bool,
        after: tuple[Any, ...] | None,
        prefix: str,
        limit: int,
    ) -> list[SessionInfo]:
        check_limit(limit)
        question = self._reads.session_page
        return await self._ask_at_once(question, order, descending, after, prefix, limit)

    async def read(
        self,
        session_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1_000,
        types: frozenset[str] | None = None,
        run_id: str | None = None,
        backwards: bool = False,
    ) -> Page:
        check_limit(limit)
        question = Question(session_id, after, before, limit, types, run_id, backwards)
        return await self._ask_at_once(self._reads.read, question)

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        async def has_news() -> bool:
            return await self._ask(self._reads.has_news, session_id, after, run_id)

        await self._lookout.wait(session_id, after=after, run_id=run_id, has_news=has_news)

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        return await self._ask_at_once(self._reads.find_run, session_id, run_id)

    async def find_key(self, session_id: str, key: str) -> str | None:
        return await self._ask(self._reads.find_key, session_id, key)

    async def snapshot(self, session_id: str) -> Snapshot | None:
        return await self._ask(self._reads.snapshot, session_id)

    async def cursor(self, session_id: str, name: str) -> int | None:
        return await self._ask(self._reads.cursor, session_id, name)

    async def cursors(self, session_id: str) -> dict[str, int]:
        return await self._ask(self._reads.cursors, session_id)

    async def tombstones(self) -> AsyncGenerator[tuple[str, int]]:
        for tombstone in await self._ask(self._reads.tombstones):
            yield tombstone
