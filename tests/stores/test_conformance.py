"""Each store passes each check of the conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores import MemoryStore
from moorage.stores.conformance import CHECKS

if TYPE_CHECKING:
    from moorage.stores.conformance import Check
    from trio.testing import MockClock


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_memory_store(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore().peer)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_memory_store_with_leases(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore(lease_seconds=10.0).peer)
