"""The writing half of an open journal: claims, fences, and what a commit sets in motion."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import structlog
import trio
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed, UnknownSession
from moorage.runtime.ports import Claim

from ..bounds import check_append, check_name, check_seq
from . import format as fmt
from .changes import (
    ENDED,
    encode_cursor,
    encode_events,
    encode_snapshot,
    encode_tombstone,
    encode_trim,
)
from .commits import CommitLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moorage.runtime.ports import Record, Snapshot
    from moorage.runtime.sessions import SessionInfo

    from ..news import NewsBoard
    from .changes import Change, Encoded
    from .commits import Pending
    from .directory import Entry
    from .opening import Opened
    from .reads import Reads

_NOT_HELD = (struct.error, ValueError, TypeError, OverflowError)
"""What encoding raises for values that the format cannot hold."""

_log = structlog.get_logger("moorage.journal")


class Owner:
    """``grown`` is called after a commit, with the size of the active segment, ``freed`` when
    something was trimmed or deleted."""

    def __init__(self, opened: Opened, *, news: NewsBoard, reads: Reads) -> None:
        self.opened = opened
        self.commits = CommitLoop(
            opened.target,
            apply=opened.state.apply,
            published=self._published,
            failed=self._failed,
        )
        self._state = opened.state
        self._entries = opened.state.directory.entries
        self._news = news
        self._reads = reads
        self.grown: Callable[[int], None] = lambda end: None
        self.freed: Callable[[], None] = lambda: None
        self._epochs: dict[str, int] = {}
        self._last_epoch = opened.manifest.generation << 32
        # of sessions with something on its way: how many writes, and heads that are ahead of the
        # state
        self._flights: dict[str, int] = {}
        self._heads: dict[str, int] = {}

    @property
    def claims(self) -> int:
        return len(self._epochs)

    async def claim(self, session_id: str) -> Claim:
        await trio.lowlevel.checkpoint_if_cancelled()
        before = self._epochs.get(session_id)
        self._last_epoch += 1
        epoch = self._epochs[session_id] = self._last_epoch  # from here on nothing is added
        try:
            if session_id in self._flights:
                await self.commits.settle()  # what the last owner had on its way counts
                self._heads.pop(session_id, None)
            # whoever was fenced is told so by a claim that was granted, not by a cancelled one
            with trio.CancelScope(shield=True):
                snapshot = await self._reads.snapshot(session_id)
        except BaseException:
            if self._epochs.get(session_id) == epoch:
                self._give_back(session_id, before)
            raise
        entry = self._entries.get(session_id)
        return Claim(
            session_id=session_id,
            epoch=epoch,
            head_seq=0 if entry is None else entry.head_seq,
            oldest_seq=1 if entry is None else entry.oldest_seq,
            info=self._reads.info(session_id),
            snapshot=snapshot,
        )

    def _give_back(self, session_id: str, epoch: int | None) -> None:
        if epoch is None:
            del self._epochs[session_id]
        else:
            self._epochs[session_id] = epoch

    def owns(self, claim: Claim) -> bool:
        return self._epochs.get(claim.session_id) == claim.epoch

    def release(self, claim: Claim) -> None:
        if self.owns(claim):
            del self._epochs[claim.session_id]

    async def append(
        self,
        claim: Claim,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None,
    ) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._fence(claim)
        session_id = claim.session_id
        entry = self._entries.get(session_id)
        head = self._heads.get(session_id)
        if head is None:
            head = 0 if entry is None else entry.head_seq
            if info is None and (entry is None or not entry.info):
                raise InvalidArgument(f"the first append to session {session_id!r} needs an info")
        if expected_seq != head + 1:
            raise StaleOwner(
                session_id,
                epoch=claim.epoch,
                current=f"the head is {head} and the append starts at {expected_seq}",
            )
        if not records and info is None:
            return
        try:
            changes, blocks = encode_events(session_id, expected_seq, records, info)
        except _NOT_HELD as error:
            check_append(session_id, records, info)
            raise InvalidArgument(
                f"an append to session {session_id!r} cannot be kept: {error}"
            ) from error
        pending = self._launch(session_id, (changes, blocks))
        self._heads[session_id] = head + len(records)
        await self._landed(session_id, pending)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._fence(claim)
        entry = self._existing(claim.session_id)
        check_seq("the seq of a snapshot", snapshot.seq)
        if snapshot.seq > entry.head_seq:
            raise InvalidArgument(
                f"a snapshot at seq {snapshot.seq} is ahead of the head, {entry.head_seq}"
            )
        session_id = claim.session_id
        encoded = encode_snapshot(session_id, snapshot.seq, snapshot.body)
        await self._landed(session_id, self._launch(session_id, encoded))

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._existing(session_id)
        check_name("cursor name", name)
        check_seq("the seq of a cursor", seq)
        await self.commits.append(*encode_cursor(session_id, name, seq))
        self._existing(session_id)  # it may have been deleted just before

    async def trim(self, claim: Claim, before: int) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._fence(claim)
        entry = self._existing(claim.session_id)
        check_seq("what to trim before", before)
        before = min(before, entry.head_seq + 1)
        if before > entry.oldest_seq:
            session_id = claim.session_id
            encoded = encode_trim(session_id, before)
            await self._landed(session_id, self._launch(session_id, encoded))
            self.freed()

    async def delete(self, claim: Claim) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._fence(claim)
        session_id = claim.session_id
        entry = self._entries.get(session_id)
        if session_id not in self._flights and (entry is None or not entry.info):
            del self._epochs[session_id]
            return
        head = self._heads.get(session_id)
        if head is None:
            head = 0 if entry is None else entry.head_seq
        pending = self._launch(session_id, encode_tombstone(session_id, head))
        del self._epochs[session_id]
        await self._landed(session_id, pending)
        self._news.wake_session(session_id)
        self.freed()

    def _fence(self, claim: Claim) -> None:
        epoch = self._epochs.get(claim.session_id)
        if epoch != claim.epoch:
            current = "nobody" if epoch is None else f"epoch {epoch}"
            raise StaleOwner(
                claim.session_id, epoch=claim.epoch, current=f"{current} owns the session"
            )

    def _existing(self, session_id: str) -> Entry:
        entry = self._entries.get(session_id)
        if entry is None or not entry.info:
            raise UnknownSession(session_id)
        return entry

    def _launch(self, session_id: str, encoded: Encoded) -> Pending:
        """Send a write of a claim on its way; ``_landed`` follows at once."""
        pending = self.commits.put(*encoded)
        flights = self._flights
        flights[session_id] = flights.get(session_id, 0) + 1
        return pending

    async def _landed(self, session_id: str, pending: Pending) -> None:
        try:
            await self.commits.committed(pending)
        finally:
            left = self._flights[session_id] - 1
            if left:
                self._flights[session_id] = left
            else:
                del self._flights[session_id]
                self._heads.pop(session_id, None)

    def _published(self, changes: list[Change], end: int) -> None:
        self._state.end = end
        try:
            self.opened.publish(end)
        except OSError as error:  # readers in other processes learn of it later
            _log.warning("durable offset not published", error=repr(error))
        publish, anybody = self._news.publish, self._news.anybody
        for change in changes if anybody else ():
            if change.kind == fmt.EVENTS and change.events:
                ended = [mark.run_id for mark in change.marks if mark.what == ENDED]
                publish(change.session_id, change.seq + change.events - 1, ended)
        self.grown(end)

    def check_poison(self) -> None:
        """Raise StoreFailed if nothing will ever be written again."""
        poison = self.commits.poison
        if poison is not None:
            raise StoreFailed(poison.message, written=False, poisoned=True)

    def _failed(self) -> None:
        self._heads.clear()
        if self.commits.poison is not None:
            self._news.wake_all()
