"""Two places in one: small artifacts here, large ones there."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from moorage.runtime.errors import InvalidArgument

from .pieces import closed_at_the_end, pieces_of
from .port import BINARY, ArtifactMissing, Listed, Stored

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from .port import ArtifactStore, Source

SMALL_BYTES_MAX = 1024 * 1024


class TieredArtifacts:
    """Up to ``small_bytes_max`` into ``small``, what is larger into ``large``.

    Reading looks into the small one first, then into the large one, so that either may have been
    filled before they were put together. ``Stored.where`` names the one that has it.
    """

    def __init__(
        self,
        small: ArtifactStore,
        large: ArtifactStore,
        *,
        small_bytes_max: int = SMALL_BYTES_MAX,
    ) -> None:
        """Raises InvalidArgument."""
        if type(small_bytes_max) is not int or small_bytes_max < 0:
            raise InvalidArgument(
                f"small_bytes_max must be an int of at least 0: {small_bytes_max!r}"
            )
        self._small = small
        self._large = large
        self._small_bytes_max = small_bytes_max

    @property
    def name(self) -> str:
        return f"{self._small.name}+{self._large.name}"

    async def put(self, key: str, source: Source, *, media_type: str = BINARY) -> Stored:
        async with aclosing(pieces_of(source)) as pieces:
            head: list[bytes] = []
            size = 0
            async for piece in pieces:
                head.append(piece)
                size += len(piece)
                if size > self._small_bytes_max:
                    whole = source if isinstance(source, bytes) else _joined(head, pieces)
                    stored = await self._large.put(key, whole, media_type=media_type)
                    await self._small.delete([key])  # it would be found first
                    return stored
        return await self._small.put(key, b"".join(head), media_type=media_type)

    @asynccontextmanager
    async def get(
        self, key: str, *, sha256: str | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            try:
                pieces = await stack.enter_async_context(self._small.get(key, sha256=sha256))
            except ArtifactMissing:
                pieces = await stack.enter_async_context(self._large.get(key, sha256=sha256))
            yield pieces

    async def size(self, key: str) -> int | None:
        size = await self._small.size(key)
        return await self._large.size(key) if size is None else size

    async def delete(self, keys: Sequence[str]) -> None:
        await self._large.delete(keys)
        await self._small.delete(keys)

    async def contents(self, under: str = "") -> AsyncGenerator[Listed]:
        seen: set[str] = set()
        for store in (self._small, self._large):
            listed = store.contents(under)
            async with closed_at_the_end(listed):
                async for one in listed:
                    if one.key not in seen:
                        yield one
                    if store is self._small:
                        seen.add(one.key)


async def _joined(head: list[bytes], rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    for piece in head:
        yield piece
    async for piece in rest:
        yield piece
