"""The reading methods of the store port, the same for the owner and for readers beside it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

import trio
from moorage.runtime.errors import StoreFailed

from ..bounds import check_limit
from . import lookup

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from moorage.runtime.ports import Page, Snapshot, StoredRun
    from moorage.runtime.sessions import SessionInfo

    from ..news import NewsBoard
    from .manifest import Layout
    from .reads import Reads
    from .state import State

_TOMBSTONES_PER_CHECKPOINT = 1_000


class ReadingSide:
    """``_reads`` is set while it is open."""

    _layout: Layout
    _news: NewsBoard
    _reads: Reads | None = None
    _was_open = False

    def _opened_reads(self) -> Reads:
        if self._reads is None:
            reason = "closed" if self._was_open else "not open: use it within `async with`"
            raise StoreFailed(f"the journal in {self._layout.root} is {reason}", written=False)
        return self._reads

    def _state(self) -> State:
        return self._opened_reads().state()

    async def _freshen(self) -> None:
        """Learn what became durable since the last call; the owner knows anyway."""
        await trio.lowlevel.checkpoint_if_cancelled()

    async def info(self, session_id: str) -> SessionInfo | None:
        reads = self._opened_reads()
        await self._freshen()
        return reads.info(session_id)

    async def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncGenerator[SessionInfo]:
        reads = self._opened_reads()
        await self._freshen()
        wanted = reads.sessions(prefix=prefix, tags=tags, needs_worker=needs_worker)
        async with contextlib.aclosing(wanted):
            async for info in wanted:
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
        reads = self._opened_reads()
        check_limit(limit)
        await self._freshen()
        return await reads.session_page(
            by_id=order == "id", descending=descending, after=after, prefix=prefix, limit=limit
        )

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
        reads = self._opened_reads()
        await self._freshen()
        return await reads.read(
            session_id,
            after=after,
            before=before,
            limit=limit,
            types=types,
            run_id=run_id,
            backwards=backwards,
        )

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        self._opened_reads()
        await self._freshen()
        if self._has_news(session_id, after, run_id):
            await trio.lowlevel.checkpoint()
        else:
            await self._news.wait(session_id, after=after, run_id=run_id)

    def _has_news(self, session_id: str, after: int, run_id: str | None) -> bool:
        state = self._state()
        entry = state.directory.entries.get(session_id)
        if entry is None or not entry.info:
            return True
        if entry.head_seq <= after:
            return False
        if run_id is None:
            return True
        return lookup.may_have_ended(state.view(session_id, entry), run_id, after=after)

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        reads = self._opened_reads()
        await self._freshen()
        return await reads.find_run(session_id, run_id)

    async def find_key(self, session_id: str, key: str) -> str | None:
        reads = self._opened_reads()
        await self._freshen()
        return await reads.find_key(session_id, key)

    async def snapshot(self, session_id: str) -> Snapshot | None:
        reads = self._opened_reads()
        await self._freshen()
        return await reads.snapshot(session_id)

    async def cursor(self, session_id: str, name: str) -> int | None:
        reads = self._opened_reads()
        await self._freshen()
        return reads.cursor(session_id, name)

    async def cursors(self, session_id: str) -> dict[str, int]:
        self._opened_reads()
        await self._freshen()
        entry = self._state().directory.entries.get(session_id)
        return {} if entry is None else dict(entry.cursors or {})

    async def tombstones(self) -> AsyncGenerator[tuple[str, int]]:
        self._opened_reads()
        await self._freshen()
        entries = list(self._state().directory.entries.items())
        for index, (session_id, entry) in enumerate(entries):
            if index % _TOMBSTONES_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
            if not entry.exists and entry.head_seq:
                yield session_id, entry.head_seq
