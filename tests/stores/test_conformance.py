"""Each store passes each check of the conformance suite."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import StoreFailed
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.conformance import CHECKS, Nonconformance
from moorage.stores.conformance.scenario import check

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check, OpenStore
    from trio.testing import MockClock

every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


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


@check
async def _hangs(open_store: OpenStore) -> None:
    """Something comes."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)


@check
async def _raises(open_store: OpenStore) -> None:
    """Nothing is
    raised."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise StoreFailed("no such disk")


async def test_a_check_that_hangs_fails_with_its_rule(autojump_clock: MockClock) -> None:
    with pytest.raises(
        Nonconformance, match=r"_hangs: nothing happened for 60 seconds\. The rule: Something comes"
    ):
        await _hangs(MemoryStore)


async def test_an_error_of_the_store_fails_the_check_bare() -> None:
    with pytest.raises(
        Nonconformance, match=r"_raises: raised StoreFailed.*The rule: Nothing is raised\."
    ) as caught:
        await _raises(MemoryStore)

    assert type(caught.value.__cause__) is StoreFailed


async def test_cancelling_a_check_is_no_finding() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await _hangs(MemoryStore)

    assert scope.cancelled_caught
