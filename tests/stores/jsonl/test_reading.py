from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.errors import CorruptLog, StoreFailed, UnknownSession
from moorage.stores.conformance.scenario import Author, listed, note, notes, numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.stores import JsonlStore
    from moorage.stores.simulated_disk import SimulatedDisk


async def test_there_is_nothing_to_read_before_the_first_opening(
    new_store: Callable[..., JsonlStore], disk: SimulatedDisk
) -> None:
    disk.make_directory(new_store().path)

    with pytest.raises(StoreFailed, match="there is no store in /store"):
        async with new_store().reading():
            pass


async def test_a_reader_writes_nothing_and_leaves_a_torn_tail(
    opened: Any,
    new_store: Callable[..., JsonlStore],
    disk: SimulatedDisk,
    log_of: Callable[[str], Path],
) -> None:
    async with opened() as store:
        await (await Author.of(store, "a")).write(*notes(1, 3))
    disk.put(log_of("a"), disk.files()[log_of("a")] + b'{"seq":4')
    before = disk.files()

    async with new_store().reading() as reader:
        assert await numbers(reader, "a") == [(1, 1), (2, 2), (3, 3)]

    assert disk.files() == before


async def test_a_reader_notices_a_session_that_comes_goes_and_comes_again(opened: Any) -> None:
    async with opened() as store, store.reading() as reader:
        author = await Author.of(store, "a")
        assert await reader.info("a") is None
        await author.write(note(1))
        assert await listed(reader.sessions()) == ["a"]
        await store.delete(author.claim)
        with pytest.raises(UnknownSession):
            await reader.read("a")
        await (await Author.of(store, "a")).write(note(7))

        assert await numbers(reader, "a", after=1) == [(2, 7)]
        assert reader.statistics().sessions == 1


async def test_a_reader_notices_a_file_that_is_gone(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    async with opened() as store, store.reading() as reader:
        await (await Author.of(store, "a")).write(note(1))
        assert await reader.info("a") is not None

        disk.unlink(log_of("a"))

        assert await reader.info("a") is None


async def test_damage_is_met_by_who_waits_and_who_reads(
    opened: Any, disk: SimulatedDisk, log_of: Callable[[str], Path]
) -> None:
    async with opened() as store, store.reading() as reader:
        author = await Author.of(store, "a")
        await author.write(note(1))
        assert await numbers(reader, "a") == [(1, 1)]

        async def wait() -> None:
            with trio.fail_after(60):
                await reader.wait_news("a", after=1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            while not reader.statistics().waiting:
                await trio.lowlevel.checkpoint()
            await author.write(note(2))
            await author.write(note(3))
            content = disk.files()[log_of("a")]
            disk.put(log_of("a"), content.replace(b'"number":2', b'"number":5'))
        disk.put(log_of("a"), content[:50] + content[60:])

        with pytest.raises(CorruptLog):
            await reader.read("a")


async def test_a_closed_reader_says_so(opened: Any) -> None:
    async with opened() as store:
        async with store.reading() as reader:
            pass

        for call in (
            lambda: reader.info("a"),
            lambda: reader.cursor("a", "c"),
            lambda: reader.wait_news("a", after=0),
        ):
            with pytest.raises(StoreFailed, match="is closed"):
                await call()


async def test_what_the_block_raises_leaves_bare(opened: Any) -> None:
    async with opened() as store:
        with pytest.raises(KeyError, match="mine"):
            async with store.reading():
                raise KeyError("mine")
