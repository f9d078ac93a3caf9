"""Bytes on their way: counted, hashed, and compared in the end."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from moorage.runtime.errors import InvalidArgument

from .port import PIECE_BYTES, ArtifactDamaged, Stored, check_piece

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .port import Source


class Tally:
    """Size and SHA-256 of what went by."""

    def __init__(self) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        self.bytes += len(piece)
        self._hash.update(piece)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def stored(self, key: str, where: str) -> Stored:
        return Stored(key=key, bytes=self.bytes, sha256=self.sha256, where=where)


async def pieces_of(source: Source) -> AsyncGenerator[bytes]:
    """The source in pieces that are not empty. Raises InvalidArgument."""
    if isinstance(source, bytes | bytearray | memoryview):
        whole = bytes(source)
        for at in range(0, len(whole), PIECE_BYTES):
            yield whole[at : at + PIECE_BYTES]
        return
    if not isinstance(source, AsyncIterable):
        raise InvalidArgument(
            f"a source is bytes or an async iterable of bytes, not {type(source).__name__}"
        )
    async with closed_at_the_end(source):
        async for piece in source:
            if checked := check_piece(piece):
                yield checked


@asynccontextmanager
async def closed_at_the_end(iterable: object) -> AsyncGenerator[None]:
    """Close it if it is a generator: one that is dropped in the middle must not linger."""
    try:
        yield
    finally:
        if isinstance(iterable, AsyncGenerator):
            await iterable.aclose()


@asynccontextmanager
async def compared(
    pieces: AsyncGenerator[bytes], key: str, sha256: str | None
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """The pieces, which are closed in the end and, with ``sha256``, found to be other ones."""
    async with aclosing(pieces):
        if sha256 is None:
            yield pieces
        else:
            async with aclosing(_compared(pieces, key, sha256)) as checked:
                yield checked


async def _compared(pieces: AsyncIterator[bytes], key: str, sha256: str) -> AsyncGenerator[bytes]:
    tally = Tally()
    async for piece in pieces:
        tally.add(piece)
        yield piece
    if tally.sha256 != sha256:
        raise ArtifactDamaged(
            key,
            reason=f"its {tally.bytes} bytes have the SHA-256 {tally.sha256[:16]}..., "
            f"expected {sha256[:16]}...",
        )
