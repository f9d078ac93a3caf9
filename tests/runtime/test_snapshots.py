"""When a snapshot is due, and which failures to save one are harmless."""

from __future__ import annotations

from typing import Any, cast

import pytest
from moorage.runtime import StoreFailed
from moorage.runtime.codec import decode_struct
from moorage.runtime.events import Event
from moorage.runtime.image import SessionImage
from moorage.runtime.ports import Claim, Snapshot, Store
from moorage.runtime.snapshots import (
    LEAVING_CHANGES_MAX,
    QUIET_EVENTS_MAX,
    SnapshotKeeper,
    unless_nothing_written,
)
from moorage.runtime.steps import Step
from moorage.runtime.turns import Batch

CLAIM = Claim("s", epoch=1, head_seq=7, oldest_seq=1, info=None, snapshot=None)
CHANGES_MAX = 100


class WritingStore:
    """Notes each write in order; the writes named in ``errors`` raise theirs instead."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, Any]] = []
        self.errors: dict[str, BaseException] = {}

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        self._write("save_snapshot", snapshot)

    async def trim(self, claim: Claim, before: int) -> None:
        self._write("trim", before)

    def _write(self, name: str, what: Any) -> None:
        if name in self.errors:
            raise self.errors[name]
        self.writes.append((name, what))


@pytest.fixture
def store() -> WritingStore:
    return WritingStore()


@pytest.fixture
def keeper(store: WritingStore) -> SnapshotKeeper:
    return SnapshotKeeper(cast("Store", store), CHANGES_MAX)


def batch(*, changes: int = 0, others: int = 0) -> Batch:
    """A durable batch with so many events that change state, and others that do not."""
    batch = Batch(1)
    events = [Event("s", seq, 1, "run_started", "A", {}, None) for seq in range(1, changes + 1)]
    batch.absorb(Step(events, []))
    batch.records += [cast("Any", None)] * others
    return batch


def image(head_seq: int = 7) -> SessionImage:
    return SessionImage("s", head_seq=head_seq)


NOTHING_WRITTEN = StoreFailed("no space left on device", written=False)
HARMFUL: list[BaseException] = [
    StoreFailed("connection lost"),
    StoreFailed("connection lost", written=True),
    StoreFailed("sync failed", written=False, poisoned=True),
    RuntimeError("a defect"),
]


def test_a_snapshot_is_due_after_so_many_changes(keeper: SnapshotKeeper) -> None:
    keeper.note(batch(changes=CHANGES_MAX - 1))
    before = keeper.due()
    keeper.note(batch(changes=1))

    assert (before, keeper.due()) == (False, True)


def test_events_that_change_nothing_make_one_due_much_later(keeper: SnapshotKeeper) -> None:
    keeper.note(batch(others=QUIET_EVENTS_MAX - 1))
    before = keeper.due()
    keeper.note(batch(others=1))

    assert (before, keeper.due()) == (False, True)


def test_a_worker_that_leaves_saves_one_earlier_but_not_for_little(keeper: SnapshotKeeper) -> None:
    keeper.note(batch(changes=LEAVING_CHANGES_MAX))
    little = keeper.due(leaving=True)
    keeper.note(batch(changes=1))

    assert (little, keeper.due(leaving=True), keeper.due()) == (False, True, False)


@pytest.mark.parametrize(
    ("snapshot", "due"), [(None, True), (Snapshot(1, b""), True), (Snapshot(2, b""), False)]
)
def test_events_that_had_to_be_replayed_count(
    keeper: SnapshotKeeper, snapshot: Snapshot | None, due: bool
) -> None:
    keeper.recalled(QUIET_EVENTS_MAX + 1, snapshot)

    assert keeper.due() is due


async def test_saving_stores_the_image_at_its_head_and_starts_counting_anew(
    keeper: SnapshotKeeper, store: WritingStore
) -> None:
    keeper.note(batch(changes=CHANGES_MAX, others=QUIET_EVENTS_MAX))

    failure = await keeper.save(CLAIM, image(7))

    [(name, snapshot)] = store.writes
    assert (failure, name, snapshot.seq) == (None, "save_snapshot", 7)
    assert decode_struct(snapshot.body, SessionImage) == image(7)
    assert (keeper.due(), keeper.due(leaving=True)) == (False, False)


async def test_a_save_that_left_nothing_behind_is_told_and_stays_due(
    keeper: SnapshotKeeper, store: WritingStore
) -> None:
    store.errors["save_snapshot"] = NOTHING_WRITTEN
    keeper.note(batch(changes=CHANGES_MAX))

    failure = await keeper.save(CLAIM, image())

    assert failure is NOTHING_WRITTEN
    assert keeper.due()


@pytest.mark.parametrize("error", HARMFUL, ids=repr)
async def test_any_other_failure_to_save_is_raised(
    keeper: SnapshotKeeper, store: WritingStore, error: BaseException
) -> None:
    store.errors["save_snapshot"] = error

    with pytest.raises(type(error)) as raised:
        await keeper.save(CLAIM, image())

    assert raised.value is error


async def test_trimming_saves_a_snapshot_first(keeper: SnapshotKeeper, store: WritingStore) -> None:
    answer = await keeper.trim(CLAIM, image(7), 5)

    assert answer == 5
    assert [name for name, _ in store.writes] == ["save_snapshot", "trim"]
    assert store.writes[1] == ("trim", 5)


async def test_nothing_is_trimmed_when_the_snapshot_could_not_be_saved(
    keeper: SnapshotKeeper, store: WritingStore
) -> None:
    store.errors["save_snapshot"] = NOTHING_WRITTEN

    answer = await keeper.trim(CLAIM, image(), 5)

    assert answer is NOTHING_WRITTEN
    assert store.writes == []


async def test_a_trim_that_left_nothing_behind_is_answered_with_its_failure(
    keeper: SnapshotKeeper, store: WritingStore
) -> None:
    store.errors["trim"] = NOTHING_WRITTEN

    answer = await keeper.trim(CLAIM, image(), 5)

    assert answer is NOTHING_WRITTEN


async def test_a_write_that_succeeds_has_no_failure() -> None:
    async def write() -> None:
        pass

    assert await unless_nothing_written(write()) is None
