from __future__ import annotations

import pytest
import trio
from moorage.runtime.errors import StoreFailed
from moorage.stores import SnapshotOnlyStore
from moorage.stores.conformance.scenario import Author, listed, note, numbers, refuse
from moorage.stores.snapshot_only import MemorySnapshots


async def test_a_reader_needs_no_owner_and_writes_nothing() -> None:
    snapshots = MemorySnapshots()
    store = SnapshotOnlyStore(snapshots)
    async with store.opened(owner="t", deliver=refuse):
        await (await Author.of(store, "a")).write(note(1))
    before = dict(snapshots._kept)

    async with SnapshotOnlyStore(snapshots).reading() as reader:
        assert await numbers(reader, "a") == [(1, 1)]
        assert await listed(reader.sessions()) == ["a"]

    assert snapshots._kept == before


async def test_a_snapshot_that_a_crash_left_of_a_deleted_session_is_not_read() -> None:
    snapshots = MemorySnapshots()
    store = SnapshotOnlyStore(snapshots)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(note(1))
        body = snapshots.load("a")
        assert body is not None
        await store.delete(author.claim)
        snapshots.save("a", body)

        async with store.reading() as reader:
            assert await reader.info("a") is None


async def test_a_closed_reader_says_so() -> None:
    async with SnapshotOnlyStore(MemorySnapshots()).reading() as reader:
        pass

    with pytest.raises(StoreFailed, match="is closed"):
        await reader.info("a")
    with pytest.raises(StoreFailed, match="is closed"), trio.fail_after(60):
        await reader.wait_news("a", after=0)
