"""Reading what a MemoryStore has, beside it or as a part of it."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime.errors import StoreFailed, UnknownSession
from moorage.runtime.placement import SessionHolder, UnheldSession

from .bounds import check_limit
from .news import NewsBoard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from moorage.runtime.placement import NodeInfo
    from moorage.runtime.ports import Answered, Page, Snapshot, StoredRun
    from moorage.runtime.sessions import SessionInfo

    from .memory import MemoryStore
    from .memory_log import MemoryLog

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


class Lease:
    """Who holds a session; ``expires_at`` is on trio's clock."""

    __slots__ = ("epoch", "expires_at", "node")

    def __init__(self, epoch: int, node: MemoryStore, expires_at: float) -> None:
        self.epoch = epoch
        self.node = node
        self.expires_at = expires_at


class MemoryContent:
    """What the nodes of a cluster, and readers, share."""

    def __init__(self) -> None:
        self.logs: dict[str, MemoryLog] = {}
        self.tombstones: dict[str, int] = {}
        self.leases: dict[str, Lease] = {}
        self.nodes: list[MemoryStore] = []
        self.node_numbers = itertools.count(1)
        self.boards: list[NewsBoard] = []
        self.letters: dict[str, Answered | None] = {}
        """Commands on their way from one node to another, with the answers that were kept."""
        self.last_epoch = 0
        self.changes = 0
        self.appends = 0


class MemoryReader:
    """Reads a MemoryStore's content; made by ``MemoryStore.reading``."""

    def __init__(self, content: MemoryContent) -> None:
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
                except BaseException as error:
                    problem = error  # raised again outside: the nursery would wrap it in a group
                finally:
                    self._is_open = False
                    nursery.cancel_scope.cancel()
        finally:
            self._content.boards.remove(self._board)
            self._board.wake_all()
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # its traceback refers to this frame

    async def nodes(self) -> Sequence[NodeInfo]:
        """See NodesReader."""
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        content, now = self._content, trio.current_time()
        held = Counter(lease.node for lease in content.leases.values() if lease.expires_at > now)
        return [node.told(sessions=held[node]) for node in content.nodes]

    async def holder(self, session_id: str) -> SessionHolder | None:
        """See HolderReader."""
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        lease = self._content.leases.get(session_id)
        if lease is None:
            return None
        node, left = lease.node, lease.expires_at - trio.current_time()
        return SessionHolder(node._node_id, node._owner, lease.epoch, left)

    async def unserved(self, limit: int) -> Sequence[UnheldSession]:
        """See NodesReader."""
        nodes = await self.nodes()
        waiting = self._waiting()
        return [
            session
            for session in waiting
            if not any(node.serves(session.demands) for node in nodes)
        ][:limit]

    def _waiting(self) -> list[UnheldSession]:
        """Sessions that need a worker and that no live owner has, the longest waiting first."""
        waiting = [
            info
            for session_id, log in self._content.logs.items()
            if self._live_lease(session_id) is None and (info := log.info()).needs_worker
        ]
        waiting.sort(key=lambda info: info.modified_at_ns)
        return [UnheldSession(info.id, info.demands) for info in waiting]

    def _live_lease(self, session_id: str) -> Lease | None:
        lease = self._content.leases.get(session_id)
        return lease if lease is not None and lease.expires_at > trio.current_time() else None

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
        check_limit(limit)
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

    async def cursors(self, session_id: str) -> dict[str, int]:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = self._content.logs.get(session_id)
        return {} if log is None else dict(log.cursors)

    async def tombstones(self) -> AsyncGenerator[tuple[str, int]]:
        self._check_open()
        for index, tombstone in enumerate(list(self._content.tombstones.items())):
            if index % _SESSIONS_PER_CHECKPOINT == 0:
                await trio.lowlevel.checkpoint()
            yield tombstone

    async def session_bytes(self, session_id: str) -> int:
        """What the session's event bodies take together. Raises UnknownSession."""
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._log(session_id).size_bytes

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


async def _each(infos: list[SessionInfo]) -> AsyncGenerator[SessionInfo]:
    for index, info in enumerate(infos):
        if index % _SESSIONS_PER_CHECKPOINT == 0:
            await trio.lowlevel.checkpoint()
        yield info
