"""Artifacts in memory: for tests under a virtual clock, and for what may be lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
import trio

from .pieces import Tally, compared, pieces_of
from .port import BINARY, ArtifactMissing, Listed, Stored, check_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from .port import Source


@attrs.frozen
class _Kept:
    content: bytes
    modified_at_ns: int


class MemoryArtifacts:
    """Every artifact of this object, while it lives. ``time_ns`` is the clock."""

    name = "memory"

    def __init__(self, *, time_ns: Callable[[], int] = time.time_ns) -> None:
        self._kept: dict[str, _Kept] = {}
        self._time_ns = time_ns

    async def put(self, key: str, source: Source, *, media_type: str = BINARY) -> Stored:
        check_key(key)
        tally = Tally()
        content = bytearray()
        async for piece in pieces_of(source):
            tally.add(piece)
            content += piece
        await trio.lowlevel.checkpoint()
        self._kept[key] = _Kept(bytes(content), self._time_ns())
        return tally.stored(key, self.name)

    def get(
        self, key: str, *, sha256: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        kept = self._kept.get(check_key(key))
        if kept is None:
            raise ArtifactMissing(key, where=self.name)
        return compared(pieces_of(kept.content), key, sha256)

    async def size(self, key: str) -> int | None:
        kept = self._kept.get(check_key(key))
        await trio.lowlevel.checkpoint()
        return None if kept is None else len(kept.content)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._kept.pop(check_key(key), None)
        await trio.lowlevel.checkpoint()

    async def contents(self, under: str = "") -> AsyncGenerator[Listed]:
        prefix = f"{check_key(under)}/" if under else ""
        for key, kept in sorted(self._kept.items()):
            if key.startswith(prefix):
                await trio.lowlevel.checkpoint()
                yield Listed(key, len(kept.content), kept.modified_at_ns)
