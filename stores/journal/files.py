"""Open segment files and their indexes, a bounded number of each."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from .sealed import SealedIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from .disk import Disk, File
    from .manifest import Layout, Segment

OPEN_FILES_MAX = 64
"""Segment files kept open, and as many index files."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Recent(Generic[Key, Value]):
    """The most recently used values. One that falls out lives on while somebody uses it: a file
    is closed with its last reference."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
                return value
        value = make()  # without the lock: it reads a file
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size_max:
                self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


class Files:
    """Reading access to the files of one log, from any thread."""

    def __init__(self, disk: Disk, layout: Layout, log_id: bytes) -> None:
        self.disk = disk
        self.layout = layout
        self.log_id = log_id
        self._logs: _Recent[int, File] = _Recent(OPEN_FILES_MAX)
        self._indexes: _Recent[tuple[int, int], SealedIndex] = _Recent(OPEN_FILES_MAX)

    def log(self, number: int) -> File:
        """Raises FileNotFoundError when compaction has taken the file away."""
        return self._logs.get(number, lambda: self.disk.open(self.layout.segment(number)))

    def index(self, segment: Segment) -> SealedIndex:
        """The segment's side file, checked. Raises CorruptLog and FileNotFoundError."""

        def load() -> SealedIndex:
            path = self.layout.index(segment.number, segment.index_end)
            return SealedIndex(
                self.disk.open(path),
                str(path),
                log_id=self.log_id,
                number=segment.number,
                end=segment.index_end,
            )

        return self._indexes.get((segment.number, segment.index_end), load)

    def close(self) -> None:
        self._logs.clear()
        self._indexes.clear()
