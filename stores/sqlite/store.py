"""SqliteStore: one file, one process that writes, any number that read."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from moorage.runtime.errors import InvalidArgument, StaleOwner, StoreFailed
from moorage.runtime.ports import Claim, Snapshot

from ..bounds import check_seq
from ..durability import Durability
from ..group_commit import GroupCommit
from ..relational.names import check_held, check_text
from .compacting import compact
from .health import inspect
from .opening import OwnConnection, Place, open_for_writing
from .reading import ReadPool, SqliteReader, SqliteReading
from .statistics import SqliteStatistics
from .writes import Append, Delete, Read, SaveCursor, SaveSnapshot, Trim, Writes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Callable, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Deliver, Record, StoreReader
    from moorage.runtime.sessions import SessionInfo

    from ..group_commit import Job
    from ..health import HealthReport
    from .compacting import SqliteCompaction
    from .opening import Opened

BUSY_SECONDS = 5.0


class SqliteStore(SqliteReading):
    """Sessions in the SQLite database ``path``, with a write-ahead log beside it (``-wal``,
    ``-shm``) and a lock (``-lock``), which one process at a time writes to.

    ``durability`` says what an append survives when it returns. ``busy_seconds`` is how long a
    write waits for another program that has the database locked. ``connect`` is for tests.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        durability: Durability = Durability.COMMIT,
        busy_seconds: float = BUSY_SECONDS,
        connect: Callable[..., sqlite3.Connection] = OwnConnection,
    ) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        if not busy_seconds >= 0:
            raise InvalidArgument(f"busy_seconds must be at least 0, not {busy_seconds!r}")
        try:
            self.path = Path(path)
            synced = Durability(durability) is Durability.COMMIT
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                "a SqliteStore needs the path of a file and a durability of "
                f"{' or '.join(map(repr, map(str, Durability)))}: {error}"
            ) from None
        super().__init__(Place(self.path, synced, busy_seconds, connect))
        self._deliver: Deliver | None = None
        self._commits: GroupCommit | None = None
        self._writes: Writes | None = None
        self._epochs: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        """Durable heads of claimed sessions that exist."""
        self._last_epoch = 0

    @property
    def lease_seconds(self) -> float | None:
        """None: a claim lives as long as the store is open."""
        return None

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        """Open for writing. Raises SessionHeld, CorruptLog and StoreFailed."""
        limiter = trio.CapacityLimiter(1)
        opened = await trio.to_thread.run_sync(
            open_for_writing, self._place, owner, limiter=limiter
        )
        problem: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                commits = self._begin(opened, deliver)
                nursery.start_soon(self._lookout.board.run)
                nursery.start_soon(commits.run)
                try:
                    yield
                except BaseException as error:  # raised again below, not wrapped in a group
                    problem = error
                await self._end(commits)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(opened.close, limiter=limiter)
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # its traceback refers to this frame

    def _begin(self, opened: Opened, deliver: Deliver) -> GroupCommit:
        self._last_epoch = opened.generation << 32
        self._writes = Writes(opened.connection, self.path, change=self._last_epoch)
        self._pool = ReadPool(self._place)
        self._deliver = deliver
        self._commits = GroupCommit(_Executor(self, self._writes))
        return self._commits

    async def _end(self, commits: GroupCommit) -> None:
        """Let what is on its way arrive, and refuse what comes."""
        self._commits = self._writes = self._deliver = None
        pool, self._pool = self._pool, None
        self._lookout.wake_all()
        await commits.stop()
        self._epochs.clear()
        self._heads.clear()
        assert pool is not None
        pool.close()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        """Open a reader beside whoever owns the file; it takes no lock and never writes.

        Raises CorruptLog and StoreFailed, also if there is no such file."""
        reader = SqliteReader(self._place)
        reader._pool = pool = ReadPool(self._place)
        await pool.ask(lambda connection: None)
        problem: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader._lookout.board.run)
                nursery.start_soon(reader.run)
                try:
                    yield reader
                except BaseException as error:
                    problem = error
                nursery.cancel_scope.cancel()
        finally:
            reader._pool = None
            reader._lookout.wake_all()
            pool.close()
        if problem is not None:
            try:
                raise problem
            finally:
                del problem

    async def compact(self, *, owner: str) -> SqliteCompaction:
        """Write the file anew without the room of what was deleted or trimmed, which it keeps
        otherwise for what comes. The store must not be open. Raises SessionHeld and StoreFailed."""
        return await trio.to_thread.run_sync(
            compact, self._place, owner, limiter=trio.CapacityLimiter(1)
        )

    async def inspect(self) -> HealthReport:
        """Read and check everything, beside an owner; the store need not be open. Raises
        StoreFailed."""
        return await trio.to_thread.run_sync(
            inspect, self._place, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True
        )

    def _writer(self) -> GroupCommit:
        if self._commits is None:
            self._opened()
            raise StoreFailed(f"the store in {self.path} is not open for writing", written=False)
        return self._commits

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        commits = self._commits
        if commits is not None and commits.poison is not None:
            raise commits.poison.refusal()
        head_seq = self._heads.get(session_id)
        if head_seq is None or (run_id is not None and head_seq > after):
            await super().wait_news(session_id, after=after, run_id=run_id)
        elif head_seq > after:
            await trio.lowlevel.checkpoint()
        else:
            await self._lookout.board.wait(session_id, after=after, run_id=run_id)

    async def claim(self, session_id: str) -> Claim:
        commits = self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        before = self._epochs.get(session_id)
        self._last_epoch += 1
        epoch = self._epochs[session_id] = self._last_epoch  # from here on nothing is added
        try:
            row, snapshot = await commits.do(Read(session_id))
        except BaseException:
            if self._epochs.get(session_id) == epoch:
                self._give_back(session_id, before)
            raise
        info = None if row is None else row.decoded()
        if info is not None and self._epochs.get(session_id) == epoch:
            self._heads[session_id] = row.head_seq
        return Claim(
            session_id=session_id,
            epoch=epoch,
            head_seq=0 if row is None else row.head_seq,
            oldest_seq=1 if row is None else row.oldest_seq,
            info=info,
            snapshot=snapshot,
        )

    def _give_back(self, session_id: str, epoch: int | None) -> None:
        if epoch is None:
            del self._epochs[session_id]
        else:
            self._epochs[session_id] = epoch

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        return [claim for claim in claims if self._epochs.get(claim.session_id) != claim.epoch]

    async def release(self, claim: Claim) -> None:
        self._writer()
        if self._epochs.get(claim.session_id) == claim.epoch:
            self._forget(claim.session_id)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _forget(self, session_id: str) -> None:
        del self._epochs[session_id]
        self._heads.pop(session_id, None)

    async def _begin_write(self, claim: Claim) -> GroupCommit:
        """The last point at which a write can be cancelled; it raises StaleOwner too."""
        commits = self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        commits.check()
        epoch = self._epochs.get(claim.session_id)
        if epoch != claim.epoch:
            current = "nobody" if epoch is None else f"epoch {epoch}"
            raise StaleOwner(
                claim.session_id, epoch=claim.epoch, current=f"{current} owns the session"
            )
        return commits

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
    ) -> None:
        commits = await self._begin_write(claim)
        check_held(claim.session_id, records, info)
        work = Append(claim.session_id, claim.epoch, expected_seq, records, info)
        await commits.do(work, sum(len(record.body) for record in records))

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        commits = await self._begin_write(claim)
        check_seq("the seq of a snapshot", snapshot.seq)
        await commits.do(SaveSnapshot(claim.session_id, snapshot), len(snapshot.body))

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        commits = self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        check_text("cursor name", name)
        check_seq("the seq of a cursor", seq)
        await commits.do(SaveCursor(session_id, name, seq))

    async def trim(self, claim: Claim, before: int) -> None:
        commits = await self._begin_write(claim)
        check_seq("what to trim before", before)
        await commits.do(Trim(claim.session_id, before))

    async def delete(self, claim: Claim) -> None:
        commits = await self._begin_write(claim)
        self._forget(claim.session_id)
        await commits.do(Delete(claim.session_id))

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        self._writer()
        assert self._deliver is not None
        return await self._deliver(session_id, command)

    def statistics(self) -> SqliteStatistics:
        commits, writes = self._writer(), self._writes
        assert writes is not None
        counts = writes.counts
        return SqliteStatistics(
            claims=len(self._epochs),
            pending=commits.pending,
            waiting=self._lookout.board.statistics().waiting,
            connections=self._opened().connections,
            commits=counts.commits,
            commits_failed=counts.commits_failed,
            syncs=counts.commits + 2 * counts.checkpoints if self._place.synced else 0,
            records=counts.records,
            bytes=counts.bytes,
            checkpoints=counts.checkpoints,
            poisoned=commits.poison is not None,
        )

    def _published(self, batch: list[Job]) -> None:
        """Called with what has become durable, before those who wrote it are told."""
        for job in batch:
            work = job.work
            if job.error is not None:
                continue
            if isinstance(work, Append):
                head_seq = work.expected_seq + len(work.records) - 1
                if self._epochs.get(work.session_id) == work.epoch:
                    self._heads[work.session_id] = head_seq
                self._lookout.publish(work.session_id, head_seq, job.result)
            elif isinstance(work, Delete):
                self._lookout.wake_session(work.session_id)


class _Executor:
    """The two halves that a GroupCommit needs: the thread's and the trio thread's."""

    def __init__(self, store: SqliteStore, writes: Writes) -> None:
        self.execute = writes.execute
        self.rest = writes.rest
        self.published = store._published
        self._lookout = store._lookout

    def poisoned(self, failure: StoreFailed) -> None:
        self._lookout.wake_all()
