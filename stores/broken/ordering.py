"""Stores that are wrong about sessions in an order."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from moorage.runtime.ports import StoreReader
    from moorage.runtime.sessions import SessionInfo


class Ordered(MemoryStore):
    """Gives sessions in an order, rightly; readers beside it are the store itself."""

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        yield self

    async def session_page(
        self,
        *,
        order: str,
        descending: bool,
        after: tuple[Any, ...] | None,
        prefix: str,
        limit: int,
    ) -> list[SessionInfo]:
        infos = [info async for info in self.candidates(prefix)]
        infos.sort(key=lambda info: self.key(info, order), reverse=descending)
        behind = [
            info
            for info in infos
            if after is None or self.is_behind(self.key(info, order), after, descending)
        ]
        return self.cut(behind, limit)

    def candidates(self, prefix: str) -> AsyncIterator[SessionInfo]:
        return self.sessions(prefix=prefix)

    def key(self, info: SessionInfo, order: str) -> tuple[Any, ...]:
        return (info.id,) if order == "id" else (info.modified_at_ns, info.id)

    def is_behind(self, key: tuple[Any, ...], after: tuple[Any, ...], descending: bool) -> bool:
        return key < after if descending else key > after

    def cut(self, infos: list[SessionInfo], limit: int) -> list[SessionInfo]:
        return infos[:limit]


class PageRepeatsItsKey(Ordered):
    """A page begins with the session that the one before has ended with."""

    def is_behind(self, key: tuple[Any, ...], after: tuple[Any, ...], descending: bool) -> bool:
        return key <= after if descending else key >= after


class PrefixOfPagesIgnored(Ordered):
    """Pages have sessions that the prefix leaves out."""

    def candidates(self, prefix: str) -> AsyncIterator[SessionInfo]:
        return self.sessions(prefix="")


class PagesBySixteenBits(Ordered):
    """Ids are compared by UTF-16, as some databases do."""

    def key(self, info: SessionInfo, order: str) -> tuple[Any, ...]:
        sixteen = info.id.encode("utf-16-be", "surrogatepass")
        return (sixteen,) if order == "id" else (info.modified_at_ns, info.id)

    def is_behind(self, key: tuple[Any, ...], after: tuple[Any, ...], descending: bool) -> bool:
        if len(after) == 1 and isinstance(after[0], str):
            after = (after[0].encode("utf-16-be", "surrogatepass"),)
        return super().is_behind(key, after, descending)


class LastPageLeftOut(Ordered):
    """A page that cannot be filled is empty."""

    def cut(self, infos: list[SessionInfo], limit: int) -> list[SessionInfo]:
        return infos[:limit] if len(infos) >= limit else []


class PageBehindSessionsOnly(Ordered):
    """A page begins behind a session, and anew if that is not there."""

    def is_behind(self, key: tuple[Any, ...], after: tuple[Any, ...], descending: bool) -> bool:
        known = after[-1] in self._content.logs
        return super().is_behind(key, after, descending) if known else True
