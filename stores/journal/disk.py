"""What the journal asks of a disk: the port, and the operating system's answer to it.

All of the journal's file I/O goes through a ``Disk``, so that a test can put a simulated one in
its place. What the journal assumes of any disk:

1. ``File.write`` is visible to every reader at once, and survives the end of the process.
2. It survives power loss only after ``sync`` (or ``write(sync=True)``) has returned. Until then it
   may be lost, kept, or kept in part, in any order.
3. ``create``, ``rename`` and ``unlink`` survive power loss only after ``sync_directory`` of the
   directory, and ``rename`` is atomic: afterwards the name has the old content or the new.
4. ``truncate`` survives power loss only after ``sync``.
5. A lock ends with the process that holds it. A fork of that process does not hold it.

Calls block, and raise OSError. Methods of one File may be called from several threads.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Protocol

from moorage.runtime.own_process import told_of_forks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

Chunk = bytes | bytearray | memoryview

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a write that found no room: the sync behind it was never reached."""
_NO_SYNC_FLAG = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_LOCK_TRIES = 5
_LOCK_PAUSE_SECONDS = 0.01


class SyncFailed(OSError):
    """The sync failed: whether anything unsynced is on the disk is unknown, now and later."""


class Locked(OSError):
    """Somebody else holds the lock."""


class File(Protocol):
    """One open file. The end of the last reference closes it too."""

    def read(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the end of the file."""
        ...

    def write(self, chunks: Sequence[Chunk], offset: int, *, sync: bool = False) -> None:
        """Write all chunks, one behind the other, at ``offset``; with ``sync`` make them durable.

        Raises OSError when the write failed (a part of it may be there), SyncFailed when it may
        have been the sync.
        """
        ...

    def sync(self) -> None:
        """Make all content and the size durable; raises SyncFailed."""
        ...

    def truncate(self, size: int) -> None: ...

    def size(self) -> int: ...

    def close(self) -> None:
        """Safe to call twice."""
        ...


class Lock(Protocol):
    def release(self) -> None: ...


class Disk(Protocol):
    """The file system as the journal uses it. Methods raise OSError."""

    def make_directory(self, path: Path) -> None:
        """Make it and its parents, mode 0700; no error if it is there."""
        ...

    def list(self, path: Path) -> list[str]:
        """The names in a directory; raises FileNotFoundError."""
        ...

    def create(self, path: Path) -> File:
        """A new, empty file, mode 0600, open for writing; replaces what has the name."""
        ...

    def open(self, path: Path, *, write: bool = False) -> File:
        """Open what exists; raises FileNotFoundError."""
        ...

    def rename(self, source: Path, target: Path) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def sync_directory(self, path: Path) -> None:
        """Make the names in it durable; raises SyncFailed."""
        ...

    def lock(self, path: Path, holder: str) -> Lock:
        """Take the lock and write ``holder`` into its file; raises Locked."""
        ...

    def is_locked(self, path: Path) -> bool:
        """Whether somebody holds the lock now; False if there is no such file."""
        ...


@contextlib.contextmanager
def creating(disk: Disk, path: Path) -> Iterator[File]:
    """A new file, closed at the end, and removed if what happens within fails."""
    file = disk.create(path)
    try:
        yield file
    except BaseException:
        remove(disk, [path])
        raise
    finally:
        file.close()


def remove(disk: Disk, paths: Iterable[Path]) -> None:
    """Remove files that no manifest names, as far as possible: the next opening removes what is
    left."""
    for path in paths:
        with contextlib.suppress(OSError):
            disk.unlink(path)


class OsFile:
    """A file of the operating system."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    def read(self, size: int, offset: int) -> bytes:
        data = os.pread(self._descriptor, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]  # short: the end of the file, or an interrupted or very large read
        got = len(data)
        while got < size and (data := os.pread(self._descriptor, size - got, offset + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def write(self, chunks: Sequence[Chunk], offset: int, *, sync: bool = False) -> None:
        # One call writes and syncs (the kernel's RWF_DSYNC, the same as fdatasync for this range):
        # a thread that comes back from the kernel may wait 5 ms for the interpreter each time.
        flag = getattr(os, "RWF_DSYNC", 0) if sync else 0
        total = sum(map(len, chunks))
        try:
            written = os.pwritev(self._descriptor, chunks, offset, flag)
            while written < total:
                rest = b"".join(chunks)[written:]
                written += os.pwritev(self._descriptor, [rest], offset + written, flag)
        except OSError as error:
            if not flag or error.errno in _NO_ROOM:
                raise
            if error.errno not in _NO_SYNC_FLAG:
                raise SyncFailed(error.errno, error.strerror, str(self._path)) from error
            self.write(chunks, offset)
            flag = 0
        if sync and not flag:
            self.sync()

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise SyncFailed(error.errno, error.strerror, str(self._path)) from error

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class OsLock:
    """An flock of a file; the kernel lets go of it when the process ends, however it ends.

    A fork has a descriptor of the same lock, and would keep it when the holder is killed. To close
    it there takes nothing away from the holder.
    """

    def __init__(self, file: OsFile) -> None:
        """To be made before the lock is taken: another thread may fork in between."""
        self._file = file
        told_of_forks(self)

    def release(self) -> None:
        self._file.close()

    become_copy = release


class OsDisk:
    """The operating system's file system."""

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def list(self, path: Path) -> list[str]:
        return os.listdir(path)

    def create(self, path: Path) -> OsFile:
        return OsFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), path)

    def open(self, path: Path, *, write: bool = False) -> OsFile:
        return OsFile(os.open(path, os.O_RDWR if write else os.O_RDONLY), path)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise SyncFailed(error.errno, error.strerror, str(path)) from error
        finally:
            os.close(descriptor)

    def lock(self, path: Path, holder: str) -> OsLock:
        file = OsFile(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), path)
        lock = OsLock(file)
        try:
            _take(file, path)
            file.truncate(0)
            file.write([holder.encode()], 0)
        except BaseException:
            lock.release()  # an error that somebody keeps would keep the lock
            raise
        return lock

    def is_locked(self, path: Path) -> bool:
        try:
            file = self.open(path)
        except FileNotFoundError:
            return False
        lock = OsLock(file)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            lock.release()
        return False


def _take(file: OsFile, path: Path) -> None:
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if not tries_left:
                raise Locked(error.errno, error.strerror, str(path)) from error
            time.sleep(_LOCK_PAUSE_SECONDS)  # is_locked elsewhere holds it for an instant
