from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from moorage.stores.journal.disk import Locked, OsDisk, SyncFailed, creating, remove

from tests.stores.journal.open_files import open_files

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.stores.journal.disk import OsFile


@pytest.fixture
def file(tmp_path: Path) -> OsFile:
    return OsDisk().create(tmp_path / "file")


@pytest.mark.parametrize("sync", [False, True])
def test_chunks_are_written_one_behind_the_other(file: OsFile, sync: bool) -> None:
    file.write([b"abc", b"", memoryview(b"de")], 2, sync=sync)

    assert file.read(100, 0) == b"\0\0abcde"
    assert file.read(2, 4) == b"cd"
    assert file.size() == 7


@pytest.mark.parametrize("sync", [False, True])
def test_a_write_that_is_cut_short_is_finished(
    file: OsFile, sync: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwritev = os.pwritev

    def short(descriptor: int, chunks: list[bytes], offset: int, flags: int = 0) -> int:
        return pwritev(descriptor, [b"".join(chunks)[:2]], offset, flags)

    monkeypatch.setattr(os, "pwritev", short)
    file.write([b"abc", b"defg"], 0, sync=sync)

    assert file.read(100, 0) == b"abcdefg"


@pytest.mark.parametrize(
    ("number", "sync", "expected"),
    [
        (errno.ENOSPC, True, OSError),
        (errno.EIO, False, OSError),
        (errno.EIO, True, SyncFailed),
    ],
)
def test_no_room_is_a_failed_write_and_an_io_error_may_be_a_failed_sync(
    number: int,
    sync: bool,
    expected: type[OSError],
    file: OsFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, "injected")

    monkeypatch.setattr(os, "pwritev", fail)
    with pytest.raises(OSError, match="injected") as caught:
        file.write([b"a"], 0, sync=sync)

    assert type(caught.value) is expected


def test_where_the_kernel_cannot_write_and_sync_at_once_it_is_done_in_two_steps(
    file: OsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwritev, fdatasync, synced = os.pwritev, os.fdatasync, []

    def old(descriptor: int, chunks: list[bytes], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EOPNOTSUPP, "injected")
        return pwritev(descriptor, chunks, offset)

    monkeypatch.setattr(os, "pwritev", old)
    monkeypatch.setattr(os, "fdatasync", lambda number: synced.append(fdatasync(number)))
    file.write([b"abc"], 0, sync=True)

    assert file.read(3, 0) == b"abc"
    assert len(synced) == 1


def test_a_failed_sync_is_told_apart(file: OsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(os, "fdatasync", fail)

    with pytest.raises(SyncFailed):
        file.sync()


def test_a_closed_file_stays_closed_and_the_last_reference_closes_it(tmp_path: Path) -> None:
    file = OsDisk().create(tmp_path / "a")
    file.close()
    file.close()
    OsDisk().create(tmp_path / "b")

    assert open_files(tmp_path) == []


def test_a_lock_excludes_others_until_it_is_released(tmp_path: Path) -> None:
    disk, path = OsDisk(), tmp_path / "LOCK"
    assert not disk.is_locked(path)

    lock = disk.lock(path, "me")
    assert disk.is_locked(path)
    with pytest.raises(Locked):
        disk.lock(path, "you")
    assert path.read_text() == "me"

    lock.release()
    assert not disk.is_locked(path)
    disk.lock(path, "you").release()
    assert path.read_text() == "you"


def test_creating_replaces_and_renaming_moves(tmp_path: Path) -> None:
    disk = OsDisk()
    disk.create(tmp_path / "a").write([b"old"], 0)
    disk.create(tmp_path / "a").write([b"new"], 0)
    disk.rename(tmp_path / "a", tmp_path / "b")
    disk.sync_directory(tmp_path)

    assert disk.list(tmp_path) == ["b"]
    assert disk.open(tmp_path / "b").read(9, 0) == b"new"
    disk.unlink(tmp_path / "b")
    with pytest.raises(FileNotFoundError):
        disk.open(tmp_path / "b")


def test_a_lock_whose_holder_could_not_be_written_is_not_kept_by_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "injected")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", full)
        with pytest.raises(OSError, match="injected") as kept:
            OsDisk().lock(tmp_path / "LOCK", "me")

    assert kept.value.errno == errno.ENOSPC
    assert not OsDisk().is_locked(tmp_path / "LOCK")


FORKING = """
import os, sys
from pathlib import Path
from moorage.stores.journal.disk import OsDisk

lock = OsDisk().lock(Path(sys.argv[1]), "the parent")
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, b"!")
    sys.stdin.read()
    os._exit(0)
os.read(read, 1)
assert OsDisk().is_locked(Path(sys.argv[1]))
print("forked", flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_fork_of_the_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    with subprocess.Popen(
        [sys.executable, "-c", FORKING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"forked\n"
        parent.wait()

        assert not OsDisk().is_locked(path)  # the fork lives until its input ends


def test_a_new_file_goes_again_when_what_happens_within_fails(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(ValueError, match="injected"), creating(OsDisk(), path) as file:
        file.write([b"half"], 0)
        raise ValueError("injected")
    assert not path.exists()

    with creating(OsDisk(), path) as file:
        file.write([b"whole"], 0)

    assert path.read_bytes() == b"whole"
    remove(OsDisk(), [tmp_path / "absent", path])
    assert not path.exists()
