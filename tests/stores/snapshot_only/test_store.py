"""SnapshotOnlyStore keeps the promises of the port, and broken ones are found out by the suite."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from moorage.runtime.errors import CorruptLog, InvalidArgument, SessionHeld, StoreFailed
from moorage.stores import SnapshotOnlyStore
from moorage.stores.conformance import CHECKS, Content, Nonconformance
from moorage.stores.conformance.scenario import Author, note, notes, numbers, refuse
from moorage.stores.snapshot_only import FileSnapshots, MemorySnapshots

from tests.stores.snapshot_only.failing_snapshots import FailingSnapshots

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.conformance import Check, OpenStore

every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


def content(kind: type[SnapshotOnlyStore] = SnapshotOnlyStore, *, lossy: bool = False) -> Content:
    snapshots = FailingSnapshots()

    def crashed() -> OpenStore:
        found = FailingSnapshots() if lossy else snapshots.copied()
        return partial(kind, found)

    return Content(partial(kind, snapshots), crashed, snapshots.faults.append)


@every_check
async def test_it_passes_the_suite(check: Check) -> None:
    await check(content())


@every_check
async def test_it_passes_the_suite_with_files(check: Check, tmp_path: Path) -> None:
    await check(lambda: SnapshotOnlyStore(FileSnapshots(tmp_path / "s")))


class WithoutFence(SnapshotOnlyStore):
    def _fence(self, claim: Any) -> None:
        pass


class FirstEventLost(SnapshotOnlyStore):
    async def _replace(self, loaded: Any, new: Any) -> None:
        await super()._replace(loaded, attrs.evolve(new, records=new.records[-1:]))


class NoTombstones(SnapshotOnlyStore):
    async def _note_existence(self, session_id: str, *, exists: bool, head: int = 0) -> None:
        await super()._note_existence(session_id, exists=exists, head=0)


class AppliedFirst(SnapshotOnlyStore):
    async def _replace(self, loaded: Any, new: Any) -> None:
        loaded.kept, loaded.log = new, new.log()
        await super()._replace(loaded, new)


class NeverPoisoned(SnapshotOnlyStore):
    async def _save(self, *arguments: Any) -> None:
        try:
            await super()._save(*arguments)
        finally:
            self._poison = None


BROKEN = {
    WithoutFence: "stale_epoch_is_refused",
    FirstEventLost: "everything_is_there_after_a_restart",
    NoTombstones: "deleted_id_continues_above_its_last_seq",
    AppliedFirst: "undone_append_may_be_tried_again",
    NeverPoisoned: "poisoned_store_is_read_only",
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_one_is_found_out(kind: type[SnapshotOnlyStore]) -> None:
    check = next(check for check in CHECKS if check.__name__ == BROKEN[kind])

    with pytest.raises(Nonconformance, match=BROKEN[kind]):
        await check(content(kind))


async def test_one_whose_saves_are_not_durable_is_found_out() -> None:
    check = next(check for check in CHECKS if check.__name__ == "acknowledged_outlives_a_crash")

    with pytest.raises(Nonconformance):
        await check(content(lossy=True))


async def test_every_append_saves_the_whole_session_and_reading_loads_it_once() -> None:
    snapshots = FailingSnapshots()
    store = SnapshotOnlyStore(snapshots)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        for number in range(1, 11):
            await author.write(note(number))
        before, loads = store.statistics(), snapshots.loads
        await author.write(note(11))
        assert len(await numbers(store, "a")) == 11

        after = store.statistics()
        assert after.saves - before.saves == 1
        assert after.saved_bytes - before.saved_bytes == len(snapshots._kept["a"])
        assert snapshots.loads == loads
        await store.release(author.claim)
        assert store.statistics().loaded == 0


async def test_a_session_that_cannot_be_loaded_is_not_taken_for_a_new_one() -> None:
    snapshots = FailingSnapshots()
    store = SnapshotOnlyStore(snapshots)
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "a")
        await author.write(*notes(1, 3))
        await store.release(author.claim)
        snapshots.blind = True

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(_claim_or_fail, store)

        assert await numbers(store, "a") == [(1, 1), (2, 2), (3, 3)]
        snapshots._kept["a"] = b"MOORSNAP" + snapshots._kept["a"][8:-1]
        await store.release(await store.claim("a"))
        with pytest.raises(CorruptLog):
            await store.claim("a")


async def _claim_or_fail(store: SnapshotOnlyStore) -> None:
    try:
        claim = await store.claim("a")
    except StoreFailed:
        return
    assert claim.head_seq == 3


async def test_the_name_of_the_index_is_taken() -> None:
    store = SnapshotOnlyStore(MemorySnapshots())
    async with store.opened(owner="t", deliver=refuse):
        author = await Author.of(store, "moorage.sessions")
        with pytest.raises(InvalidArgument, match="that of the index"):
            await author.write(note(1))


async def test_a_second_opening_in_this_process_is_refused(tmp_path: Path) -> None:
    async with SnapshotOnlyStore(FileSnapshots(tmp_path)).opened(owner="first", deliver=refuse):
        with pytest.raises(SessionHeld, match=r"first \(process"):
            async with SnapshotOnlyStore(FileSnapshots(tmp_path)).opened(owner="t", deliver=refuse):
                pass


def test_what_has_not_the_three_methods_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="dict has no load, save"):
        SnapshotOnlyStore({})  # type: ignore[arg-type]


async def test_an_opening_that_fails_can_be_tried_again() -> None:
    snapshots = FailingSnapshots()
    snapshots.blind = True
    with pytest.raises(StoreFailed, match="a bad sector"):
        async with SnapshotOnlyStore(snapshots).opened(owner="t", deliver=refuse):
            pass

    async with SnapshotOnlyStore(snapshots).opened(owner="t", deliver=refuse):
        pass


async def test_what_the_block_raises_leaves_bare() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with SnapshotOnlyStore(MemorySnapshots()).opened(owner="t", deliver=refuse):
            raise KeyError("mine")
