"""Every store of ours passes the checks of what is refused."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.conformance.refusing import REFUSING

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check
    from trio.testing import MockClock

every_check = pytest.mark.parametrize("check", REFUSING, ids=lambda check: check.__name__)


@every_check
async def test_memory_store(check: Check, autojump_clock: MockClock) -> None:
    await check(MemoryStore().peer)


@every_check
async def test_journal_store(check: Check, tmp_path: Path) -> None:
    await check(partial(JournalStore, tmp_path / "journal"))


@every_check
async def test_journal_store_that_switches_segments_all_the_time(
    check: Check, tmp_path: Path
) -> None:
    await check(partial(JournalStore, tmp_path / "journal", segment_bytes=4096))
