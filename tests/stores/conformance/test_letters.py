"""Every store of ours passes the checks of commands that come from other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores import MemoryStore
from moorage.stores.conformance.letters import LETTERS
from moorage.stores.encryption import EncryptedStore, KeyRing, MemoryVault

if TYPE_CHECKING:
    from moorage.stores.conformance import Check
    from trio.testing import MockClock

every_check = pytest.mark.parametrize("check", LETTERS, ids=lambda check: check.__name__)


@every_check
async def test_memory_store(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore().peer)


@every_check
async def test_memory_store_with_leases(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore(lease_seconds=10.0).peer)


@every_check
async def test_encrypted_store(check: Check, autojump_clock: MockClock) -> None:
    inner, vault = MemoryStore(lease_seconds=10.0), MemoryVault()
    ring = KeyRing.generate("k1")
    await check(lambda: EncryptedStore(inner.peer(), ring, vault))
