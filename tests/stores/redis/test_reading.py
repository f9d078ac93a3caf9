from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import StoreFailed
from moorage.stores.conformance.scenario import (
    Author,
    listed,
    note,
    notes,
    numbers,
    read_all,
    refuse,
)
from moorage.stores.redis import reading as module

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.stores import RedisStore


async def test_a_page_of_an_unselective_filter_is_bounded(
    new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SCAN_RECORDS_MAX", 10)
    store = new_store()
    async with store.opened(owner="t", deliver=refuse):
        await (await Author.of(store, "a")).write(*notes(1, 25), note(26, "rare"))

        page = await store.read("a", types=frozenset({"rare"}))
        assert (page.events, page.scanned_to) == ([], 10)
        for backwards in (False, True):
            (event,) = await read_all(store, "a", types=frozenset({"rare"}), backwards=backwards)
            assert event.seq == 26
        assert await read_all(store, "a", types=frozenset()) == []


async def test_a_listing_asks_for_many_sessions_in_turn(
    new_store: Callable[..., RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LISTED_AT_ONCE", 3)
    store = new_store()
    async with store.opened(owner="t", deliver=refuse):
        for number in range(8):
            await (await Author.of(store, f"s{number}")).write(note(number))

        assert await listed(store.sessions()) == [f"s{number}" for number in reversed(range(8))]


async def test_a_reader_beside_reads_and_is_closed_at_the_end(
    new_store: Callable[..., RedisStore],
) -> None:
    store = new_store()
    async with store.opened(owner="t", deliver=refuse):
        await (await Author.of(store, "a")).write(*notes(1, 3))
    async with new_store().reading() as reader:
        assert await numbers(reader, "a") == [(1, 1), (2, 2), (3, 3)]
        assert reader.statistics().waiting == 0

    with pytest.raises(StoreFailed, match="is closed"):
        await reader.read("a")


async def test_names_that_are_no_text_are_names_of_nothing(
    new_store: Callable[..., RedisStore],
) -> None:
    store = new_store()
    async with store.opened(owner="t", deliver=refuse):
        assert await store.info("\ud800") is None
        assert await store.find_key("a", "\ud800") is None
        assert await store.find_run("\ud800", "r") is None
