"""Payloads go out when they are large, and come back as they were."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime.codec import pack
from moorage.runtime.errors import InvalidArgument
from moorage.stores.artifacts import MemoryArtifacts, Reference, bring_back, references_in
from moorage.stores.artifacts.moving import move_out, size_of

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**40) | st.text() | st.binary() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


class Place:
    """Keeps in memory and counts."""

    def __init__(self) -> None:
        self.artifacts = MemoryArtifacts()
        self.kept: list[tuple[int, str]] = []

    async def keep(self, content: bytes, media_type: str) -> Reference:
        stored = await self.artifacts.put(f"s/{len(self.kept)}", content)
        self.kept.append((len(content), media_type))
        return Reference.of(stored, media_type)


async def test_only_what_is_large_goes() -> None:
    place = Place()
    value = {"name": "report", "text": "x" * 100, "parts": [b"y" * 200, "small"], "n": 1}

    moved = await move_out(value, place.keep, over_bytes=64)

    assert moved["name"] == "report"
    assert moved["parts"][1] == "small"
    assert (
        place.kept
        == [
            (100, "text/plain; charset=utf-8"),
            (200, "application/octet-stream"),
        ]
        or len(place.kept) == 3
    )
    assert value["text"] == "x" * 100
    assert await bring_back(moved, place.artifacts) == value


async def test_a_structure_of_many_small_parts_goes_as_a_whole() -> None:
    place = Place()
    value = {"rows": [{"number": number} for number in range(500)]}

    moved = await move_out(value, place.keep, over_bytes=1_000)

    assert list(moved) == ["artifact"]
    assert [media_type for _, media_type in place.kept] == ["application/vnd.msgpack"]
    assert await bring_back(moved, place.artifacts) == value


async def test_what_is_small_is_the_same_object() -> None:
    value = {"text": "x" * 50}

    assert await move_out(value, Place().keep, over_bytes=100) is value


async def test_what_would_be_too_much_stays_a_reference() -> None:
    place = Place()
    moved = await move_out(["x" * 100, "y" * 100], place.keep, over_bytes=80)

    back = await bring_back(moved, place.artifacts, bytes_max=150)

    assert back[0] == "x" * 100
    assert [reference.bytes for reference in references_in(back)] == [100]


async def test_what_is_not_plain_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        await move_out({"big": "x" * 100, "bad": object()}, Place().keep, over_bytes=1)


@given(value=PLAIN, over_bytes=st.integers(1, 60))
def test_anything_comes_back_as_it_was(value: Any, over_bytes: int) -> None:
    async def there_and_back() -> Any:
        place = Place()
        moved = await move_out(value, place.keep, over_bytes=over_bytes)
        return await bring_back(moved, place.artifacts)

    assert pack(trio.run(there_and_back)) == pack(value)


@given(value=PLAIN)
def test_the_size_is_about_that_of_the_encoded_value(value: Any) -> None:
    assert len(pack(value)) / 6 <= size_of(value) <= len(pack(value)) * 8 + 8
