"""A file that lines are only ever appended to, and that may be moved away meanwhile."""

from __future__ import annotations

import os

MODE = 0o600


class AppendFile:
    """The file at ``path``; blocking, for one thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None

    def append(self, lines: bytes) -> None:
        """Write whole lines to its end, durable on return. Raises OSError; a part of them may be
        there then, and whatever comes next begins on a line of its own."""
        try:
            file = self._current()
            left = memoryview(lines)
            while left:
                left = left[os.write(file, left) :]
            if lines:
                os.fsync(file)
        except BaseException:
            # what is in it now is found out by opening it again
            self.close()
            raise

    def close(self) -> None:
        """Once more is nothing."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _current(self) -> int:
        """The file that is at the path now."""
        if self._file is not None:
            try:
                if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                    return self._file
            except FileNotFoundError:
                pass  # moved away
            self.close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = file = os.open(self._path, flags, MODE)
        size = os.fstat(file).st_size
        if size == 0:
            _sync_folder(os.path.dirname(self._path) or ".")
        elif os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")
        return file


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
