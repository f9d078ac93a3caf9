"""Snapshots in memory that cannot be saved, when a test says so."""

from __future__ import annotations

from moorage.stores.faults import Fault
from moorage.stores.snapshot_only import MemorySnapshots


class FailingSnapshots(MemorySnapshots):
    """Fails on demand: so that the old is there, or so that nobody can look."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Fault] = []
        self.blind = False
        self.loads = 0

    def load(self, session_id: str) -> bytes | None:
        self.loads += 1
        if self.blind:
            self.blind = False
            raise OSError("a bad sector")
        return super().load(session_id)

    def save(self, session_id: str, snapshot: bytes) -> None:
        if self.faults:
            self.blind = self.faults.pop() is Fault.POISON
            raise OSError("no space left")
        super().save(session_id, snapshot)

    def copied(self) -> FailingSnapshots:
        """What was saved until now, as another process would find it."""
        found = FailingSnapshots()
        found._kept = dict(self._kept)
        return found
