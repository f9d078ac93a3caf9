"""Copying sessions from one store into another, whatever kind each is.

Everything keeps its place: seqs, times, run ids, types, data, metadata, schema versions, the info,
idempotency keys, the snapshot, named cursors, and the last seq of deleted sessions. What an export
of a session shows is the same before and after.

A session is written as quarantined, with a mark in its metadata, and gets its own info with its
last event: a copy that was cut off leaves nothing that looks complete or starts working, and the
next one goes on behind what is there. A session that is in the target already is compared, and
never overwritten: if it is a beginning of the source's it is continued, else it is a conflict.

The source may be in use; what is copied of a session is what it was at one moment. Copy again, when
its owner has stopped, for what came after.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import (
    CursorExpired,
    InvalidArgument,
    SessionHeld,
    StaleOwner,
    StoreFailed,
    UnknownSession,
)
from moorage.runtime.sessions import SEALED, SessionInfo, SessionState

from .comparing import Pacing, difference, first_difference, first_seq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from moorage.runtime.events import Event
    from moorage.runtime.ports import Claim, Record, Snapshot, Store, StoreReader

MARK = "moorage.copy"
"""The entry in the metadata of a session that is not complete yet."""
_FILLER = "copy_filler"
_FILLERS_AT_ONCE = 10_000
_TRIES_MAX = 3
"""How often a session is begun again that changes while it is copied."""
_LEASES = 1.25
"""For how long what is held in the target is waited for, in leases, from the beginning on."""
_HELD_PAUSE_SECONDS = 0.1


@attrs.frozen
class CopyProblem:
    """A session that could not be copied, or is not the same afterwards."""

    session_id: str
    reason: str


@attrs.frozen
class CopyReport:
    """What was done. ``sessions`` were written and ``sessions_there`` were the same already."""

    sessions: int = 0
    sessions_there: int = 0
    events: int = 0
    cursors: int = 0
    tombstones: int = 0
    problems: tuple[CopyProblem, ...] = ()


class _Conflict(Exception):
    """The target has something else under this id."""


async def copy_sessions(
    source: StoreReader,
    target: Store,
    *,
    session_ids: Collection[str] | None = None,
    prefix: str = "",
    verify: bool = True,
    told: Callable[[str, int], None] | None = None,
) -> CopyReport:
    """Copy every session of ``source``, or those named, or those that begin with ``prefix``, into
    ``target``, which is open for writing.

    ``verify`` reads everything again on both sides and compares. ``told`` is called with the id and
    number of events of each session that was copied. What goes wrong with one session is in the
    report's ``problems``; StoreFailed of either store ends it all. Raises UnknownSession for a
    named session that does not exist, and InvalidArgument.
    """
    if session_ids is not None and prefix:
        raise InvalidArgument("name sessions or give a prefix, not both")
    if session_ids is None:
        infos = await _listed(source.sessions(prefix=prefix))
        ids = [info.id for info in reversed(infos)]  # so that they are listed in the same order
    else:
        ids = list(dict.fromkeys(session_ids))
        for session_id in ids:
            if await source.info(session_id) is None:
                raise UnknownSession(session_id)
    copying = _Copying(source, target, verify)
    for session_id in ids:
        events = await copying.copy(session_id)
        if told is not None and events is not None:
            told(session_id, events)
    if session_ids is None:
        await copying.copy_tombstones(prefix)
    return copying.report


async def _listed(infos: AsyncIterator[SessionInfo]) -> list[SessionInfo]:
    return [info async for info in infos]


class _Copying:
    """One copy on its way; ``report`` has what was done so far."""

    def __init__(self, source: StoreReader, target: Store, verify: bool) -> None:
        self._source = source
        self._target = target
        self._verify = verify
        lease_seconds = target.lease_seconds or 0.0
        self._patient_until = trio.current_time() + _LEASES * lease_seconds
        self.report = CopyReport()

    def _count(self, **more: int) -> None:
        counts: dict[str, Any] = {name: getattr(self.report, name) + n for name, n in more.items()}
        self.report = attrs.evolve(self.report, **counts)

    def _problem(self, session_id: str, reason: str) -> None:
        problem = CopyProblem(session_id, reason)
        self.report = attrs.evolve(self.report, problems=(*self.report.problems, problem))

    async def copy(self, session_id: str) -> int | None:
        """The number of events that were written, None if there is a problem or no session."""
        for _ in range(_TRIES_MAX):
            info = await self._source.info(session_id)
            if info is None:  # deleted meanwhile
                return None
            if SEALED in info.metadata:  # its idempotency keys could not be found any more
                self._problem(session_id, "it is encrypted: open the source with its keys")
                return None
            try:
                written = await self._copy_as_of(info)
            except (_Conflict, SessionHeld, StaleOwner) as error:
                self._problem(session_id, str(error))
                return None
            except StoreFailed as error:
                if error.code != "key_unavailable":
                    raise
                self._problem(session_id, error.message)
                return None
            except (CursorExpired, UnknownSession):
                continue  # it was trimmed or deleted while it was read
            reason = await difference(self._source, self._target, info) if self._verify else None
            if reason is None:
                self._count(events=written, **{"sessions" if written else "sessions_there": 1})
                return written
            if await self._source.info(session_id) == info:
                self._problem(session_id, f"after copying, {reason}")
                return None
        self._problem(session_id, "it changes all the time: stop its owner, or copy it again")
        return None

    async def _copy_as_of(self, info: SessionInfo) -> int:
        """Bring the target up to what ``info`` says of the source."""
        first = await first_seq(self._source, info.id)
        claim = await self._claim(info.id)
        async with self._kept(claim):
            session = _Session(self._source, self._target, claim, info, first)
            written = await session.bring_up_to_date()
            cursors = await self._copy_cursors(info.id)
        await self._target.release(claim)
        self._count(cursors=cursors)
        return written

    async def _claim(self, session_id: str) -> Claim:
        """Raises SessionHeld if a live process has it. What a copy that was killed has left held
        is waited for, as long as its lease may last."""
        while True:
            try:
                return await self._target.claim(session_id)
            except SessionHeld:
                if trio.current_time() >= self._patient_until:
                    raise
                await trio.sleep(_HELD_PAUSE_SECONDS)

    async def _copy_cursors(self, session_id: str) -> int:
        copied = 0
        there = await self._target.cursors(session_id)
        for name, seq in (await self._source.cursors(session_id)).items():
            if there.get(name) != seq:
                await self._target.save_cursor(session_id, name, seq)
                copied += 1
        return copied

    async def copy_tombstones(self, prefix: str) -> None:
        """Numbers of deleted sessions go on above their last, in the target too."""
        tombstones = [
            (session_id, seq)
            async for session_id, seq in self._source.tombstones()
            if session_id.startswith(prefix)
        ]
        for session_id, seq in tombstones:
            claim = await self._claim(session_id)
            async with self._kept(claim):
                if claim.info is None or MARK in claim.info.metadata:
                    if claim.head_seq < seq or claim.info is not None:
                        await _end_at(self._target, claim, max(seq, claim.head_seq))
                        self._count(tombstones=1)
                else:
                    self._problem(session_id, "it was deleted in the source and is in the target")
            await self._target.release(claim)

    @contextlib.asynccontextmanager
    async def _kept(self, claim: Claim) -> AsyncIterator[None]:
        """Renew the claim, where claims end by themselves, for as long as the block takes."""
        lease_seconds = self._target.lease_seconds
        if lease_seconds is None:
            yield
            return

        async def renew() -> None:
            while True:
                await trio.sleep(lease_seconds / 3)
                await self._target.renew([claim])

        problem: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(renew)
            try:
                yield
            except Exception as error:  # raised again below, not wrapped in a group
                problem = error
            nursery.cancel_scope.cancel()
        if problem is not None:
            raise problem


class _Session:
    """One session on its way into the target, under a claim."""

    def __init__(
        self, source: StoreReader, target: Store, claim: Claim, info: SessionInfo, first: int
    ) -> None:
        self._source = source
        self._target = target
        self._claim = claim
        self._info = info
        self._first = first
        self._head = claim.head_seq
        self._written = 0

    async def bring_up_to_date(self) -> int:
        """Returns the number of events written. Raises _Conflict."""
        there = self._claim.info
        if there is not None and not await self._continues(there):
            if MARK not in there.metadata:
                raise _Conflict("the target has another session under this id: it was left alone")
            await self._target.delete(self._claim)
            await self._claim_again()
            there = None
        if there is None:
            await self._begin()
        written = await self._write()
        await self._keep_snapshot(await self._source.snapshot(self._info.id))
        return written

    async def _continues(self, there: SessionInfo) -> bool:
        """Whether what the target has is a beginning of what the source has."""
        last = there.head_seq
        complete = MARK not in there.metadata
        if last > self._info.head_seq or self._claim.oldest_seq > self._first:
            return False
        if last == self._info.head_seq and not (complete and there == self._info):
            return False
        if last < self._info.head_seq and self._first > last:
            return False  # nothing of it is left in the source to compare
        seq = await first_difference(
            self._source, self._target, there.id, first=self._first, last=last
        )
        if seq is None and self._claim.oldest_seq < self._first:
            await self._target.trim(self._claim, self._first)  # as the source was since
        return seq is None

    async def _begin(self) -> None:
        """So that the first event gets the seq that it has in the source."""
        if self._head > self._first - 1:
            raise _Conflict(
                f"its id was used in the target up to seq {self._head}, and the session begins at "
                f"seq {self._first}"
            )
        # where everything was trimmed there is one to append all the same, to bring the info
        before = min(self._first, self._info.head_seq) - 1
        if self._head < before:
            await _end_at(self._target, self._claim, before)
            await self._claim_again()

    async def _claim_again(self) -> None:
        self._claim = await self._target.claim(self._info.id)
        self._head = self._claim.head_seq

    async def _write(self) -> int:
        last = self._info.head_seq
        if self._first > last and self._head < last:
            filler = encode_event(self._info.modified_at_ns, _FILLER, None, None)
            await self._append([filler], final=True)
            await self._target.trim(self._claim, last + 1)
            return 1
        pacing = Pacing()
        while self._head < last:
            page = await self._source.read(
                self._info.id, after=self._head, before=last + 1, limit=pacing.limit
            )
            if not page.events:
                raise _Conflict(f"the source has no event at seq {self._head + 1}")
            records = [record_of(event) for event in page.events]
            pacing.seen(len(records), sum([len(record.body) for record in records]))
            if self._head + len(records) < last:
                await self._append(records, final=False)
            else:
                await self._finish(records)
        return self._written

    async def _finish(self, records: list[Record]) -> None:
        """The last event brings the session's own info. What a session without its beginning
        cannot do without, its snapshot, comes before, unless it is of that very event."""
        if self._first > 1 and len(records) > 1:
            await self._append(records[:-1], final=False)
            await self._keep_snapshot(await self._source.snapshot(self._info.id))
            records = records[-1:]
        await self._append(records, final=True)

    async def _append(self, records: list[Record], *, final: bool) -> None:
        info = self._info if final else _unfinished(self._info)
        await self._target.append(
            self._claim, expected_seq=self._head + 1, records=records, info=info
        )
        self._head += len(records)
        self._written += len(records)

    async def _keep_snapshot(self, snapshot: Snapshot | None) -> None:
        """One that is newer than what is copied would tell of what is not there."""
        if (
            snapshot is not None
            and snapshot.seq <= self._head
            and await self._target.snapshot(self._info.id) != snapshot
        ):
            await self._target.save_snapshot(self._claim, snapshot)


def record_of(event: Event) -> Record:
    """What a store takes to have this event again."""
    key = None
    if event.type == "run_submitted" and type(event.data) is dict:
        key = event.data.get("key")
    return encode_event(
        event.time_ns,
        event.type,
        event.run_id,
        event.data,
        event.metadata,
        version=event.version,
        key=key,
        checked=True,
    )


def _unfinished(info: SessionInfo, **facts: Any) -> SessionInfo:
    """Nobody works with a quarantined session."""
    return attrs.evolve(
        info,
        state=SessionState.QUARANTINED,
        reason="its copy was not finished: copy it again, or delete it",
        metadata={MARK: {"until_seq": info.head_seq}},
        **facts,
    )


async def _end_at(target: Store, claim: Claim, seq: int) -> None:
    """Make the session one that was deleted with ``seq`` as its last; the claim is over."""
    session_id = claim.session_id
    info = _unfinished(SessionInfo(session_id, SessionState.OPEN, {}, {}, 0, 0, seq, {}))
    head = claim.head_seq
    filler = encode_event(0, _FILLER, None, None)
    while head < seq:
        count = min(_FILLERS_AT_ONCE, seq - head)
        await target.append(claim, expected_seq=head + 1, records=[filler] * count, info=info)
        head += count
    await target.delete(claim)
