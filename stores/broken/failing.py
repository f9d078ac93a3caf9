"""Stores that are wrong about crashes and failures."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime.errors import StoreFailed

from ..faults import FaultyStore
from ..memory_reader import MemoryContent, MemoryReader
from .flaws import Durable, private_copy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from moorage.runtime.ports import Claim, Deliver, Page, StoreReader


class LostInACrash(Durable):
    """What was written is made durable when the store closes."""

    def __init__(self, *, lease_seconds: float | None = None) -> None:
        super().__init__(lease_seconds=lease_seconds)
        self._kept = [MemoryContent()]

    def peer(self) -> Self:
        peer = super().peer()
        peer._kept = self._kept
        return peer

    def durable(self) -> MemoryContent:
        return self._kept[0]

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        async with super().opened(owner=owner, deliver=deliver):
            yield
        self._kept[0] = private_copy(self._content)


class KeptAtClose(LostInACrash):
    """Other processes see what was written when the store closes."""

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        reader = MemoryReader(self._content if self in self._content.nodes else self.durable())
        async with reader._running():
            yield reader


class FailedAppendKept(FaultyStore):
    """An append that fails with written=False is there all the same."""

    async def append(self, claim: Claim, **append: Any) -> None:
        try:
            await super().append(claim, **append)
        except StoreFailed as error:
            if error.written is False and not error.poisoned:
                await self._inner.append(claim, **append)
            raise


class FailureUnknown(FaultyStore):
    """Every failure is told as one of unknown outcome."""

    async def append(self, claim: Claim, **append: Any) -> None:
        try:
            await super().append(claim, **append)
        except StoreFailed as error:
            raise StoreFailed(error.message, written=None, poisoned=error.poisoned) from error


class PoisonForgotten(FaultyStore):
    """After a failed sync writing goes on."""

    def _check_poison(self) -> None:
        pass


class WaitingWhilePoisoned(FaultyStore):
    """Who waits for news of a poisoned store waits for ever."""

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        await super().wait_news(session_id, after=after, run_id=run_id)
        if self.poisoned:
            await trio.sleep_forever()


class ReadingPoisoned(FaultyStore):
    """A poisoned store cannot be read."""

    async def read(self, session_id: str, **range: Any) -> Page:
        self._check_poison()
        return await super().read(session_id, **range)
