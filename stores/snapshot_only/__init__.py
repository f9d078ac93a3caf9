"""A plain store of snapshots (load, save, clear) as a Store, for who has one and wants no more."""

from .examples import FileSnapshots, MemorySnapshots
from .store import SnapshotOnlyStatistics, SnapshotOnlyStore
from .wrapped import Snapshots

__all__ = [
    "FileSnapshots",
    "MemorySnapshots",
    "SnapshotOnlyStatistics",
    "SnapshotOnlyStore",
    "Snapshots",
]
