"""What several broken stores have in common."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ..memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from moorage.runtime.ports import Deliver, Page

    from ..memory_log import MemoryLog


class Reopening(MemoryStore):
    """Does something to the content whenever it is opened."""

    def on_open(self) -> None:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        async with super().opened(owner=owner, deliver=deliver):
            self.on_open()
            yield

    def _logs(self) -> list[MemoryLog]:
        return list(self._content.logs.values())


class Reading(MemoryStore):
    """Changes what is read."""

    async def read(self, session_id: str, **range: Any) -> Page:
        return self.change(await super().read(session_id, **range), **range)

    def change(self, page: Page, **range: Any) -> Page:
        raise NotImplementedError
