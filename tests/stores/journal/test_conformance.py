"""JournalStore keeps the port's promises, in one segment and with a new one every few commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores.conformance import CHECKS
from moorage.stores.journal import Durability, JournalStore

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_journal_store_conforms(check: Check, tmp_path: Path) -> None:
    await check(lambda: JournalStore(tmp_path / "journal"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_journal_store_conforms_while_segments_rotate(check: Check, tmp_path: Path) -> None:
    await check(
        lambda: JournalStore(
            tmp_path / "journal", segment_bytes=4096, durability=Durability.BUFFERED
        )
    )
