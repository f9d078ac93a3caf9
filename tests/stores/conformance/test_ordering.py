"""Stores of ours pass the checks of sessions in an order, also those that have none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from moorage.stores import JournalStore, MemoryStore, SqliteStore
from moorage.stores.broken.ordering import Ordered
from moorage.stores.conformance.ordering import ORDERING

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check
    from trio.testing import MockClock

every_check = pytest.mark.parametrize("check", ORDERING, ids=lambda check: check.__name__)


@every_check
async def test_memory_store_has_no_order(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore().peer)


@every_check
async def test_what_broken_stores_are_made_of(check: Check, autojump_clock: MockClock) -> None:
    await check(Ordered().peer)


@every_check
async def test_journal_store(check: Check, tmp_path: Path) -> None:
    await check(partial(JournalStore, tmp_path / "journal"))


@every_check
async def test_sqlite_store(check: Check, tmp_path: Path) -> None:
    await check(partial(SqliteStore, tmp_path / "store.db"))
