from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import StoreFailed
from moorage.stores.journal import Durability, JournalStore
from moorage.stores.simulated_disk import SimulatedDisk

NOTE = encode_event(1, "note", None, {})


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


@pytest.mark.parametrize("durability", list(Durability))
async def test_what_was_written_is_counted(
    disk: SimulatedDisk, durability: Durability, new_info: Any, open_store: Any
) -> None:
    store = JournalStore(Path("/journal"), disk=disk, durability=durability)
    async with open_store(store):
        empty = store.statistics()
        for session_id in "ab":
            claim = await store.claim(session_id)
            await store.append(claim, expected_seq=1, records=[NOTE] * 3, info=new_info(session_id))
        await store.delete(claim)

        full = store.statistics()

    assert (empty.sessions, empty.commits, empty.records, empty.bytes) == (0, 0, 0, 0)
    assert (full.sessions, full.tombstones, full.claims) == (1, 1, 1)
    assert (full.commits, full.records, full.segments) == (3, 6, 1)
    assert full.syncs == (3 if durability is Durability.COMMIT else 0)
    assert full.size_bytes == empty.size_bytes + full.bytes
    assert (full.pending, full.waiting, full.commits_failed, full.poisoned) == (0, 0, 0, False)


async def test_counts_are_of_this_opening_and_sizes_of_now(
    disk: SimulatedDisk, new_info: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(Path("/journal"), disk=disk)) as store:
        claim = await store.claim("a")
        await store.append(claim, expected_seq=1, records=[NOTE], info=new_info("a"))
        before = store.statistics()

    async with open_store(JournalStore(Path("/journal"), disk=disk)) as store:
        after = store.statistics()

    assert (after.sessions, after.size_bytes) == (before.sessions, before.size_bytes)
    assert (after.commits, after.syncs, after.records, after.bytes) == (0, 0, 0, 0)


async def test_failures_are_counted_and_a_failed_sync_shows(
    disk: SimulatedDisk, new_info: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(Path("/journal"), disk=disk)) as store:
        claim = await store.claim("a")
        seen = []
        for kind in ("write", "sync"):
            disk.fail(kind, 1)
            with pytest.raises(StoreFailed):
                await store.append(claim, expected_seq=1, records=[NOTE], info=new_info("a"))
            statistics = store.statistics()
            seen.append((statistics.commits_failed, statistics.poisoned, statistics.records))

    assert seen == [(1, False, 0), (2, True, 0)]


async def test_statistics_are_of_one_moment(disk: SimulatedDisk, open_store: Any) -> None:
    async with open_store(JournalStore(Path("/journal"), disk=disk)) as store:
        statistics = store.statistics()

        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            statistics.commits = 7
