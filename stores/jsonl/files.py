"""The files of sessions as the writer has them open: changed by commits, and synced at leisure."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from .commit_log import REMOVE, REPLACE, Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..journal.disk import Disk, File
    from .layout import Layout

OPEN_FILES_MAX = 256
FILE_NUMBER_BYTES = 64
"""How much of a file's first line ``file_number`` looks at."""


class Files:
    """Used by one thread at a time; methods raise OSError. ``unsynced`` are the names of files that
    changed since they were last synced."""

    def __init__(self, disk: Disk, layout: Layout) -> None:
        self.unsynced: set[str] = set()
        self._disk = disk
        self._layout = layout
        self._open: OrderedDict[str, File] = OrderedDict()

    def make(self, changes: Iterable[Change]) -> None:
        """Do what a commit says."""
        for name, _, offset, content in changes:
            self.unsynced.add(name)
            if offset == REMOVE:
                self._close(name)
                with suppress(FileNotFoundError):
                    self._disk.unlink(self._layout.path(name))
            elif offset == REPLACE:
                self._close(name)
                self._replace(name, content)
            else:
                self._file(name).write([content], offset)

    def make_again(self, changes: Sequence[Change]) -> None:
        """Do what a commit says that may have been done, or lost, or outlived by now."""
        for change in changes:
            if change.file >= self._number_of(change):
                self.make([change])

    def _number_of(self, change: Change) -> int:
        if not change.file:
            return 0
        try:
            file = self._disk.open(self._layout.path(change.name))
        except FileNotFoundError:
            return -1
        try:
            return file_number(file)
        finally:
            file.close()

    def sync(self) -> None:
        """Make all of it durable."""
        for name in sorted(self.unsynced):
            with suppress(FileNotFoundError):
                self._file(name).sync()
        for directory in (self._layout.sessions, self._layout.snapshots, self._layout.root):
            self._disk.sync_directory(directory)
        self.unsynced.clear()

    def forget(self, name: str) -> None:
        """The file was replaced, and synced, by somebody else."""
        self._close(name)
        self.unsynced.discard(name)

    def close(self) -> None:
        for name in list(self._open):
            self._close(name)

    def _replace(self, name: str, content: bytes) -> None:
        path = self._layout.path(name)
        new = path.with_name(path.name + ".new")
        file = self._disk.create(new)
        try:
            file.write([content], 0)
        finally:
            file.close()
        self._disk.rename(new, path)

    def _file(self, name: str) -> File:
        file = self._open.get(name)
        if file is None:
            file = self._open[name] = self._disk.open(self._layout.path(name), write=True)
            if len(self._open) > OPEN_FILES_MAX:
                _, oldest = self._open.popitem(last=False)
                oldest.close()
        else:
            self._open.move_to_end(name)
        return file

    def _close(self, name: str) -> None:
        file = self._open.pop(name, None)
        if file is not None:
            file.close()


def file_number(file: File) -> int:
    """The number in the first line of a file, -1 if there is none."""
    start = file.read(FILE_NUMBER_BYTES, 0)
    _, found, rest = start.partition(b'"file":"')
    try:
        return int(rest[:16], 16) if found and rest[16:17] == b'"' else -1
    except ValueError:
        return -1
