from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CorruptLog
from moorage.runtime.ports import Snapshot
from moorage.stores.journal import JournalStore, lookup
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from moorage.runtime.ports import Claim
    from moorage.stores.journal.state import View

ROOT = Path("/journal")


class Session:
    """Session "a" of an open journal, and views of it."""

    def __init__(self, store: JournalStore, claim: Claim, info: Any) -> None:
        self.store = store
        self.claim = claim
        self._info = info
        self._head = 0

    async def write(self, type: str, run_id: str | None = None, key: str | None = None) -> int:
        self._head += 1
        record = encode_event(1, type, run_id, {"seq": self._head}, key=key)
        await self.store.append(
            self.claim, expected_seq=self._head, records=[record], info=self._info
        )
        return self._head

    async def seal(self) -> None:
        """Move what was written so far from memory to a side file."""
        await self.store.compact()

    def view(self) -> View:
        state = self.store._state()
        return state.view("a", state.directory.entries["a"])


@pytest.fixture(params=["in memory", "in side files"])
def sealed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "in side files")


@pytest.fixture
def store() -> JournalStore:
    return JournalStore(ROOT, disk=SimulatedDisk())


async def write_a_run(session: Session, *, sealed: bool) -> None:
    """Run R of key K: submitted at 2, completed at 4; run S of key L, unfinished, at 5."""
    for type, run_id, key in (
        ("note", None, None),
        ("run_submitted", "R", "K"),
        ("note", "R", None),
        ("run_completed", "R", None),
        ("run_submitted", "S", "L"),
    ):
        await session.write(type, run_id, key)
        if sealed:
            await session.seal()


async def test_runs_and_keys_are_found_wherever_they_are(
    store: JournalStore, sealed: bool, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        session = Session(store, await store.claim("a"), new_info("a"))
        await write_a_run(session, sealed=sealed)
        view = session.view()

        assert [lookup.find_run(view, run_id) for run_id in "RST"] == [(2, 4), (5, 0), (0, 0)]
        assert [lookup.find_key(view, key) for key in "KLM"] == [2, 5, 0]
        recent = [lookup.find_recent_run(view, run_id) for run_id in "RS"]
        assert recent == ([(0, 0)] * 2 if sealed else [(2, 4), (5, 0)])
        assert lookup.find_recent_key(view, "K") == (0 if sealed else 2)


async def test_a_run_that_ended_in_memory_is_found_to_have_begun_in_a_side_file(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        session = Session(store, await store.claim("a"), new_info("a"))
        await session.write("run_submitted", "R")
        await session.seal()
        await session.write("run_completed", "R")

        assert lookup.find_recent_run(session.view(), "R") == (0, 2)
        assert lookup.find_run(session.view(), "R") == (1, 2)


async def test_a_run_whose_id_is_used_again_is_not_ended_by_its_former_life(
    store: JournalStore, sealed: bool, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        session = Session(store, await store.claim("a"), new_info("a"))
        await write_a_run(session, sealed=sealed)
        await session.write("run_submitted", "R")

        assert lookup.find_run(session.view(), "R") == (6, 0)


async def test_the_events_of_a_run_are_loaded_and_nothing_of_a_trimmed_one(
    store: JournalStore, sealed: bool, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        session = Session(store, await store.claim("a"), new_info("a"))
        await write_a_run(session, sealed=sealed)
        found = lookup.load_stored_run(session.view(), "R", 2, 4)
        another = lookup.load_stored_run(session.view(), "T", 2, 4)
        owners = [lookup.load_key_owner(session.view(), "K", seq) for seq in (2, 5)]
        await store.trim(session.claim, 3)
        view = session.view()

        assert found is not None
        assert found.ended is not None
        assert (found.submitted.seq, found.ended.type, found.head_seq) == (2, "run_completed", 5)
        assert another is None  # two ids may share a hash
        assert owners == ["R", None]
        assert lookup.load_stored_run(view, "R", 2, 4) is None
        assert lookup.load_key_owner(view, "K", 2) is None


async def test_an_event_is_located_and_a_missing_one_is_damage(
    store: JournalStore, sealed: bool, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        session = Session(store, await store.claim("a"), new_info("a"))
        await write_a_run(session, sealed=sealed)
        view = session.view()

        for seq in range(1, 6):
            assert lookup.load_event(view, lookup.locate(view, seq), seq).data == {"seq": seq}
            assert (lookup.locate_recent(view, seq) is None) == sealed
        with pytest.raises(CorruptLog, match="seq 9 of session 'a'"):
            lookup.locate(view, 9)


async def test_an_end_that_only_files_may_know_of_is_not_ruled_out(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        session = Session(store, await store.claim("a"), new_info("a"))
        await session.write("run_submitted", "R")
        in_memory = lookup.may_have_ended(session.view(), "R", after=0)
        await session.write("note")
        await session.seal()
        only_in_files = [lookup.may_have_ended(session.view(), "R", after=seq) for seq in (1, 2)]
        await session.write("note")
        after_memory_begins = lookup.may_have_ended(session.view(), "R", after=2)
        before_memory_begins = lookup.may_have_ended(session.view(), "R", after=1)
        await session.write("run_completed", "R")
        ended = lookup.may_have_ended(session.view(), "R", after=4)

    assert in_memory is False
    assert only_in_files == [True, False]
    assert (after_memory_begins, before_memory_begins, ended) == (False, True, True)


async def test_a_snapshot_is_loaded_from_where_the_directory_says(
    store: JournalStore, sealed: bool, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        session = Session(store, await store.claim("a"), new_info("a"))
        await session.write("note")
        await store.save_snapshot(session.claim, Snapshot(1, b"state"))
        if sealed:
            await session.seal()
        view = session.view()
        place = store._state().directory.entries["a"].snapshot_place

        recent = lookup.find_recent_snapshot(view, place)
        found = recent or lookup.find_sealed_snapshot(view, place, 1)
        assert lookup.load_snapshot(view, found) == Snapshot(1, b"state")
        assert (recent is None) is sealed
        assert lookup.find_recent_snapshot(view, place + 7) is None
        for elsewhere, seq in ((place + 7, 1), (place, 2)):
            with pytest.raises(CorruptLog, match=f"the snapshot of 'a' at {seq} is missing"):
                lookup.find_sealed_snapshot(view, elsewhere, seq)
