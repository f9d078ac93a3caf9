"""Whether an ArtifactStore keeps the promises of the port, for anybody's.

Needs no test framework: each check is an async function over a store that is empty, and raises
AssertionError with what is wrong::

    for check in CHECKS:
        trio.run(check, MyArtifacts(...))
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from moorage.runtime.errors import InvalidArgument

from .port import ArtifactDamaged, ArtifactMissing

if TYPE_CHECKING:
    from .port import ArtifactStore

Check = Callable[["ArtifactStore"], Awaitable[None]]

CONTENTS = (b"", b"x", bytes(range(256)) * 40, b"large" * 700_000)
LARGE_PIECES = 40
PIECE = bytes(range(256)) * 1024


def _require(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


async def _read(store: ArtifactStore, key: str, sha256: str | None = None) -> bytes:
    content = bytearray()
    async with store.get(key, sha256=sha256) as pieces:
        async for piece in pieces:
            content += piece
    return bytes(content)


async def what_was_put_is_read(store: ArtifactStore) -> None:
    """Of any size, with its size and checksum, and again after it was replaced."""
    for index, content in enumerate(CONTENTS):
        key = f"s/{index}"
        stored = await store.put(key, content, media_type="text/plain")
        sha256 = hashlib.sha256(content).hexdigest()
        _require(
            (stored.key, stored.bytes, stored.sha256) == (key, len(content), sha256),
            f"stored as {stored}",
        )
        _require(stored.where, "it does not say where it is")
        _require(await _read(store, key, sha256) == content, f"{key} came back changed")
        _require(await store.size(key) == len(content), f"{key} has another size")
    await store.put("s/1", b"another")
    _require(await _read(store, "s/1") == b"another", "a second put did not replace the first")


async def streams_are_put_and_read_in_pieces(store: ArtifactStore) -> None:
    """A source is taken piece by piece, and what is read comes in pieces too."""

    async def source() -> AsyncGenerator[bytes]:
        for _ in range(LARGE_PIECES):
            yield b""
            yield PIECE

    stored = await store.put("s/stream", source())
    whole = hashlib.sha256()
    largest = count = 0
    async with store.get("s/stream", sha256=stored.sha256) as pieces:
        async for piece in pieces:
            whole.update(piece)
            largest, count = max(largest, len(piece)), count + len(piece)

    _require(whole.hexdigest() == stored.sha256, "a stream came back changed")
    _require(count == stored.bytes == LARGE_PIECES * len(PIECE), f"{count} bytes came back")
    _require(largest <= 8 * 1024 * 1024, f"a piece has {largest} bytes")


async def a_source_that_fails_leaves_nothing(store: ArtifactStore) -> None:
    """Not even what came before; and what was there stays."""

    async def source() -> AsyncGenerator[bytes]:
        for _ in range(LARGE_PIECES):
            yield PIECE
        raise KeyError("the source")

    await store.put("s/kept", b"before")
    for key in ("s/new", "s/kept"):
        try:
            await store.put(key, source())
        except KeyError:
            continue
        raise AssertionError("the source's error was swallowed")
    _require(await store.size("s/new") is None, "half an artifact is there")
    _require(await _read(store, "s/kept") == b"before", "what was there is gone")


async def a_cancelled_put_leaves_nothing(store: ArtifactStore) -> None:
    """Cancelled passes, and nothing is there."""

    async def source() -> AsyncGenerator[bytes]:
        yield PIECE
        scope.cancel()
        await trio.lowlevel.checkpoint()
        yield PIECE

    with trio.CancelScope() as scope:
        await store.put("s/cancelled", source())

    _require(scope.cancelled_caught, "Cancelled was swallowed")
    _require(await store.size("s/cancelled") is None, "half an artifact is there")


async def what_is_missing_is_told(store: ArtifactStore) -> None:
    """By get, when it is entered; it has no size; deleting it is no error."""
    try:
        await _read(store, "s/missing")
    except ArtifactMissing as error:
        _require(error.key == "s/missing", f"the error names {error.key!r}")
    else:
        raise AssertionError("a missing artifact was read")
    _require(await store.size("s/missing") is None, "a missing artifact has a size")
    await store.delete(["s/missing", "t/missing"])
    await store.delete([])


async def another_content_is_damage(store: ArtifactStore) -> None:
    """With the checksum of what should be there, reading another thing raises."""
    await store.put("s/a", b"content")
    try:
        await _read(store, "s/a", hashlib.sha256(b"other").hexdigest())
    except ArtifactDamaged as error:
        _require(error.key == "s/a", f"the error names {error.key!r}")
    else:
        raise AssertionError("another content was taken")


async def deleted_artifacts_are_gone_and_others_stay(store: ArtifactStore) -> None:
    """Several at once, and twice."""
    for key in ("s/a", "s/b", "s/c", "t/a"):
        await store.put(key, key.encode())
    await store.delete(["s/a", "s/c"])
    await store.delete(["s/a"])

    found = [listed.key async for listed in store.contents()]
    _require(sorted(found) == ["s/b", "t/a"], f"left are {found}")
    _require(await _read(store, "t/a") == b"t/a", "another artifact was touched")
    await store.put("s/a", b"again")
    _require(await _read(store, "s/a") == b"again", "a deleted key cannot be used again")


async def listings_are_by_whole_parts(store: ArtifactStore) -> None:
    """With sizes and times; what only begins alike is not below."""
    for key, content in (("s/a", b"1"), ("s/b/c", b"22"), ("s2/a", b"333"), ("t", b"4444")):
        await store.put(key, content)

    everything = {listed.key: listed async for listed in store.contents()}
    below = [listed.key async for listed in store.contents("s")]
    none = [listed.key async for listed in store.contents("unknown")]

    sizes = {key: listed.bytes for key, listed in everything.items()}
    _require(sizes == {"s/a": 1, "s/b/c": 2, "s2/a": 3, "t": 4}, f"listed are {sizes}")
    _require(sorted(below) == ["s/a", "s/b/c"], f"below s are {below}")
    _require(none == [], f"below nothing are {none}")
    times = [listed.modified_at_ns for listed in everything.values()]
    _require(min(times) > 1_600_000_000_000_000_000, f"times are {times}")


async def bad_keys_and_sources_are_refused(store: ArtifactStore) -> None:
    """InvalidArgument, with nothing kept."""
    for key in ("", "/", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a\0b", "ü", "a" * 700, None):
        try:
            await store.put(key, b"x")  # type: ignore[arg-type]
        except InvalidArgument:
            continue
        raise AssertionError(f"the key {key!r} was taken")
    for source in ("text", None, 5, [b"x"]):
        try:
            await store.put("s/a", source)  # type: ignore[arg-type]
        except InvalidArgument:
            continue
        raise AssertionError(f"the source {source!r} was taken")
    _require([listed.key async for listed in store.contents()] == [], "something was kept")


CHECKS: tuple[Check, ...] = (
    what_was_put_is_read,
    streams_are_put_and_read_in_pieces,
    a_source_that_fails_leaves_nothing,
    a_cancelled_put_leaves_nothing,
    what_is_missing_is_told,
    another_content_is_damage,
    deleted_artifacts_are_gone_and_others_stay,
    listings_are_by_whole_parts,
    bad_keys_and_sources_are_refused,
)
