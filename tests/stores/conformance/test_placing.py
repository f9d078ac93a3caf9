"""A store of ours with leases passes the checks of nodes, and so do wrappers around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.stores import MemoryStore
from moorage.stores.conformance.placing import (
    PLACING,
    node_that_says_nothing_for_a_lease_is_gone,
)
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


class StandsStill(MemoryStore):
    """For the length of a lease, where the nodes are asked for the first time."""

    stood = 0

    async def nodes(self) -> Any:
        type(self).stood += 1
        if self.stood == 1:
            await trio.sleep(10.0)
        return await super().nodes()


async def test_a_lease_that_ended_on_a_machine_that_stood_still_is_no_finding(
    autojump_clock: MockClock,
) -> None:
    await node_that_says_nothing_for_a_lease_is_gone(StandsStill(lease_seconds=10.0).peer)

    assert StandsStill.stood == 2
