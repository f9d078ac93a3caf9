"""Two stores have the same, or the first thing that is not is named."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from moorage.runtime.ports import Snapshot
from moorage.stores import MemoryStore
from moorage.stores.comparing import (
    PAGE_BYTES,
    PAGE_EVENTS_MAX,
    Pacing,
    difference,
    first_difference,
    first_seq,
    same_event,
)
from moorage.stores.conformance.scenario import Author, facts, note, notes, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime.ports import Record


@pytest.fixture
async def stores() -> AsyncIterator[tuple[MemoryStore, MemoryStore]]:
    async with AsyncExitStack() as stack:
        one, other = MemoryStore(), MemoryStore()
        for store in (one, other):
            await stack.enter_async_context(opened(lambda store=store: store))  # type: ignore[misc]
        yield one, other


async def write(store: MemoryStore, *records: Record, **info: Any) -> Author:
    author = await Author.of(store, "a")
    await author.write(*records, info=facts("a", **info))
    return author


async def told(one: MemoryStore, other: MemoryStore) -> str | None:
    info = await one.info("a")
    assert info is not None
    return await difference(one, other, info)


async def test_the_same_is_the_same(stores: tuple[MemoryStore, MemoryStore]) -> None:
    for store in stores:
        author = await write(store, *notes(1, 2_500), tags={"t": "v"})
        await store.save_snapshot(author.claim, Snapshot(9, b"state"))
        await store.save_cursor("a", "c", 7)
        await store.trim(author.claim, 5)

    assert await told(*stores) is None
    assert await first_seq(stores[0], "a") == 5


async def test_what_came_later_is_left_out(stores: tuple[MemoryStore, MemoryStore]) -> None:
    for store in stores:
        await write(store, *notes(1, 3))
    info = await stores[0].info("a")
    author = await write(stores[0], note(4), summary="later")
    await stores[0].save_snapshot(author.claim, Snapshot(4, b"later"))

    assert info is not None
    assert await difference(stores[0], stores[1], info) is None


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("missing", "not there"),
        ("info", "its info"),
        ("event", "seq 1500"),
        ("snapshot", "snapshot"),
        ("cursor", "cursor 'c'"),
        ("trim", "begins at seq 3"),
    ],
)
async def test_the_first_difference_is_named(
    stores: tuple[MemoryStore, MemoryStore], what: str, reason: str
) -> None:
    one, other = stores
    for store in stores:
        changed = store is other
        if changed and what == "missing":
            continue
        records = notes(1, 2_000)
        if changed and what == "event":
            records[1_499] = note(1_500, data={"number": 1500.0})
        author = await write(
            store, *records, summary="another" if changed and what == "info" else "s"
        )
        await store.save_snapshot(
            author.claim, Snapshot(9, b"another" if changed and what == "snapshot" else b"state")
        )
        await store.save_cursor("a", "c", 8 if changed and what == "cursor" else 7)
        if changed and what == "trim":
            await store.trim(author.claim, 3)

    assert reason in (await told(one, other) or "")


async def test_an_event_that_is_missing_is_a_difference(
    stores: tuple[MemoryStore, MemoryStore],
) -> None:
    await write(stores[0], *notes(1, 5))
    await write(stores[1], *notes(1, 3))

    assert await first_difference(*stores, "a", first=1, last=5) == 4
    assert await first_difference(*stores, "a", first=1, last=3) is None


async def test_events_are_the_same_with_their_types(
    stores: tuple[MemoryStore, MemoryStore],
) -> None:
    await write(stores[0], note(1, metadata={"m": 1}))
    (event,) = (await stores[0].read("a")).events

    assert same_event(event, attrs.evolve(event))
    for change in (
        {"data": {"number": True}},
        {"metadata": None},
        {"version": 2},
        {"run_id": "r"},
        {"time_ns": 1},
        {"type": "x"},
        {"seq": 2},
    ):
        assert not same_event(event, attrs.evolve(event, **change))


def test_pages_grow_for_small_events_and_shrink_for_large_ones() -> None:
    small, large = 50, PAGE_BYTES
    pacing = Pacing()

    limits = []
    for page in ([small], [small], [small], [], [large], [small, large]):
        pacing.seen(len(page), sum(page))
        limits.append(pacing.limit)

    assert limits == [128, 1_024, PAGE_EVENTS_MAX, PAGE_EVENTS_MAX, 1, 1]


async def test_keys_in_another_order_are_the_same(stores: tuple[MemoryStore, MemoryStore]) -> None:
    await write(stores[0], note(1, data={"a": 1, "b": 2}))
    await write(stores[1], note(1, data={"b": 2, "a": 1}))

    assert await first_difference(*stores, "a", first=1, last=1) is None
