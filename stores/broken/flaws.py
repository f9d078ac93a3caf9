"""What several broken stores have in common."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

from ..conformance import Content
from ..faults import Fault, FaultyStore
from ..memory import MemoryStore
from ..memory_reader import MemoryContent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from moorage.runtime.ports import Deliver, Page

    from ..conformance import OpenStore
    from ..faults import AppendCall
    from ..memory_log import MemoryLog

Kind = type[MemoryStore] | type[FaultyStore]


def content_of(kind: Kind, *, lease_seconds: float | None = None) -> Content:
    """New content in memory that stores of this kind open, with everything that can be checked.

    Of a kind that is not broken all checks pass.
    """
    planned: list[Fault] = []

    def script(call: AppendCall) -> Fault | None:
        return planned.pop() if planned else None

    if issubclass(kind, FaultyStore):
        inner = MemoryStore(lease_seconds=lease_seconds)
        return Content(lambda: kind(inner.peer(), script), _crash_of(inner), planned.append)
    store = kind(lease_seconds=lease_seconds)
    return Content(store.peer, _crash_of(store))


def _crash_of(store: MemoryStore) -> Callable[[], OpenStore]:
    def crashed() -> OpenStore:
        content = store.durable() if isinstance(store, Durable) else store._content
        found = MemoryStore(lease_seconds=store.lease_seconds)
        found._content = private_copy(content)
        return found.peer

    return crashed


def private_copy(content: MemoryContent) -> MemoryContent:
    """What would be found of it after a crash: neither owners nor readers."""
    found = MemoryContent()
    found.logs = copy.deepcopy(content.logs)
    found.tombstones = dict(content.tombstones)
    found.last_epoch = content.last_epoch
    return found


class Durable(MemoryStore):
    """Says itself what would be found after a crash."""

    def durable(self) -> MemoryContent:
        raise NotImplementedError


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
