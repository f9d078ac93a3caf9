"""Every store of ours passes the checks of ownership and leases."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.conformance.ownership import (
    OWNERSHIP,
    leased_session_is_held_until_the_lease_ends,
)

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check
    from trio.testing import MockClock

every_check = pytest.mark.parametrize("check", OWNERSHIP, ids=lambda check: check.__name__)


@every_check
async def test_memory_store(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore().peer)


@every_check
async def test_memory_store_with_leases(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore(lease_seconds=10.0).peer)


@every_check
async def test_journal_store(check: Check, tmp_path: Path) -> None:
    await check(partial(JournalStore, tmp_path / "journal"))


@every_check
async def test_journal_store_that_switches_segments_all_the_time(
    check: Check, tmp_path: Path
) -> None:
    await check(partial(JournalStore, tmp_path / "journal", segment_bytes=4096))


@pytest.mark.parametrize("method", ["append", "renew", "claim"])
async def test_a_lease_that_ended_on_a_machine_that_stood_still_is_no_finding(
    method: str, autojump_clock: MockClock
) -> None:
    stood = 0

    class StandsStill(MemoryStore):
        """For the length of two leases, twice."""

    async def stand_still(self: StandsStill, *arguments: Any, **options: Any) -> Any:
        nonlocal stood
        if stood < 2 and (method != "claim" or self._owner == "second"):
            stood += 1
            await trio.sleep(8.0)
        return await getattr(MemoryStore, method)(self, *arguments, **options)

    setattr(StandsStill, method, stand_still)

    await leased_session_is_held_until_the_lease_ends(StandsStill(lease_seconds=4.0).peer)

    assert stood == 2
