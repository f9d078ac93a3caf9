"""A store of ours with leases passes the checks of nodes, and so do wrappers around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores import MemoryStore
from moorage.stores.conformance.placing import PLACING
from moorage.stores.faults import FaultyStore

if TYPE_CHECKING:
    from moorage.stores.conformance import Check
    from trio.testing import MockClock

every_check = pytest.mark.parametrize("check", PLACING, ids=lambda check: check.__name__)


@every_check
async def test_memory_store(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore(lease_seconds=10.0).peer)


@every_check
async def test_memory_store_without_leases(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore().peer)


@every_check
async def test_a_store_wrapped_to_fail(check: Check, autojump_clock: MockClock) -> None:
    inner = MemoryStore(lease_seconds=10.0)
    await check(lambda: FaultyStore(inner.peer(), {}))
