"""Small here, large there; found wherever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.stores.artifacts import MemoryArtifacts, TieredArtifacts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Named(MemoryArtifacts):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


async def stream(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def test_size_decides_where_it_goes_and_the_registry_is_told() -> None:
    tiers = TieredArtifacts(Named("disk"), Named("cloud"), small_bytes_max=4)

    stored = [
        await tiers.put("a/small", b"1234"),
        await tiers.put("a/large", b"12345"),
        await tiers.put("a/small-stream", stream(b"12", b"34")),
        await tiers.put("a/large-stream", stream(b"12", b"34", b"56", b"78")),
    ]

    assert [one.where for one in stored] == ["disk", "cloud", "disk", "cloud"]
    assert [one.bytes for one in stored] == [4, 5, 4, 8]
    assert tiers.name == "disk+cloud"


async def test_what_either_had_before_is_read_through() -> None:
    small, large = Named("disk"), Named("cloud")
    await small.put("a/1", b"in the small one")
    await large.put("a/2", b"in the large one")
    tiers = TieredArtifacts(small, large)

    contents = []
    for key in ("a/1", "a/2"):
        async with tiers.get(key) as pieces:
            contents.append(b"".join([piece async for piece in pieces]))

    assert contents == [b"in the small one", b"in the large one"]
    assert [await tiers.size(key) for key in ("a/1", "a/2", "a/3")] == [16, 16, None]
    assert sorted([one.key async for one in tiers.contents("a")]) == ["a/1", "a/2"]
    await tiers.delete(["a/1", "a/2"])
    assert [one.key async for one in tiers.contents()] == []


def test_a_limit_below_zero_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="small_bytes_max"):
        TieredArtifacts(MemoryArtifacts(), MemoryArtifacts(), small_bytes_max=-1)
