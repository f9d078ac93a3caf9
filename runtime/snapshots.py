"""When a worker saves a snapshot, and how it tells harmless write failures from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .codec import encode_struct
from .errors import StoreFailed
from .ports import Snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .image import SessionImage
    from .ports import Claim, Store
    from .turns import Batch

QUIET_EVENTS_MAX = 10_000
"""Events of any kind after which a snapshot is worth its bytes even if few changed state."""
LEAVING_CHANGES_MAX = 32
"""State-changing events that a worker leaves to be replayed without saving a snapshot."""


class SnapshotKeeper:
    """Counts events since the last snapshot of one session, and saves the next one."""

    def __init__(self, store: Store, changes_max: int) -> None:
        self._store = store
        self._changes_max = changes_max
        self._events = 0
        self._changes = 0

    def recalled(self, head_seq: int, snapshot: Snapshot | None) -> None:
        """The image was brought back from this snapshot and the events behind it."""
        self._events = head_seq - (snapshot.seq if snapshot is not None else 0)

    def note(self, batch: Batch) -> None:
        """A batch is durable."""
        self._events += len(batch.records)
        self._changes += len(batch.events)

    def due(self, *, leaving: bool = False) -> bool:
        """Whether a snapshot is worth its bytes now."""
        if leaving:
            return self._changes > LEAVING_CHANGES_MAX
        return self._changes >= self._changes_max or self._events >= QUIET_EVENTS_MAX

    async def save(self, claim: Claim, image: SessionImage) -> StoreFailed | None:
        """Save one; returns the failure if it left nothing behind, which harms nobody: a snapshot
        only saves time on the next opening."""
        snapshot = Snapshot(image.head_seq, encode_struct(image))
        failure = await unless_nothing_written(self._store.save_snapshot(claim, snapshot))
        if failure is None:
            self._events = self._changes = 0
        return failure

    async def trim(self, claim: Claim, image: SessionImage, before: int) -> int | StoreFailed:
        """Forget events below ``before``; returns it, or a failure that left nothing behind."""
        # the next opening must not need what is about to go
        failure = await self.save(claim, image)
        if failure is None:
            failure = await unless_nothing_written(self._store.trim(claim, before))
        return before if failure is None else failure


async def unless_nothing_written(write: Awaitable[None]) -> StoreFailed | None:
    """The failure of a write that certainly left nothing behind; others are raised."""
    try:
        await write
    except StoreFailed as error:
        if error.written is not False or error.poisoned:
            raise
        return error
    return None
