"""SnapshotOnlyStore: a Store over something that can only load, save and clear."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime.codec import encode_info
from moorage.runtime.errors import (
    InvalidArgument,
    SessionHeld,
    StaleOwner,
)
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.ports import Claim, Snapshot

from ..bounds import check_append, check_info, check_name, check_seq
from .kept import KeptSession
from .loaded import Loaded, LoadedSessions
from .reading import INDEX, SnapshotReader, is_text
from .wrapped import Wrapped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Deliver, Record, StoreReader
    from moorage.runtime.sessions import SessionInfo

    from .wrapped import Snapshots

_METHODS = ("load", "save", "clear")
_open: list[tuple[Snapshots, str]] = []
"""What is open in this process, and by whom."""


@attrs.frozen
class SnapshotOnlyStatistics:
    """``loaded`` sessions are in memory; ``saved_bytes`` were saved since the store was opened."""

    sessions: int
    tombstones: int
    loaded: int
    claims: int
    saves: int
    saved_bytes: int
    waiting: int
    poisoned: bool


class SnapshotOnlyStore(LoadedSessions):
    """Wraps ``snapshots``, an object with ``load(session_id) -> bytes | None``,
    ``save(session_id, bytes)`` and ``clear(session_id)``, each sync or async.

    For people who have such a thing and sessions that stay small. What it costs: every append
    encodes and saves the whole session, so a session of n events costs n * n / 2 of them to write,
    and is in memory whole while it is used; a listing loads every session; readers beside load one
    whole with every call. Trim, or keep sessions to some hundred events.

    It is for one process: a second one is not noticed, and would overwrite what the first one
    saved. In this process a second opening is refused. What ``save`` promises is what an append
    promises: if ``save`` is durable on return, so is the append. A ``save`` that fails is looked
    into by ``load``: what was there before is there (written=False), or the new is (it counts), or
    nobody knows, and the store takes no more until it is opened again.

    The index of sessions is saved under the name "moorage.sessions".
    """

    def __init__(self, snapshots: Snapshots) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        missing = [name for name in _METHODS if not callable(getattr(snapshots, name, None))]
        if missing:
            raise InvalidArgument(
                f"snapshots must have the methods {', '.join(_METHODS)}, and "
                f"{type(snapshots).__name__} has no {', '.join(missing)}"
            )
        super().__init__(Wrapped(snapshots))
        self._snapshots = snapshots
        self._deliver: Deliver | None = None
        self._epochs: dict[str, int] = {}
        self._last_epoch = 0
        self._change = 0

    @property
    def lease_seconds(self) -> float | None:
        """None: a claim lives as long as the store is open."""
        return None

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        """Open for writing. Raises SessionHeld, CorruptLog and StoreFailed."""
        for snapshots, holder in _open:
            if snapshots is self._snapshots or snapshots == self._snapshots:
                raise SessionHeld("this store of snapshots", holder=holder)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = self._snapshots, f"{owner} (process {os.getpid()}, since {since})"
        _open.append(entry)
        problem: BaseException | None = None
        try:
            await self._begin(deliver)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._board.run)
                try:
                    yield
                except BaseException as error:  # raised again below, not wrapped in a group
                    problem = error
                self._end()
                nursery.cancel_scope.cancel()
        finally:
            _open.remove(entry)
            self._end()
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # its traceback refers to this frame

    async def _begin(self, deliver: Deliver) -> None:
        self._poison = None
        self._sessions.clear()
        self._epochs.clear()
        generation = await self._load_index()
        self._last_epoch = generation << 32
        self._change = generation << 32  # above every change of an earlier opening
        self._deliver = deliver
        self._is_open = True

    def _end(self) -> None:
        self._is_open, self._was_open, self._deliver = False, True, None
        self._board.wake_all()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        """Read beside whoever writes, by loading."""
        reader = SnapshotReader(self._wrapped)
        try:
            yield reader
        finally:
            reader.close()

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        self._check_open()
        if self._poison is not None:
            raise self._poison.refusal()
        await trio.lowlevel.checkpoint()
        log = await self._log(session_id)
        if log is None or (log.head_seq > after if run_id is None else log.run_ended(run_id)):
            return
        if self._is_open and self._poison is None:
            await self._board.wait(session_id, after=after, run_id=run_id)

    async def claim(self, session_id: str) -> Claim:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        if not is_text(session_id) or session_id == INDEX:
            return Claim(session_id, 0, 0, 1, None, None)  # an append to it says why
        with trio.CancelScope(shield=True):
            async with self._loaded(session_id) as loaded:
                self._last_epoch += 1
                epoch = self._epochs[session_id] = self._last_epoch
                head, log = self._head(session_id, loaded), loaded.log
        return Claim(
            session_id=session_id,
            epoch=epoch,
            head_seq=head,
            oldest_seq=head + 1 if log is None else log.oldest_seq,
            info=None if log is None else log.info(),
            snapshot=None if log is None else log.snapshot,
        )

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        return [claim for claim in claims if not self._owns(claim)]

    async def release(self, claim: Claim) -> None:
        self._check_open()
        if self._owns(claim):
            del self._epochs[claim.session_id]
            self._sessions.pop(claim.session_id, None)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _owns(self, claim: Claim) -> bool:
        return self._epochs.get(claim.session_id) == claim.epoch

    def _fence(self, claim: Claim) -> None:
        if not self._owns(claim):
            epoch = self._epochs.get(claim.session_id)
            current = "nobody" if epoch is None else f"epoch {epoch}"
            raise StaleOwner(
                claim.session_id, epoch=claim.epoch, current=f"{current} owns the session"
            )

    @contextlib.asynccontextmanager
    async def _writing(self, session_id: str, claim: Claim | None = None) -> AsyncGenerator[Loaded]:
        """One write to a session after the other; it cannot be cancelled once it has begun."""
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._poison is not None:
            raise self._poison.refusal()
        async with self._loaded(session_id) as loaded:
            with trio.CancelScope(shield=True):
                if claim is not None:
                    self._fence(claim)
                yield loaded

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
    ) -> None:
        session_id = claim.session_id
        check_append(session_id, records, None)
        if session_id == INDEX:
            raise InvalidArgument(f"the session id {INDEX!r} is that of the index: use another")
        encoded = None if info is None else _encoded(info)
        async with self._writing(session_id, claim) as loaded:
            head = self._head(session_id, loaded)
            if expected_seq != head + 1:
                raise StaleOwner(
                    session_id,
                    epoch=claim.epoch,
                    current=f"the head is {head} and the append starts at {expected_seq}",
                )
            kept = loaded.kept
            if kept is None and encoded is None:
                raise InvalidArgument(f"the first append to session {session_id!r} needs an info")
            self._change += 1
            if kept is None:
                await self._note_existence(session_id, exists=True)
                kept = KeptSession(session_id, head + 1, (), encoded or b"", 0, 0)
            new = attrs.evolve(
                kept,
                records=kept.records + tuple(records),
                info=kept.info if encoded is None else encoded,
                modified_at_ns=records[-1].time_ns if records else kept.modified_at_ns,
                change=self._change,
            )
            await self._replace(loaded, new)
        ended = [
            record.run_id
            for record in records
            if record.run_id is not None and record.type in RUN_TERMINAL_TYPES
        ]
        self._board.publish(session_id, new.head_seq, ended)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        async with self._writing(claim.session_id, claim) as loaded:
            kept = self._kept(claim.session_id, loaded)
            check_seq("the seq of a snapshot", snapshot.seq)
            if snapshot.seq > kept.head_seq:
                raise InvalidArgument(
                    f"a snapshot at seq {snapshot.seq} is ahead of the head, {kept.head_seq}"
                )
            await self._replace(loaded, attrs.evolve(kept, snapshot=snapshot))

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        check_name("cursor name", name)
        check_seq("the seq of a cursor", seq)
        async with self._writing(session_id) as loaded:
            kept = self._kept(session_id, loaded)
            await self._replace(loaded, attrs.evolve(kept, cursors={**kept.cursors, name: seq}))

    async def trim(self, claim: Claim, before: int) -> None:
        async with self._writing(claim.session_id, claim) as loaded:
            kept = self._kept(claim.session_id, loaded)
            check_seq("what to trim before", before)
            before = min(before, kept.head_seq + 1)
            if before > kept.oldest_seq:
                records = kept.records[before - kept.oldest_seq :]
                await self._replace(loaded, attrs.evolve(kept, oldest_seq=before, records=records))

    async def delete(self, claim: Claim) -> None:
        session_id = claim.session_id
        async with self._writing(session_id, claim) as loaded:
            if loaded.kept is not None:
                head = loaded.kept.head_seq
                await self._note_existence(session_id, exists=False, head=head)
                loaded.kept = loaded.log = None
                body, loaded.body = loaded.body, None
                await self._save(session_id, None, body)
            del self._epochs[session_id]
        self._board.wake_session(session_id)

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        self._check_open()
        assert self._deliver is not None
        return await self._deliver(session_id, command)

    def statistics(self) -> SnapshotOnlyStatistics:
        self._check_open()
        return SnapshotOnlyStatistics(
            sessions=len(self._kept_index.sessions),
            tombstones=len(self._kept_index.deleted),
            loaded=len(self._sessions),
            claims=len(self._epochs),
            saves=self._saves,
            saved_bytes=self._saved_bytes,
            waiting=self._board.statistics().waiting,
            poisoned=self._poison is not None,
        )


def _encoded(info: SessionInfo) -> bytes:
    try:
        return encode_info(info)
    except (ValueError, TypeError, OverflowError):
        check_info(info)
        raise
