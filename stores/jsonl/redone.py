"""A store as its next owner will find it: what the commit log has and the files lack is in place.

After a power loss the files of sessions may lack what was acknowledged, until an owner opens the
store and writes it again. Whoever only reads sees it here, in memory.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from .commit_log import REMOVE, REPLACE, Change, read_frames
from .files import file_number
from .opening import commit_logs, logs_to_redo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..journal.disk import Chunk, Disk, File, Lock
    from .layout import Layout


class _Content:
    """A file in memory, to be read."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int, offset: int) -> bytes:
        return self._content[offset : offset + size]

    def size(self) -> int:
        return len(self._content)

    def write(self, chunks: Sequence[Chunk], offset: int, *, sync: bool = False) -> None:
        raise _read_only()

    def sync(self) -> None:
        raise _read_only()

    def truncate(self, size: int) -> None:
        raise _read_only()

    def close(self) -> None:
        pass


class RedoneDisk:
    """``disk``, to be read, with other content of some files (None: it is gone), as the commit logs
    ``numbers`` say."""

    def __init__(
        self, disk: Disk, contents: dict[Path, bytes | None], numbers: Sequence[int]
    ) -> None:
        self.disk = disk
        self._contents = contents
        self._numbers = numbers

    def is_over(self, layout: Layout) -> bool:
        """Whether there is, or was, an owner who has done all of it. Raises OSError."""
        return self.disk.is_locked(layout.lock) or commit_logs(self.disk, layout) != self._numbers

    def open(self, path: Path, *, write: bool = False) -> File:
        if write:
            raise _read_only()
        if path not in self._contents:
            return self.disk.open(path)
        content = self._contents[path]
        if content is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return _Content(content)

    def list(self, path: Path) -> list[str]:
        names = set(self.disk.list(path))
        for changed, content in self._contents.items():
            if changed.parent == path:
                (names.discard if content is None else names.add)(changed.name)
        return sorted(names)

    def is_locked(self, path: Path) -> bool:
        return self.disk.is_locked(path)

    def make_directory(self, path: Path) -> None:
        raise _read_only()

    def create(self, path: Path) -> File:
        raise _read_only()

    def rename(self, source: Path, target: Path) -> None:
        raise _read_only()

    def unlink(self, path: Path) -> None:
        raise _read_only()

    def sync_directory(self, path: Path) -> None:
        raise _read_only()

    def lock(self, path: Path, holder: str) -> Lock:
        raise _read_only()


def redone(disk: Disk, layout: Layout) -> RedoneDisk | None:
    """The store with all commits done, None if nothing is left to do, or an owner is there to do
    it. Raises CorruptLog and OSError."""
    if disk.is_locked(layout.lock):
        return None
    contents: dict[Path, bytes | None] = {}
    numbers = commit_logs(disk, layout)
    for number in logs_to_redo(numbers):
        path = layout.commits / f"{number:08}"
        file = disk.open(path)
        try:
            for changes in read_frames(file, path):
                for change in changes:
                    _do(disk, layout, contents, change)
        finally:
            file.close()
    return RedoneDisk(disk, contents, numbers) if contents else None


def _do(disk: Disk, layout: Layout, contents: dict[Path, bytes | None], change: Change) -> None:
    path = layout.path(change.name)
    if path not in contents:
        contents[path] = _read(disk, path)
    before = contents[path]
    if change.file and before is not None and change.file < file_number(_Content(before)):
        return
    if change.offset == REMOVE:
        contents[path] = None
    elif change.offset == REPLACE:
        contents[path] = change.content
    else:
        there = (before or b"")[: change.offset]
        contents[path] = there + change.content


def _read(disk: Disk, path: Path) -> bytes | None:
    try:
        file = disk.open(path)
    except FileNotFoundError:
        return None
    try:
        return file.read(file.size(), 0)
    finally:
        file.close()


def _read_only() -> OSError:
    return OSError(errno.EROFS, "a reader writes nothing")
