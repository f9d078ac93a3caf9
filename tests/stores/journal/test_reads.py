from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CorruptLog, InvalidArgument, StoreFailed, UnknownSession
from moorage.runtime.ports import Snapshot
from moorage.stores.journal import JournalStore
from moorage.stores.journal import reads as reads_module
from moorage.stores.journal import state as state_module
from moorage.stores.journal.reads import Reads
from moorage.stores.simulated_disk import SimulatedDisk
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from moorage.stores.simulated_disk import SimulatedFile

ROOT = Path("/journal")


class FailingDisk(SimulatedDisk):
    """Opening a segment file fails with ``errors``, one after the other, before it works again."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[OSError] = []

    def open(self, path: Path, *, write: bool = False) -> SimulatedFile:
        if self.errors and path.suffix == ".log":
            raise self.errors.pop(0)
        return super().open(path, write=write)


class Threads:
    """Counts the reads that were done in a thread."""

    def __init__(self, reads: Reads) -> None:
        self.count = 0
        self._in_thread = reads._in_thread
        reads._in_thread = self  # type: ignore[method-assign,assignment]

    async def __call__(self, work: Callable[[], Any]) -> Any:
        self.count += 1
        return await self._in_thread(work)


@pytest.fixture
def disk() -> FailingDisk:
    return FailingDisk()


@pytest.fixture
def store(disk: FailingDisk) -> JournalStore:
    return JournalStore(ROOT, disk=disk)


class Refreshing:
    """Reads of an open journal that count how often they had to look for the files of now."""

    def __init__(self, store: JournalStore) -> None:
        self.times = 0
        self.reads = Reads(store._state, self._refresh)
        store._state().files.close()  # files that are open need not be found

    async def _refresh(self) -> None:
        self.times += 1
        await trio.lowlevel.checkpoint()

    async def read(self) -> list[int]:
        page = await self.reads.read(
            "a", after=0, before=None, limit=10, types=None, run_id=None, backwards=False
        )
        return [event.seq for event in page.events]


async def write_a_run(store: JournalStore, info: Any) -> None:
    claim = await store.claim("a")
    submitted = encode_event(1, "run_submitted", "R", {}, key="K")
    records = [submitted, encode_event(1, "run_completed", "R", {})]
    await store.append(claim, expected_seq=1, records=records, info=info)
    await store.save_snapshot(claim, Snapshot(2, b"state"))


async def ask_everything(reads: Reads) -> list[Any]:
    page = await reads.read(
        "a", after=0, before=None, limit=10, types=None, run_id=None, backwards=False
    )
    run = await reads.find_run("a", "R")
    key = await reads.find_key("a", "K")
    snapshot = await reads.snapshot("a")
    return [len(page.events), run and (run.submitted.seq, run.head_seq), key, snapshot]


@pytest.mark.parametrize(("sealed", "threads"), [(False, 0), (True, 4)])
async def test_only_what_was_not_just_written_is_read_in_a_thread(
    store: JournalStore, new_info: Any, open_store: Any, sealed: bool, threads: int
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        if sealed:
            await store.compact()
        reads = store._opened_reads()
        counted = Threads(reads)

        answers = await ask_everything(reads)

    assert answers == [2, (1, 2), "R", Snapshot(2, b"state")]
    assert counted.count == threads


async def test_a_key_that_was_never_used_needs_no_file_while_all_is_in_memory(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        reads = store._opened_reads()
        counted = Threads(reads)
        in_memory = await reads.find_key("a", "never")
        without_files = counted.count
        await store.compact()
        in_files = await reads.find_key("a", "never")

    assert (in_memory, in_files) == (None, None)
    assert (without_files, counted.count) == (0, 1)


async def test_of_a_session_that_is_not_there_nothing_is_known(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        await store.delete(await store.claim("a"))
        reads = store._opened_reads()
        for session_id in ("a", "never"):
            assert reads.info(session_id) is None
            assert await reads.find_run(session_id, "R") is None
            assert await reads.find_key(session_id, "K") is None
            assert await reads.snapshot(session_id) is None
            assert reads.cursor(session_id, "reader") is None
            with pytest.raises(UnknownSession):
                await store.read(session_id)


async def test_a_file_that_was_compacted_away_is_looked_for_again(
    disk: FailingDisk, store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        refreshing = Refreshing(store)
        disk.errors = [FileNotFoundError("gone")] * 2

        assert await refreshing.read() == [1, 2]
        assert refreshing.times == 2


async def test_a_file_that_stays_missing_is_a_failure_and_not_an_endless_search(
    disk: FailingDisk, store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        refreshing = Refreshing(store)
        disk.errors = [FileNotFoundError("gone")] * 100

        with pytest.raises(StoreFailed, match="a file of the log is missing: gone"):
            await refreshing.read()

    assert refreshing.times == reads_module._RETRIES_MAX - 1


async def test_a_disk_that_cannot_be_read_is_a_failure_at_once(
    disk: FailingDisk, store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        refreshing = Refreshing(store)
        disk.errors = [OSError("input/output error")]

        with pytest.raises(StoreFailed, match="the log cannot be read: input/output error"):
            await refreshing.read()

    assert refreshing.times == 0


async def test_sessions_are_listed_newest_first_and_filtered(
    store: JournalStore, new_info: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads_module, "_LISTING_SLICE", 2)
    async with open_store(store):
        for session_id, changes in (
            ("a-1", {"tags": {"tenant": "x", "tier": "gold"}}),
            ("b-1", {"tags": {"tenant": "x"}}),
            ("a-2", {"tags": {"tenant": "y"}, "runs": {"queued": 1}}),
            ("a-3", {}),
        ):
            claim = await store.claim(session_id)
            info = new_info(session_id, **changes)
            await store.append(claim, expected_seq=1, records=[], info=info)
        await store.delete(claim)

        async def listed(**wanted: Any) -> list[str]:
            return [info.id async for info in store.sessions(**wanted)]

        assert await listed() == ["a-2", "b-1", "a-1"]
        assert await listed(prefix="a-") == ["a-2", "a-1"]
        assert await listed(tags={"tenant": "x"}) == ["b-1", "a-1"]
        assert await listed(tags={"tenant": "x", "tier": "gold"}) == ["a-1"]
        assert await listed(needs_worker=True) == ["a-2"]
        assert await listed(needs_worker=True, prefix="b") == []


async def test_an_info_that_cannot_be_decoded_is_damage(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        store._state().directory.entries["a"].info = b"\xc1"

        with pytest.raises(CorruptLog, match="'a'"):
            store._opened_reads().info("a")


@contextlib.asynccontextmanager
async def busy_threads(reads: Reads) -> AsyncIterator[None]:
    """All threads for reading are taken, so that what needs one waits until the block ends."""
    others = [object() for _ in range(reads_module.READ_THREADS_MAX)]
    for other in others:
        reads._threads.acquire_on_behalf_of_nowait(other)
    yield
    await wait_all_tasks_blocked()
    for other in others:
        reads._threads.release_on_behalf_of(other)


@pytest.mark.parametrize("sealed", [0, 4, 7])
async def test_a_read_that_waits_while_its_session_is_deleted_gets_what_was_there(
    store: JournalStore, new_info: Any, open_store: Any, sealed: int
) -> None:
    pages: dict[str, list[int]] = {}

    async def read(**range: Any) -> None:
        page = await store.read("a", **range)
        assert page.head_seq == 9
        pages[str(range)] = [event.seq for event in page.events]

    async with open_store(store):
        claim = await store.claim("a")
        for seq in range(1, 10):
            type = "run_submitted" if seq == 6 else "note"
            records = [encode_event(seq, type, "R" if seq % 3 == 0 else None, {})]
            await store.append(claim, expected_seq=seq, records=records, info=new_info("a"))
            if seq == sealed:
                await store.compact()
        async with trio.open_nursery() as nursery, busy_threads(store._opened_reads()):
            for range_ in ({}, {"backwards": True}, {"run_id": "R"}, {"types": frozenset({"x"})}):
                nursery.start_soon(lambda range_=range_: read(**range_))
            await wait_all_tasks_blocked()
            await store.delete(claim)
            again = await store.claim("a")
            records = [encode_event(10, "run_submitted", "R", {})]
            await store.append(again, expected_seq=10, records=records, info=new_info("a"))

    everything = list(range(1, 10))
    assert pages["{}"] == pages["{'backwards': True}"] == everything
    assert pages["{'types': frozenset({'x'})}"] == []
    assert [seq for seq in pages["{'run_id': 'R'}"] if seq >= 6] == [6, 9]


async def test_a_snapshot_that_waits_while_it_is_replaced_is_the_one_that_was_asked_for(
    store: JournalStore, new_info: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "INLINE_BYTES_MAX", 0)
    found: list[Snapshot | None] = []

    async def look() -> None:
        found.append(await store.snapshot("a"))

    async with open_store(store):
        await write_a_run(store, new_info("a"))
        claim = await store.claim("a")
        async with trio.open_nursery() as nursery, busy_threads(store._opened_reads()):
            nursery.start_soon(look)
            await wait_all_tasks_blocked()
            await store.save_snapshot(claim, Snapshot(1, b"the next"))
        async with trio.open_nursery() as nursery, busy_threads(store._opened_reads()):
            nursery.start_soon(look)
            await wait_all_tasks_blocked()
            await store.delete(claim)

    assert found == [Snapshot(2, b"state"), Snapshot(1, b"the next")]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
async def test_a_page_of_no_events_is_refused(
    store: JournalStore, new_info: Any, open_store: Any, limit: Any
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        async with store.reading() as beside:
            for reader in (store, beside):
                with pytest.raises(InvalidArgument, match="limit must be a whole number of at"):
                    await reader.read("a", limit=limit)


async def test_names_that_no_text_has_are_unknown_and_no_error(
    store: JournalStore, new_info: Any, open_store: Any
) -> None:
    async with open_store(store):
        await write_a_run(store, new_info("a"))
        await store.compact()

        assert await store.find_run("a", "\ud800") is None
        assert await store.find_key("a", "\ud800") is None
        assert (await store.read("a", run_id="\ud800")).events == []
