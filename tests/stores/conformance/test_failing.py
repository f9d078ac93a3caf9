"""Every store of ours passes the checks of crashes and failures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from moorage.stores import JournalStore, MemoryStore
from moorage.stores.broken.flaws import content_of
from moorage.stores.conformance import Content, Nonconformance
from moorage.stores.conformance.failing import FAILING
from moorage.stores.faults import Fault, FaultyStore
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from moorage.stores.conformance import Check, OpenStore
    from trio.testing import MockClock

ROOT = Path("/journal")

every_check = pytest.mark.parametrize("check", FAILING, ids=lambda check: check.__name__)


def journal_on(disk: SimulatedDisk, *, segment_bytes: int) -> Content:
    """A journal whose disk fails on demand, and loses all that was not synced in a crash."""
    operations = {Fault.NOT_WRITTEN: "write", Fault.POISON: "sync"}

    def open_store(disk: SimulatedDisk = disk) -> JournalStore:
        return JournalStore(ROOT, disk=disk, segment_bytes=segment_bytes)

    def crashed() -> OpenStore:
        found = disk.crashed(lambda outcomes: min(1, outcomes - 1))
        return partial(open_store, found)

    return Content(open_store, crashed, lambda fault: disk.fail(operations[fault], 1))


@every_check
async def test_memory_store(check: Check, autojump_clock: MockClock) -> None:
    await check(content_of(MemoryStore))
    await check(content_of(FaultyStore))


@every_check
async def test_journal_store(check: Check, tmp_path: Path) -> None:
    await check(partial(JournalStore, tmp_path / "journal"))


@every_check
@pytest.mark.parametrize("segment_bytes", [4096, 2**20])
async def test_journal_store_on_a_disk_that_fails(check: Check, segment_bytes: int) -> None:
    await check(journal_on(SimulatedDisk(), segment_bytes=segment_bytes))


class UnsyncedDisk(SimulatedDisk):
    """A disk that syncs nothing of what is written to a log."""

    def make_content_durable(self, path: Path, inode: object, only: object | None) -> None:
        if path.suffix != ".log":
            super().make_content_durable(path, inode, only)  # type: ignore[arg-type]


async def test_a_journal_that_is_not_synced_is_found_out() -> None:
    check = next(check for check in FAILING if check.__name__ == "acknowledged_outlives_a_crash")

    with pytest.raises(Nonconformance, match="acknowledged_outlives_a_crash"):
        await check(journal_on(UnsyncedDisk(), segment_bytes=2**20))
