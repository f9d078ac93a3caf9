from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.errors import CorruptLog, StoreFailed, UnknownSession
from moorage.stores.journal import Durability, JournalStore
from moorage.stores.simulated_disk import SimulatedDisk

from tests.stores.journal.open_files import open_files

if TYPE_CHECKING:
    from moorage.stores.simulated_disk import Operation

ROOT = Path("/journal")
SEGMENT = ROOT / "segments" / "00000001.log"


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


async def test_a_reader_follows_a_live_owner_over_segments_compaction_and_restarts(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        await scribe.write(store, 5)
        async with store.reading() as reader:
            for _ in range(6):
                await scribe.write(store, 25)
                await scribe.check(reader)
            await scribe.rotated(store, 2)
            await scribe.check(reader)
            await store.compact()
            await scribe.check(reader)
    async with JournalStore(ROOT, disk=disk).reading() as reader:
        for _ in range(2):
            async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
                await scribe.check(reader)
                await scribe.write(store, 30)
                await scribe.check(reader)
            await scribe.check(reader)


async def test_a_reader_takes_no_lock_and_writes_nothing(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.write(store, 10)
    before, operations = disk.files(), len(disk.operations)

    async with JournalStore(ROOT, disk=disk).reading() as reader:
        await scribe.check(reader)
        assert not disk.locked

    assert disk.files() == before
    assert len(disk.operations) == operations


async def test_a_reader_never_sees_what_is_written_but_not_durable(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    seen: list[int] = []
    async with (
        open_store(JournalStore(ROOT, disk=disk)) as store,
        store.reading() as follower,
    ):
        await scribe.append(store, "a", count=1)
        assert (await follower.read("a")).head_seq == 1

        async def look() -> None:
            seen.append((await follower.read("a")).head_seq)
            async with store.reading() as newcomer:
                seen.append((await newcomer.read("a")).head_seq)

        def before_sync(disk: SimulatedDisk, operation: Operation, done: bool) -> None:
            if operation.kind == "sync" and not done:
                disk.mutex.release()
                trio.from_thread.run(look)
                disk.mutex.acquire()

        disk.watch = before_sync
        await scribe.append(store, "a", count=1)
        disk.watch = None
        assert seen == [1, 1]
        assert (await follower.read("a")).head_seq == 2


@pytest.mark.parametrize("durability", list(Durability))
async def test_a_reader_without_an_owner_reads_what_the_next_owner_would_keep(
    disk: SimulatedDisk, durability: Durability, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk, durability=durability)) as store:
        await scribe.write(store, 20)
        killed = disk.crashed(lambda _: 0)
    content = killed.files()[SEGMENT]
    killed.put(SEGMENT, content + b"torn")
    killed.unlink(ROOT / "DURABLE")

    async with JournalStore(ROOT, disk=killed).reading() as reader:
        await scribe.check(reader)

    assert killed.files()[SEGMENT] == content + b"torn"


async def test_a_reader_refuses_a_damaged_log(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.write(store, 20)
        killed = disk.crashed(lambda _: 0)
    content = bytearray(killed.files()[SEGMENT])
    content[200] ^= 1
    killed.put(SEGMENT, bytes(content))

    with pytest.raises(CorruptLog):
        async with JournalStore(ROOT, disk=killed).reading():
            pass


async def test_there_is_nothing_to_read_before_the_first_owner(disk: SimulatedDisk) -> None:
    with pytest.raises(StoreFailed, match="there is no journal in /journal"):
        async with JournalStore(ROOT, disk=disk).reading():
            pass


async def test_news_of_appends_ends_and_deletes_reach_a_reader(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with (
        open_store(JournalStore(ROOT, disk=disk)) as store,
        store.reading() as reader,
    ):
        await scribe.append(store, "a", count=1)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: reader.wait_news("a", after=1))
                await trio.testing.wait_all_tasks_blocked()
                await scribe.append(store, "a", count=1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: reader.wait_news("a", after=2))
                await trio.testing.wait_all_tasks_blocked()
                await store.delete(scribe.claims["a"])
        with pytest.raises(UnknownSession):
            await reader.read("a")


async def test_every_call_after_the_end_says_that_the_reader_is_closed(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
        async with store.reading() as reader:
            pass

    with pytest.raises(StoreFailed, match="is closed"):
        await reader.read("a")
    with pytest.raises(StoreFailed, match="is closed"):
        reader.statistics()


@pytest.mark.parametrize("left", ["rewritten", "removed"])
async def test_an_idle_reader_misses_nothing_of_segments_that_were_compacted_meanwhile(
    left: str, disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    store = JournalStore(ROOT, disk=disk, segment_bytes=65536)
    async with open_store(store), store.reading() as reader:
        await scribe.append(store, "large", count=500)
        for session_id in ("deleted", "trimmed"):
            await scribe.append(store, session_id, count=20)
        await scribe.check(reader)
        await store.compact()  # a rotation, and nothing to rewrite
        if left == "rewritten":
            await scribe.append(store, "large", count=40)
        await store.delete(scribe.claims.pop("deleted"))
        scribe.logs["deleted"] = type(scribe.logs["deleted"])(head=20, oldest=21)
        await store.trim(scribe.claims["trimmed"], 15)
        scribe.logs["trimmed"].oldest = 15
        await store.save_cursor("trimmed", "reader", 16)
        scribe.logs["trimmed"].cursors["reader"] = 16
        before = store.statistics()
        await store.compact()
        assert store.statistics().compactions > before.compactions
        assert SEGMENT in disk.files()  # what the reader was reading in is still there
        await scribe.append(store, "large", count=1)

        await scribe.check(reader)


async def test_a_reader_follows_plain_rotations_without_loading_everything_again(
    disk: SimulatedDisk, scribe: Any, open_store: Any
) -> None:
    store = JournalStore(ROOT, disk=disk, segment_bytes=4096)
    async with open_store(store), store.reading() as reader:
        await scribe.append(store, "session-0", count=1)
        await scribe.check(reader)
        await scribe.fill(store, 2)

        await scribe.check(reader)

        assert reader.statistics().loads == 1


async def test_an_idle_reader_does_not_keep_what_was_compacted_away(
    tmp_path: Path, scribe: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorage.stores.journal.reading.DROP_SECONDS", 0.0)
    store = JournalStore(tmp_path, segment_bytes=4096)
    async with open_store(store), store.reading() as reader:
        await scribe.fill(store)
        await scribe.check(reader)
        for session_id, claim in scribe.claims.items():
            await store.trim(claim, scribe.logs[session_id].head)
            scribe.logs[session_id].oldest = scribe.logs[session_id].head

        await store.compact()

        with trio.fail_after(60):
            while any(target.endswith("(deleted)") for target in open_files(tmp_path)):
                await trio.sleep(0.01)
        await scribe.check(reader)
