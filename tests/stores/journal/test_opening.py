from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime.errors import CorruptLog, SessionHeld, StoreFailed
from moorage.stores.journal import JournalStore, OsDisk
from moorage.stores.simulated_disk import SimulatedDisk

if TYPE_CHECKING:
    from moorage.stores.journal.disk import File, Lock

ROOT = Path("/journal")


class ReadOnlyDisk(OsDisk):
    """A file system that is mounted read-only."""

    def make_directory(self, path: Path) -> None:
        if not path.is_dir():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def create(self, path: Path) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def open(self, path: Path, *, write: bool = False) -> Any:
        if write:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return super().open(path)

    def lock(self, path: Path, holder: str) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


CHILD = """
import sys, trio
from moorage.runtime.codec import encode_event
from moorage.runtime.sessions import SessionInfo, SessionState
from moorage.stores.journal import JournalStore

async def deliver(session_id, command):
    return None

async def main():
    info = SessionInfo("a", SessionState.OPEN, {}, {}, 1, 1, 0, {})
    store = JournalStore(sys.argv[1], segment_bytes=4096)
    async with store.opened(owner="the child", deliver=deliver):
        claim = await store.claim("a")
        seq = claim.head_seq
        while True:
            seq += 1
            record = encode_event(seq, "note", None, {"seq": seq})
            await store.append(claim, expected_seq=seq, records=[record], info=info)
            print(seq, flush=True)

trio.run(main)
"""


def start_child(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
    )


def kill_after(child: subprocess.Popen[str], acknowledged: int) -> int:
    """Let the child write, kill it, and return the last seq that it said was durable."""
    assert child.stdout is not None
    last = 0
    while last < acknowledged:
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    lines = child.stdout.read().split("\n")
    child.stdout.close()
    child.wait()
    # the last line may be cut off
    return max([last, *(int(line) for line in lines[:-1])])


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    tmp_path: Path, open_store: Any
) -> None:
    acknowledged = 0
    for more in (1, 60):
        child = await trio.to_thread.run_sync(start_child, tmp_path)
        acknowledged = await trio.to_thread.run_sync(kill_after, child, acknowledged + more)

        async with open_store(JournalStore(tmp_path)) as store:
            page = await store.read("a")
            seqs = [event.seq for event in page.events]
            assert seqs == [event.data["seq"] for event in page.events]
            assert seqs == list(range(1, page.head_seq + 1))
            assert page.head_seq - acknowledged in (0, 1)
            acknowledged = page.head_seq


async def test_a_second_process_is_refused_by_name_and_may_read(
    tmp_path: Path, open_store: Any
) -> None:
    child = await trio.to_thread.run_sync(start_child, tmp_path)
    try:
        assert child.stdout is not None
        await trio.to_thread.run_sync(child.stdout.readline)

        with pytest.raises(SessionHeld) as caught:
            async with open_store(JournalStore(tmp_path)):
                pass
        assert f"the child (process {child.pid} on " in caught.value.holder
        async with JournalStore(tmp_path).reading() as reader:
            first = (await reader.read("a")).head_seq
            with trio.fail_after(60):
                await reader.wait_news("a", after=first)
            assert (await reader.read("a")).head_seq > first
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


async def test_a_read_only_directory_is_refused_with_the_remedy_and_can_be_read(
    tmp_path: Path, scribe: Any, open_store: Any
) -> None:
    async with open_store(JournalStore(tmp_path)) as store:
        await scribe.write(store, 10)

    with pytest.raises(StoreFailed, match=r"Read-only file system.+open_reader") as caught:
        async with open_store(JournalStore(tmp_path, disk=ReadOnlyDisk())):
            pass

    assert caught.value.written is False
    assert str(tmp_path) in str(caught.value)
    async with JournalStore(tmp_path, disk=ReadOnlyDisk()).reading() as reader:
        await scribe.check(reader)


class UntouchedDisk(SimulatedDisk):
    """Fails the test when anything is changed, the lock included."""

    untouchable = False

    def lock(self, path: Path, holder: str) -> Lock:
        assert not self.untouchable
        return super().lock(path, holder)

    def create(self, path: Path) -> File:  # type: ignore[override]
        assert not self.untouchable
        return super().create(path)


def with_version(content: bytes, version: int, *, header: bool) -> bytes:
    changed = bytearray(content)
    changed[8:12] = version.to_bytes(4, "little")
    if header:  # a segment's header has a checksum of its own
        checksum = zlib.crc32(changed[:60], 0x6D6F6F72)
        changed[60:64] = checksum.to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize("name", ["MANIFEST", "00000001.log"])
async def test_a_newer_format_is_refused_before_anything_is_written(
    name: str, scribe: Any, open_store: Any
) -> None:
    disk = UntouchedDisk()
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.write(store, 3)
    (path,) = [path for path in disk.files() if path.name == name]
    newer = with_version(disk.files()[path], 2, header=name != "MANIFEST")
    disk.put(path, newer)
    before, operations = disk.files(), len(disk.operations)
    disk.untouchable = name == "MANIFEST"

    with pytest.raises(StoreFailed, match=r"format version 2 .+ up to 1: nothing was changed"):
        async with open_store(JournalStore(ROOT, disk=disk)):
            pass

    after = {path: data for path, data in disk.files().items() if path.name != "LOCK"}
    assert after == {path: data for path, data in before.items() if path.name != "LOCK"}
    changes = [operation.kind for operation in disk.operations[operations:]]
    assert set(changes) <= {"sync_directory"}


async def test_a_log_without_its_manifest_is_not_taken_for_a_new_one(
    scribe: Any, open_store: Any
) -> None:
    disk = SimulatedDisk()
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.write(store, 3)
    disk.unlink(ROOT / "MANIFEST")

    with pytest.raises(CorruptLog, match=r"MANIFEST.+ missing, but there is 00000001"):
        async with open_store(JournalStore(ROOT, disk=disk)):
            pass


async def test_many_short_lives_leave_no_more_files_than_one(scribe: Any, open_store: Any) -> None:
    disk = SimulatedDisk()
    counts = set()
    for _ in range(10):
        async with open_store(JournalStore(ROOT, disk=disk)) as store:
            await scribe.write(store, 3)
        counts.add(len(disk.files()))

    assert len(counts) == 1


async def test_a_life_in_which_nothing_happened_writes_two_manifests_and_no_more(
    scribe: Any, open_store: Any
) -> None:
    disk = SimulatedDisk()
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.write(store, 3)
    before = {path for path in disk.files() if path.name != "LOCK"}
    created = disk.counts["create"]

    async with open_store(JournalStore(ROOT, disk=disk)):
        pass

    assert {path for path in disk.files() if path.name != "LOCK"} == before
    assert disk.counts["create"] - created == 2


async def test_epochs_rise_from_life_to_life(open_store: Any) -> None:
    disk = SimulatedDisk()
    epochs = []
    for _ in range(3):
        async with open_store(JournalStore(ROOT, disk=disk)) as store:
            epochs += [(await store.claim("a")).epoch, (await store.claim("a")).epoch]

    assert epochs == sorted(set(epochs))


async def test_an_older_manifest_is_refused_before_anything_is_removed(
    scribe: Any, open_store: Any
) -> None:
    disk = SimulatedDisk()
    older = []
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        for rotations in range(1, 3):
            await scribe.append(store, "a", count=1)
            older.append(disk.files()[ROOT / "MANIFEST"])
            while store.statistics().rotations < rotations:
                await scribe.append(store, "a", count=4)
    newest = disk.files()[ROOT / "MANIFEST"]

    for manifest in older:
        disk.put(ROOT / "MANIFEST", manifest)
        before, operations = disk.files(), len(disk.operations)
        with pytest.raises(CorruptLog, match="it is older than DURABLE, which knows segment"):
            async with open_store(JournalStore(ROOT, disk=disk)):
                pass
        assert disk.files().keys() == before.keys()
        assert {one.kind for one in disk.operations[operations:]} <= {"sync_directory"}

    disk.put(ROOT / "MANIFEST", newest)
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.check(store)


async def test_an_older_manifest_is_told_by_what_the_segments_hold_when_durable_is_gone(
    scribe: Any, open_store: Any
) -> None:
    disk = SimulatedDisk()
    async with open_store(JournalStore(ROOT, disk=disk, segment_bytes=4096)) as store:
        older = disk.files()[ROOT / "MANIFEST"]
        await scribe.fill(store, 1)
    disk.put(ROOT / "MANIFEST", older)
    disk.unlink(ROOT / "DURABLE")

    with pytest.raises(CorruptLog, match=r"it is older than 00000002\.log, which holds commits"):
        async with open_store(JournalStore(ROOT, disk=disk)):
            pass


async def test_a_manifest_of_an_earlier_life_is_refused(scribe: Any, open_store: Any) -> None:
    disk = SimulatedDisk()
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
    scribe.claims.clear()
    older = disk.files()[ROOT / "MANIFEST"]
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
        disk = disk.crashed(lambda _: 0)
    disk.put(ROOT / "MANIFEST", older)

    with pytest.raises(CorruptLog, match="it is older than DURABLE, which knows generation 2"):
        async with open_store(JournalStore(ROOT, disk=disk)):
            pass
    disk.unlink(ROOT / "DURABLE")
    with pytest.raises(CorruptLog, match="it says that the log ends, and 1 follow"):
        async with open_store(JournalStore(ROOT, disk=disk)):
            pass


async def test_a_durable_file_alone_does_not_make_a_new_journal(
    scribe: Any, open_store: Any
) -> None:
    disk = SimulatedDisk()
    async with open_store(JournalStore(ROOT, disk=disk)) as store:
        await scribe.append(store, "a", count=1)
    disk.unlink(ROOT / "MANIFEST")
    for path in disk.files():
        if path.parent != ROOT:
            disk.unlink(path)

    with pytest.raises(CorruptLog, match="it is missing, but DURABLE tells of commits"):
        async with open_store(JournalStore(ROOT, disk=disk)):
            pass


async def test_the_name_of_a_new_journal_is_durable_whoever_made_its_directory(
    open_store: Any,
) -> None:
    synced = []
    for made in (False, True):
        disk = SimulatedDisk()
        disk.make_directory(ROOT if made else ROOT.parent)
        for _ in range(2):
            before = len(disk.operations)
            async with open_store(JournalStore(ROOT, disk=disk)):
                pass
            paths = [at.path for at in disk.operations[before:] if at.kind == "sync_directory"]
            synced.append(ROOT.parent in paths)

    assert synced == [True, False, True, False]
