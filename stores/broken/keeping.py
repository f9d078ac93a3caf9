"""Stores that are wrong about what is kept and what is forgotten."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.ports import Record, StoredRun

from ..memory import MemoryStore
from .flaws import Reopening

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from typing import Self

    from moorage.runtime.ports import Answered, Claim, Page, Snapshot, StoreReader


class LastRecordLost(Reopening):
    """The last record of each session is lost in a restart."""

    def on_open(self) -> None:
        for log in self._logs():
            if log.head_seq > log.oldest_seq:
                log._bodies.pop()
                log._types.pop()
                log.head_seq -= 1


class KeysForgotten(Reopening):
    """Keys are lost in a restart."""

    def on_open(self) -> None:
        for log in self._logs():
            log._keys.clear()


class RunsForgotten(Reopening):
    """Runs are lost in a restart."""

    def on_open(self) -> None:
        for log in self._logs():
            log._runs.clear()


class CursorsForgotten(Reopening):
    """Cursors are lost in a restart."""

    def on_open(self) -> None:
        for log in self._logs():
            log.cursors.clear()


class CursorsListedOfAFormerLife(MemoryStore):
    """cursors() still has those that a deleted session had."""

    def __init__(self, *, lease_seconds: float | None = None) -> None:
        super().__init__(lease_seconds=lease_seconds)
        self._former: dict[str, dict[str, int]] = {}

    async def delete(self, claim: Claim, *, answered: Sequence[Answered] = ()) -> None:
        self._former[claim.session_id] = await self.cursors(claim.session_id)
        await super().delete(claim, answered=answered)

    async def cursors(self, session_id: str) -> dict[str, int]:
        return {**self._former.get(session_id, {}), **await super().cursors(session_id)}


class CursorsListedAsFirstSaved(MemoryStore):
    """cursors() has where each name was first."""

    def __init__(self, *, lease_seconds: float | None = None) -> None:
        super().__init__(lease_seconds=lease_seconds)
        self._first: dict[tuple[str, str], int] = {}

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        self._first.setdefault((session_id, name), seq)
        await super().save_cursor(session_id, name, seq)

    async def cursors(self, session_id: str) -> dict[str, int]:
        found = await super().cursors(session_id)
        return {name: self._first.get((session_id, name), seq) for name, seq in found.items()}


class TombstonesOfTheReborn(MemoryStore):
    """tombstones() has every session that ever was deleted."""

    def __init__(self, *, lease_seconds: float | None = None) -> None:
        super().__init__(lease_seconds=lease_seconds)
        self._ever: dict[str, int] = {}

    async def delete(self, claim: Claim, *, answered: Sequence[Answered] = ()) -> None:
        log = self._content.logs.get(claim.session_id)
        await super().delete(claim, answered=answered)
        if log is not None:
            self._ever[claim.session_id] = log.head_seq

    async def tombstones(self) -> AsyncGenerator[tuple[str, int]]:
        async for session_id, seq in super().tombstones():
            self._ever[session_id] = seq
        for tombstone in self._ever.items():
            yield tombstone


class TombstonesCut(MemoryStore):
    """tombstones() ends after ten."""

    async def tombstones(self) -> AsyncGenerator[tuple[str, int]]:
        found = [tombstone async for tombstone in super().tombstones()]
        for tombstone in found[:10]:
            yield tombstone


class FirstSnapshotKept(MemoryStore):
    """A snapshot is not replaced by a newer one."""

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        await super().save_snapshot(claim, await self.snapshot(claim.session_id) or snapshot)


class FutureSnapshotKept(MemoryStore):
    """A snapshot ahead of the head is kept."""

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        await self._begin_write(claim)
        self._content.logs[claim.session_id].snapshot = snapshot


class TrimmedStillReadable(MemoryStore):
    """trim does nothing."""

    async def trim(self, claim: Claim, before: int) -> None:
        await self._begin_write(claim)


class TrimForgotten(Reopening):
    """After a restart trimmed events seem to be there, empty."""

    def on_open(self) -> None:
        for log in self._logs():
            missing = log.oldest_seq - 1
            filler = Record(0, "message_sent", None, b"\x96\x00\xa1x\xc0\xc0\xc0\x01")
            log._bodies[:0] = [filler.body] * missing
            log._types[:0] = [filler.type] * missing
            log.oldest_seq = 1


class TombstoneForgotten(MemoryStore):
    """A deleted id starts again from 1."""

    async def delete(self, claim: Claim, **answered: Any) -> None:
        await super().delete(claim, **answered)
        self._content.tombstones.pop(claim.session_id, None)


class TombstoneForgottenLater(Reopening):
    """A deleted id starts again from 1 after a restart."""

    def on_open(self) -> None:
        self._content.tombstones.clear()


class CursorsOutliveDelete(MemoryStore):
    """A deleted session's cursors are found by the next of that id."""

    async def delete(self, claim: Claim, **answered: Any) -> None:
        log = self._content.logs.get(claim.session_id)
        await super().delete(claim, **answered)
        self._kept = {} if log is None else dict(log.cursors)

    async def cursor(self, session_id: str, name: str) -> int | None:
        found = await super().cursor(session_id, name)
        return getattr(self, "_kept", {}).get(name) if found is None else found


class ReaderNeedsOwner(MemoryStore):
    """A reader beside nobody sees nothing."""

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        store = self if self._content.nodes else MemoryStore()
        async with MemoryStore.reading(store) as reader:
            yield reader


class LastEventNotTrimmed(MemoryStore):
    """trim always leaves one event."""

    async def trim(self, claim: Claim, before: int) -> None:
        log = self._content.logs.get(claim.session_id)
        await super().trim(claim, before if log is None else min(before, log.head_seq))


class TrimGoesBack(MemoryStore):
    """Of trims on their way together the last one to come counts."""

    def __init__(self, *, lease_seconds: float | None = None) -> None:
        super().__init__(lease_seconds=lease_seconds)
        self._oldest: dict[str, int] = {}

    def peer(self) -> Self:
        peer = super().peer()
        peer._oldest = self._oldest
        return peer

    async def trim(self, claim: Claim, before: int) -> None:
        ahead = before > self._content.logs[claim.session_id].oldest_seq
        for _ in range(20 - before):  # the one that goes furthest comes first
            await trio.lowlevel.checkpoint()
        await super().trim(claim, before)
        if ahead:
            self._oldest[claim.session_id] = before

    async def read(self, session_id: str, **range: Any) -> Page:
        page = await super().read(session_id, **range)
        return attrs.evolve(page, oldest_seq=self._oldest.get(session_id, page.oldest_seq))


class AnyEventIsARequest(MemoryStore):
    """The first event that is left of a run is taken for its request."""

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        run = await super().find_run(session_id, run_id)
        if run is None and session_id in self._content.logs:
            page = await self.read(session_id, before=None, run_id=run_id, backwards=True)
            if page.events:
                return StoredRun(page.events[0], None, page.head_seq)
        return run
