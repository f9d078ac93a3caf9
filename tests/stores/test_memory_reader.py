"""A reader on a MemoryStore's content, as far as the conformance suite cannot see it."""

from __future__ import annotations

import pytest
import trio
from moorage.runtime.errors import StoreFailed
from moorage.stores import MemoryStore
from moorage.stores.conformance.scenario import Author, listed, note, notes, numbers, opened
from trio.testing import wait_all_tasks_blocked


async def test_a_reader_works_before_beside_and_after_its_owner() -> None:
    store = MemoryStore()
    async with store.reading() as reader:
        assert await reader.info("a") is None
        async with opened(lambda: store):
            await (await Author.of(store, "a")).write(note(1))
            assert await numbers(reader, "a") == [(1, 1)]
        assert await numbers(reader, "a") == [(1, 1)]
    with pytest.raises(StoreFailed, match="not open"):
        await reader.info("a")


async def test_closing_a_reader_wakes_those_who_wait_through_it_and_nobody_else() -> None:
    store = MemoryStore()
    async with opened(lambda: store), trio.open_nursery() as nursery:
        await (await Author.of(store, "a")).write(note(1))
        async with store.reading() as reader:

            async def wait(there: object) -> None:
                await there.wait_news("a", after=1)  # type: ignore[attr-defined]

            nursery.start_soon(wait, store)
            nursery.start_soon(wait, reader)
            await wait_all_tasks_blocked()
            assert reader.statistics().waiting == 1
            assert store.statistics().waiting == 1
        await wait_all_tasks_blocked()

        assert reader.statistics().waiting == 0
        assert store.statistics().waiting == 1
        nursery.cancel_scope.cancel()


async def test_a_long_read_and_a_long_listing_let_others_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with opened(MemoryStore) as store, trio.open_nursery() as nursery:
        author = await Author.of(store, "a")
        await author.write(*notes(1, 1000))
        for index in range(200):
            await (await Author.of(store, f"s{index}")).write(note(index))
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()

        before = turns
        for _ in range(10):
            await store.read("a", limit=1000)
        assert turns - before >= 9
        before = turns
        await listed(store.sessions())
        assert turns - before >= 2
        nursery.cancel_scope.cancel()


async def test_what_the_block_raises_leaves_bare() -> None:
    problem = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with MemoryStore().reading():
            raise problem

    assert caught.value is problem
