"""The conformance suite sees each way of being wrong, and each of its checks can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores.broken import BROKEN_STORES
from moorage.stores.conformance import CHECKS, Nonconformance, check_store

if TYPE_CHECKING:
    from moorage.stores import MemoryStore
    from trio.testing import MockClock

_CHECKS = {check.__name__: check for check in CHECKS}
_LEASES = {"leased_session_is_held_until_the_lease_ends", "released_lease_is_free_at_once"}


def _new(broken: type[MemoryStore]) -> MemoryStore:
    return broken(lease_seconds=10.0 if BROKEN_STORES[broken] in _LEASES else None)


@pytest.mark.parametrize("broken", BROKEN_STORES, ids=lambda broken: broken.__name__)
async def test_a_broken_store_fails_its_check(
    broken: type[MemoryStore], autojump_clock: MockClock
) -> None:
    name = BROKEN_STORES[broken]

    with pytest.raises(Nonconformance, match=name):
        await _CHECKS[name](_new(broken).peer)


def test_every_check_is_failed_by_some_broken_store() -> None:
    assert set(BROKEN_STORES.values()) == set(_CHECKS)


async def test_the_report_names_each_check_and_what_it_found(autojump_clock: MockClock) -> None:
    broken = next(iter(BROKEN_STORES))

    results = await check_store(lambda: _new(broken).peer)

    assert [result.name for result in results] == list(_CHECKS)
    failed = {result.name: str(result) for result in results if not result.passed}
    assert "stale_epoch_is_refused" in failed
    assert failed["stale_epoch_is_refused"].startswith("FAILED  stale_epoch_is_refused: ")
    assert all(result.rule for result in results)
