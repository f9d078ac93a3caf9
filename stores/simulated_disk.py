"""A disk in memory that can lose power: what a crash test puts in the place of the real one.

It keeps apart what was written and what is durable, as ``stores.journal.disk`` defines it:

- A write is visible at once. It is durable after ``sync`` of its file, or by itself if it was a
  ``write(sync=True)``; before that a crash may keep it, drop it, tear it at any byte, or leave
  zeros where it made the file longer (the size was recorded, the data was not), each write by
  itself, in any order. What a write replaces is then found old or new, byte by byte, and nothing
  else: an assumption about the medium that journals make (SQLite calls it powersafe overwrite).
- A truncation not synced may be kept or dropped; a drop shows the old bytes again.
- Names (create, rename, unlink) are durable after ``sync_directory``; before that each may be kept
  or dropped by itself. A rename is never half done. Making a directory is durable at once.
- After a failed sync what was unsynced may be lost even if a later sync succeeds, as Linux does it.

``crashed(choose)`` gives the disk as it may be found after power loss, and leaves this one as it
is, so that one run can be forked at every operation into many outcomes. Faults are injected by
operation number. All of it is deterministic, and may be called from several threads.
"""

from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from .journal.disk import Locked, SyncFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .journal.disk import Chunk

Choose = Callable[[int], int]
"""``choose(n)`` gives a number from 0 to n - 1. 0 always means the best outcome: kept, whole."""

Kind = Literal["write", "sync", "truncate", "create", "rename", "unlink", "sync_directory"]

KEPT, DROPPED, TORN, ZEROED = range(4)
"""What may become of an unsynced write, as ``choose(4)`` is read."""


@attrs.frozen
class Operation:
    """A change that reached the disk; ``number`` counts from 1, over all kinds."""

    number: int
    kind: Kind
    path: Path
    size: int = 0


@attrs.define
class _Write:
    """A write (``data``) or a truncation to ``offset`` (``data`` is None)."""

    offset: int
    data: bytes | None
    synced: bool = False
    doomed: bool = False

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            if len(content) > self.offset:
                del content[self.offset :]
            else:
                content.extend(bytes(self.offset - len(content)))
            return
        if len(content) < self.offset:
            content.extend(bytes(self.offset - len(content)))
        content[self.offset : self.offset + len(self.data)] = self.data

    def left(self, choose: Choose, size: int) -> _Write | None:
        """What is left of it after a crash, if anything, in a file of ``size`` bytes."""
        if self.synced:
            return self
        if self.data is None:
            return None if choose(2) else self
        fate = choose(4)
        if fate == DROPPED:
            return None
        if fate == TORN:
            return _Write(self.offset, self.data[: choose(len(self.data) + 1)])
        if fate == ZEROED:
            start = max(self.offset, size)
            end = self.offset + len(self.data)
            return _Write(start, bytes(end - start)) if end > start else None
        return self


class _Inode:
    """A file's content: durable, and visible; ``writes`` lead from the one to the other."""

    def __init__(self, content: bytes = b"") -> None:
        self.durable = bytearray(content)
        self.visible = bytearray(content)
        self.writes: list[_Write] = []

    def write(self, write: _Write) -> None:
        write.apply(self.visible)
        self.writes.append(write)

    def sync(self, only: _Write | None = None) -> None:
        for write in self.writes if only is None else (only,):
            write.synced = write.synced or not write.doomed
        while self.writes and self.writes[0].synced:
            self.writes.pop(0).apply(self.durable)

    def crashed(self, choose: Choose) -> _Inode:
        content = bytearray(self.durable)
        for write in self.writes:
            left = write.left(choose, len(content))
            if left is not None:
                left.apply(content)
        return _Inode(bytes(content))


@attrs.frozen
class _Naming:
    """A change of names not yet durable: ``added`` now names ``inode``, ``removed`` is gone."""

    directory: Path
    added: str | None
    inode: _Inode | None
    removed: str | None

    def apply(self, names: dict[str, _Inode]) -> None:
        if self.removed is not None:
            names.pop(self.removed, None)
        if self.added is not None and self.inode is not None:
            names[self.added] = self.inode


class SimulatedFile:
    """An open file of a SimulatedDisk."""

    def __init__(self, disk: SimulatedDisk, path: Path, inode: _Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode

    def read(self, size: int, offset: int) -> bytes:
        with self._disk.mutex:
            return bytes(self._inode.visible[offset : offset + size])

    def write(self, chunks: Sequence[Chunk], offset: int, *, sync: bool = False) -> None:
        write = _Write(offset, b"".join(chunks))
        with self._disk.changing("write", self._path, len(write.data or b"")) as fault:
            if fault is not None:
                self._inode.write(_Write(offset, (write.data or b"")[: fault.after_bytes]))
                raise fault.error()
            self._inode.write(write)
        if sync:
            self._sync(write)

    def sync(self) -> None:
        self._sync(None)

    def _sync(self, only: _Write | None) -> None:
        with self._disk.changing("sync", self._path) as fault:
            if fault is not None:
                for write in self._inode.writes:
                    write.doomed = not write.synced
                raise fault.error()
            self._disk.make_content_durable(self._path, self._inode, only)

    def truncate(self, size: int) -> None:
        with self._disk.changing("truncate", self._path) as fault:
            if fault is not None:
                raise fault.error()
            self._inode.write(_Write(size, None))

    def size(self) -> int:
        with self._disk.mutex:
            return len(self._inode.visible)

    def close(self) -> None:
        pass


class SimulatedLock:
    def __init__(self, disk: SimulatedDisk, path: Path) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        with self._disk.mutex:
            self._disk.locked.discard(self._path)


@attrs.frozen
class DiskFault:
    """The operation fails with ``error_number``; of a write ``after_bytes`` are left behind."""

    kind: Kind
    error_number: int
    after_bytes: int = 0

    def error(self) -> OSError:
        text = f"injected into a {self.kind}"
        if self.kind in ("sync", "sync_directory"):
            return SyncFailed(self.error_number, text)
        return OSError(self.error_number, text)


class _Changing:
    """Holds the mutex during an operation, and tells the watcher before and after it."""

    def __init__(self, disk: SimulatedDisk, kind: Kind, path: Path, size: int) -> None:
        self._disk = disk
        self._operation = Operation(0, kind, path, size)

    def __enter__(self) -> DiskFault | None:
        disk = self._disk
        disk.mutex.acquire()
        self._operation = attrs.evolve(self._operation, number=next(disk.numbers))
        disk.operations.append(self._operation)
        disk.counts[self._operation.kind] = disk.counts.get(self._operation.kind, 0) + 1
        if disk.watch is not None:
            disk.watch(disk, self._operation, False)
        return disk.faults.pop((self._operation.kind, disk.counts[self._operation.kind]), None)

    def __exit__(self, *_: object) -> None:
        disk = self._disk
        try:
            if disk.watch is not None:
                disk.watch(disk, self._operation, True)
        finally:
            disk.mutex.release()


class SimulatedDisk:
    """A Disk in memory. ``watch(disk, operation, done)`` is called before and after every change,
    from whatever thread makes it. ``operations`` has them all."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.operations: list[Operation] = []
        self.counts: dict[Kind, int] = {}
        self.numbers = itertools.count(1)
        self.faults: dict[tuple[Kind, int], DiskFault] = {}
        self.locked: set[Path] = set()
        self.watch: Callable[[SimulatedDisk, Operation, bool], None] | None = None
        self._durable: dict[Path, dict[str, _Inode]] = {}
        self._visible: dict[Path, dict[str, _Inode]] = {}
        self._namings: list[_Naming] = []

    def fail(self, kind: Kind, number: int, *, error_number: int = 0, after_bytes: int = 0) -> None:
        """Let the ``number``-th operation of this kind from now on (1 is the next) fail: by default
        with EIO, a write with ENOSPC after ``after_bytes``."""
        default = errno.ENOSPC if kind == "write" else errno.EIO
        fault = DiskFault(kind, error_number or default, after_bytes)
        with self.mutex:
            self.faults[kind, self.counts.get(kind, 0) + number] = fault

    def crashed(self, choose: Choose) -> SimulatedDisk:
        """The disk after power was lost now, with one of the outcomes that are possible."""
        with self.mutex:
            found = SimulatedDisk()
            names = {path: dict(entries) for path, entries in self._durable.items()}
            for naming in self._namings:
                if not choose(2):
                    naming.apply(names[naming.directory])
            inodes: dict[int, _Inode] = {}
            for path in sorted(names):
                for name, inode in sorted(names[path].items()):
                    if id(inode) not in inodes:
                        inodes[id(inode)] = inode.crashed(choose)
                    names[path][name] = inodes[id(inode)]
            found._durable = names
            found._visible = {path: dict(entries) for path, entries in names.items()}
            return found

    def files(self) -> dict[Path, bytes]:
        """Every file's visible content, by path."""
        with self.mutex:
            return {
                directory / name: bytes(inode.visible)
                for directory, names in sorted(self._visible.items())
                for name, inode in sorted(names.items())
            }

    def put(self, path: Path, content: bytes) -> None:
        """Change a file behind everybody's back, durably, as a decaying medium would."""
        with self.mutex:
            inode = self._inode(path)
            inode.durable, inode.visible, inode.writes = bytearray(content), bytearray(content), []

    def changing(self, kind: Kind, path: Path, size: int = 0) -> _Changing:
        return _Changing(self, kind, path, size)

    def make_content_durable(self, path: Path, inode: _Inode, only: _Write | None) -> None:
        """What a sync does: ``only`` one write, or all there are."""
        inode.sync(only)

    def make_names_durable(self, path: Path) -> None:
        """What the sync of a directory does."""
        for naming in self._namings:
            if naming.directory == path:
                naming.apply(self._durable[path])
        self._namings = [naming for naming in self._namings if naming.directory != path]

    # -- the port --------------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        with self.mutex:
            for directory in (path, *path.parents):
                self._durable.setdefault(directory, {})
                self._visible.setdefault(directory, {})

    def list(self, path: Path) -> list[str]:
        with self.mutex:
            directories = [other.name for other in self._visible if other.parent == path != other]
            return sorted([*self._names(path), *directories])

    def create(self, path: Path) -> SimulatedFile:
        with self.changing("create", path) as fault:
            if fault is not None:
                raise fault.error()
            # a file that is truncated by creating it again is made anew: the old content may be
            # found under the name after a crash, or nothing, or the new
            inode = _Inode()
            self._name(_Naming(path.parent, path.name, inode, None))
            return SimulatedFile(self, path, inode)

    def open(self, path: Path, *, write: bool = False) -> SimulatedFile:
        with self.mutex:
            return SimulatedFile(self, path, self._inode(path))

    def rename(self, source: Path, target: Path) -> None:
        with self.changing("rename", target) as fault:
            if fault is not None:
                raise fault.error()
            if source.parent != target.parent:
                raise OSError(errno.EXDEV, "the simulated disk renames within a directory only")
            self._name(_Naming(target.parent, target.name, self._inode(source), source.name))

    def unlink(self, path: Path) -> None:
        with self.changing("unlink", path) as fault:
            if fault is not None:
                raise fault.error()
            self._inode(path)
            self._name(_Naming(path.parent, None, None, path.name))

    def sync_directory(self, path: Path) -> None:
        with self.changing("sync_directory", path) as fault:
            if fault is not None:
                raise fault.error()
            self._names(path)
            self.make_names_durable(path)

    def lock(self, path: Path, holder: str) -> SimulatedLock:
        with self.mutex:
            if path in self.locked:
                raise Locked(errno.EWOULDBLOCK, "held", str(path))
            self.locked.add(path)
            names = self._names(path.parent)
            if path.name not in names:
                self._name(_Naming(path.parent, path.name, _Inode(), None))
            inode = names[path.name]
            inode.write(_Write(0, None))
            inode.write(_Write(0, holder.encode()))
            return SimulatedLock(self, path)

    def is_locked(self, path: Path) -> bool:
        with self.mutex:
            return path in self.locked

    def _names(self, path: Path) -> dict[str, _Inode]:
        try:
            return self._visible[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(path)) from None

    def _inode(self, path: Path) -> _Inode:
        try:
            return self._names(path.parent)[path.name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from None

    def _name(self, naming: _Naming) -> None:
        naming.apply(self._names(naming.directory))
        self._namings.append(naming)
