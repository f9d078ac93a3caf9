"""Sources in pieces, and what is compared in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.stores.artifacts import ArtifactDamaged
from moorage.stores.artifacts.pieces import Tally, compared, pieces_of
from moorage.stores.artifacts.port import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Source:
    """Says whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def pieces(self) -> AsyncGenerator[bytes]:
        try:
            for piece in (b"a", b"", b"bc"):
                yield piece
        finally:
            self.closed = True


async def test_bytes_come_in_pieces_and_empty_pieces_do_not_come() -> None:
    whole = [piece async for piece in pieces_of(b"x" * (PIECE_BYTES + 1))]
    streamed = [piece async for piece in pieces_of(Source().pieces())]

    assert list(map(len, whole)) == [PIECE_BYTES, 1]
    assert streamed == [b"a", b"bc"]


async def test_a_source_is_closed_when_nobody_wants_the_rest() -> None:
    source = Source()

    pieces = pieces_of(source.pieces())
    await anext(pieces)
    await pieces.aclose()

    assert source.closed


async def test_what_is_no_source_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not list"):
        await anext(pieces_of([b"a"]))  # type: ignore[arg-type]


async def test_the_checksum_is_compared_behind_the_last_piece() -> None:
    tally = Tally()
    for piece in (b"a", b"bc"):
        tally.add(piece)
    stored = tally.stored("k", "here")

    async with compared(pieces_of(b"abc"), "k", stored.sha256) as pieces:
        assert [piece async for piece in pieces] == [b"abc"]
    async with compared(pieces_of(b"abd"), "k", stored.sha256) as pieces:
        assert await anext(aiter(pieces)) == b"abd"
        with pytest.raises(ArtifactDamaged, match="'k' is damaged: its 3 bytes"):
            await anext(aiter(pieces))
    assert (stored.bytes, stored.where) == (3, "here")
