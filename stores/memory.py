"""A full store in memory: the verified fake that tests run on, and a store for what may be lost.

There are no threads, so everything on it runs under an autojumping clock. What "durable" means
here is that it outlives the supervisor: a MemoryStore that is opened again has its content.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime.errors import (
    InvalidArgument,
    SessionHeld,
    StaleOwner,
    StoreFailed,
    UnknownSession,
)
from moorage.runtime.ports import Claim, Deliver, Page, Record, Snapshot, StoredRun

from .memory_log import MemoryLog
from .news import NewsBoard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import StoreReader
    from moorage.runtime.sessions import SessionInfo

_EVENTS_PER_CHECKPOINT = 256
_SESSIONS_PER_CHECKPOINT = 64


@attrs.frozen
class MemoryStatistics:
    """Counts and sizes. ``claims`` are the live ones of all nodes, ``waiting`` the tasks that wait
    for news through this store or reader, ``size_bytes`` the encoded events'."""

    sessions: int
    tombstones: int
    events: int
    size_bytes: int
    claims: int
    appends: int
    waiting: int


@attrs.define(eq=False)
class _Lease:
    epoch: int
    node: MemoryStore
    expires_at: float


class _Content:
    """What the nodes of a cluster, and readers, share."""

    def __init__(self) -> None:
        self.logs: dict[str, MemoryLog] = {}
        self.tombstones: dict[str, int] = {}
        self.leases: dict[str, _Lease] = {}
        self.nodes: list[MemoryStore] = []
        self.boards: list[NewsBoard] = []
        self.last_epoch = 0
        self.changes = 0
        self.appends = 0


class MemoryReader:
    """Reads a MemoryStore's content; made by ``MemoryStore.reading``."""

    def __init__(self, content: _Content) -> None:
        self._content = content
        self._board = NewsBoard()
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreFailed(
                "the memory store is not open: use it within `async with`", written=False
            )

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncGenerator[None]:
        """Be open and wake waiters; what the block raises leaves bare, not wrapped in a group."""
        problem: BaseException | None = None
        self._content.boards.append(self._board)
        self._is_open = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._board.run)
                try:
                    yield
                finally:
                    self._is_open = False
                    nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) != 1:
                raise
            problem = group.exceptions[0]
        finally:
            self._content.boards.remove(self._board)
            self._board.wake_all()
        if problem is not None:
            raise problem

    async def info(self, session_id: str) -> SessionInfo | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = self._content.logs.get(session_id)
        return None if log is None else log.info()

    def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncIterator[SessionInfo]:
        self._check_open()
        logs = sorted(self._content.logs.values(), key=lambda log: log.change, reverse=True)
        infos = (log.info() for log in logs if log.session_id.startswith(prefix))
        wanted = [
            info
            for info in infos
            if (not needs_worker or info.needs_worker)
            and (not tags or tags.items() <= info.tags.items())
        ]
        return _each(wanted)

    async def read(
        self,
        session_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1_000,
        types: frozenset[str] | None = None,
        run_id: str | None = None,
        backwards: bool = False,
    ) -> Page:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        page = self._log(session_id).page(
            after=after,
            before=before,
            limit=limit,
            types=types,
            run_id=run_id,
            backwards=backwards,
        )
        if len(page.events) >= _EVENTS_PER_CHECKPOINT:  # a reader in a loop lets others in
            await trio.lowlevel.checkpoint()
        return page

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        self._check_open()
        log = self._content.logs.get(session_id)
        if log is None or (log.head_seq > after if run_id is None else log.run_ended(run_id)):
            await trio.lowlevel.checkpoint()
        else:
            await self._board.wait(session_id, after=after, run_id=run_id)

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = self._content.logs.get(session_id)
        return None if log is None else log.find_run(run_id)

    async def find_key(self, session_id: str, key: str) -> str | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = self._content.logs.get(session_id)
        return None if log is None else log.find_key(key)

    async def snapshot(self, session_id: str) -> Snapshot | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = self._content.logs.get(session_id)
        return None if log is None else log.snapshot

    async def cursor(self, session_id: str, name: str) -> int | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = self._content.logs.get(session_id)
        return None if log is None else log.cursors.get(name)

    def statistics(self) -> MemoryStatistics:
        logs = self._content.logs.values()
        return MemoryStatistics(
            sessions=len(logs),
            tombstones=len(self._content.tombstones),
            events=sum(log.head_seq - log.oldest_seq + 1 for log in logs),
            size_bytes=sum(log.size_bytes for log in logs),
            claims=len(self._content.leases),
            appends=self._content.appends,
            waiting=self._board.statistics().waiting,
        )

    def _log(self, session_id: str) -> MemoryLog:
        log = self._content.logs.get(session_id)
        if log is None:
            raise UnknownSession(session_id)
        return log


class MemoryStore(MemoryReader):
    """A store in memory. Opened by one supervisor at a time, and it keeps its content in between.

    With ``lease_seconds`` it is one node of a cluster within this process: ``peer()`` gives the
    others, claims expire unless they are renewed (on trio's clock), and commands are handed to the
    node that holds the session. Without it a peer stands for a second process on the same content
    and is refused while the first is open.
    """

    def __init__(self, *, lease_seconds: float | None = None) -> None:
        if lease_seconds is not None and not lease_seconds > 0:
            raise InvalidArgument(f"lease_seconds must be above 0, not {lease_seconds!r}")
        super().__init__(_Content())
        self._lease_seconds = lease_seconds
        self._owner = ""
        self._deliver: Deliver | None = None

    @property
    def lease_seconds(self) -> float | None:
        return self._lease_seconds

    def peer(self) -> MemoryStore:
        """Another store object over the same content, as another process would have."""
        peer = MemoryStore(lease_seconds=self._lease_seconds)
        peer._content = self._content
        return peer

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        content = self._content
        if self in content.nodes or (content.nodes and self._lease_seconds is None):
            holder = self if self in content.nodes else content.nodes[0]
            raise SessionHeld("the memory store", holder=holder._owner)
        self._owner, self._deliver = owner, deliver
        content.nodes.append(self)
        try:
            async with self._running():
                yield
        finally:
            content.nodes.remove(self)
            self._deliver = None
            for session_id, lease in list(content.leases.items()):
                if lease.node is self:
                    del content.leases[session_id]

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        reader = MemoryReader(self._content)
        async with reader._running():
            yield reader

    async def claim(self, session_id: str) -> Claim:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        content = self._content
        lease = self._live_lease(session_id)
        if lease is not None and lease.node is not self:
            raise SessionHeld(f"session {session_id!r}", holder=lease.node._owner)
        content.last_epoch += 1
        content.leases[session_id] = _Lease(content.last_epoch, self, self._expiry())
        log = content.logs.get(session_id)
        head_seq = content.tombstones.get(session_id, 0) if log is None else log.head_seq
        return Claim(
            session_id=session_id,
            epoch=content.last_epoch,
            head_seq=head_seq,
            oldest_seq=head_seq + 1 if log is None else log.oldest_seq,
            info=None if log is None else log.info(),
            snapshot=None if log is None else log.snapshot,
        )

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        lost = []
        for claim in claims:
            lease = self._content.leases.get(claim.session_id)
            if lease is not None and lease.epoch == claim.epoch:
                lease.expires_at = self._expiry()
            else:
                lost.append(claim)
        return lost

    async def release(self, claim: Claim) -> None:
        self._check_open()
        lease = self._content.leases.get(claim.session_id)
        if lease is not None and lease.epoch == claim.epoch:
            del self._content.leases[claim.session_id]
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
    ) -> None:
        await self._begin_write(claim)
        content, session_id = self._content, claim.session_id
        log = content.logs.get(session_id)
        head_seq = content.tombstones.get(session_id, 0) if log is None else log.head_seq
        if expected_seq != head_seq + 1:
            raise StaleOwner(
                session_id,
                epoch=claim.epoch,
                current=f"the head is {head_seq} and the append starts at {expected_seq}",
            )
        if log is None:
            if info is None:
                raise InvalidArgument(f"the first append to session {session_id!r} needs an info")
            log = content.logs[session_id] = MemoryLog(session_id, head_seq=head_seq, info=info)
            content.tombstones.pop(session_id, None)
        elif info is not None:
            log.replace_info(info)
        ended_runs = log.append(records)
        content.changes += 1
        content.appends += 1
        log.change = content.changes
        for board in content.boards:
            board.publish(session_id, log.head_seq, ended_runs)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        await self._begin_write(claim)
        log = self._log(claim.session_id)
        if snapshot.seq > log.head_seq:
            raise InvalidArgument(
                f"a snapshot at seq {snapshot.seq} is ahead of the head, {log.head_seq}"
            )
        log.snapshot = snapshot
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._log(session_id).cursors[name] = seq
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def trim(self, claim: Claim, before: int) -> None:
        await self._begin_write(claim)
        self._log(claim.session_id).trim(before)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def delete(self, claim: Claim) -> None:
        await self._begin_write(claim)
        content = self._content
        log = content.logs.pop(claim.session_id, None)
        if log is not None:
            content.tombstones[claim.session_id] = log.head_seq
        del content.leases[claim.session_id]
        for board in content.boards:
            board.wake_session(claim.session_id)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        self._check_open()
        lease = self._live_lease(session_id)
        deliver = self._deliver if lease is None else lease.node._deliver
        assert deliver is not None  # an open node has one, and a closed one has no leases
        return await deliver(session_id, command)

    def _expiry(self) -> float:
        if self._lease_seconds is None:
            return math.inf
        return trio.current_time() + self._lease_seconds

    def _live_lease(self, session_id: str) -> _Lease | None:
        lease = self._content.leases.get(session_id)
        return lease if lease is not None and lease.expires_at > trio.current_time() else None

    async def _begin_write(self, claim: Claim) -> None:
        """The last point at which a write can be cancelled; it raises StaleOwner too.

        A lease that ran out but was not taken over is good enough: epochs decide, never clocks.
        """
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        lease = self._content.leases.get(claim.session_id)
        if lease is None or lease.epoch != claim.epoch:
            current = "nobody" if lease is None else f"epoch {lease.epoch}, {lease.node._owner},"
            raise StaleOwner(
                claim.session_id, epoch=claim.epoch, current=f"{current} owns the session"
            )


async def _each(infos: list[SessionInfo]) -> AsyncGenerator[SessionInfo]:
    for index, info in enumerate(infos):
        if index % _SESSIONS_PER_CHECKPOINT == 0:
            await trio.lowlevel.checkpoint()
        yield info
