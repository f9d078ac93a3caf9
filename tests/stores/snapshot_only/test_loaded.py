from __future__ import annotations

from typing import Any

import trio
from moorage.stores import SnapshotOnlyStore
from moorage.stores.conformance.scenario import Author, note, notes, numbers, refuse
from moorage.stores.snapshot_only import MemorySnapshots


class Slow(MemorySnapshots):
    """Loads and saves take a second of trio's time."""

    async def load(self, session_id: str) -> bytes | None:  # type: ignore[override]
        await trio.sleep(1)
        return super().load(session_id)

    async def save(self, session_id: str, snapshot: bytes) -> None:  # type: ignore[override]
        await trio.sleep(1)
        super().save(session_id, snapshot)


async def test_many_who_want_a_session_load_it_once(autojump_clock: Any) -> None:
    store = SnapshotOnlyStore(Slow())
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
        await store.release(author.claim)
        begin = trio.current_time()

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(numbers, store, "a")

        assert trio.current_time() - begin == 1


async def test_a_cursor_saved_while_the_session_is_let_go_of_is_kept(autojump_clock: Any) -> None:
    store = SnapshotOnlyStore(Slow())
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(note(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.save_cursor, "a", "one", 1)
            nursery.start_soon(store.save_cursor, "a", "two", 1)
            await trio.sleep(0.5)
            await store.release(author.claim)
            nursery.start_soon(_write, store)

        assert await store.cursor("a", "one") == 1
        assert await store.cursor("a", "two") == 1
        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def _write(store: SnapshotOnlyStore) -> None:
    await (await Author.of(store, "a")).write(note(2))
