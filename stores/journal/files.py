"""Open segment files and their indexes, a bounded number of each."""

from __future__ import annotations

import resource
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from .sealed import SealedIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .disk import Disk, File
    from .manifest import Layout, Segment

OPEN_FILES_MAX = 64
"""Segment files kept open."""
OPEN_INDEXES_MAX = 1_024
"""Side files kept open, where the process may have four times as many files open: the way to a
session's oldest events leads through all that hold it."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class _LastUsed(Generic[Key, Value]):
    """The most recently used values. One that falls out lives on while somebody uses it: a file
    is closed with its last reference."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._named: frozenset[Key] | None = None
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
                return value
        value = make()  # without the lock: it reads a file
        with self._lock:
            if self._named is not None and key not in self._named:
                return value  # removed meanwhile: it goes with whoever asked
            self._values[key] = value
            while len(self._values) > self._size_max:
                self._values.popitem(last=False)
        return value

    def retain(self, named: frozenset[Key]) -> None:
        with self._lock:
            self._named = named
            for key in [key for key in self._values if key not in named]:
                del self._values[key]

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


def _indexes_max() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_INDEXES_MAX if limit < 0 else min(OPEN_INDEXES_MAX, limit // 4)


class Files:
    """Reading access to the files of one log, from any thread."""

    def __init__(self, disk: Disk, layout: Layout, log_id: bytes) -> None:
        self.disk = disk
        self.layout = layout
        self.log_id = log_id
        self._logs: _LastUsed[int, File] = _LastUsed(OPEN_FILES_MAX)
        self._indexes: _LastUsed[tuple[int, int], SealedIndex] = _LastUsed(_indexes_max())
        # side files that were read once from end to end, which need not be again
        self._checked: set[tuple[int, int]] = set()

    def log(self, number: int) -> File:
        """Raises FileNotFoundError when compaction has taken the file away."""
        return self._logs.get(number, lambda: self.disk.open(self.layout.segment(number)))

    def index(self, segment: Segment) -> SealedIndex:
        """The segment's side file, which was checked. Raises CorruptLog and FileNotFoundError."""
        key = (segment.number, segment.index_end)

        def load() -> SealedIndex:
            path = self.layout.index(segment.number, segment.index_end)
            index = SealedIndex(
                self.disk.open(path),
                str(path),
                log_id=self.log_id,
                number=segment.number,
                end=segment.index_end,
                checked=key in self._checked,
            )
            self._checked.add(key)
            return index

        return self._indexes.get(key, load)

    def retain(self, segments: Iterable[Segment]) -> None:
        """Keep no file open but those of ``segments``: a removed file takes its space until it is
        closed. Who reads another one right now keeps it until done."""
        named = frozenset((segment.number, segment.index_end) for segment in segments)
        self._logs.retain(frozenset(number for number, _ in named))
        self._indexes.retain(named)
        self._checked &= named

    def close(self) -> None:
        self._logs.clear()
        self._indexes.clear()
