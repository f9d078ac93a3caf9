"""PostgresStore: sessions in a database that any number of processes share by leases."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime.commands import demands_of
from moorage.runtime.errors import InvalidArgument, SessionHeld, StaleOwner, StoreFailed
from moorage.runtime.ports import Claim, Snapshot

from ..bounds import check_seq
from ..group_commit import AT_ONCE_JOBS_MIN, GroupCommit
from ..mail import check_answered, encode_answered
from ..relational.names import check_held, check_text, is_text
from ..relational.rows import checked_info_values
from . import ownership
from .inbox import Inbox
from .migrations import MigrationReport, check_version, migrate
from .node import Executor, Held, Node, join_nodes
from .place import CONNECT_SECONDS_MAX, Place
from .reading import Pool, PostgresReading, notify
from .statistics import PostgresStatistics, statistics_of
from .telling import Telling
from .watch import Watch
from .work import NO_DEMANDS, Append, Delete, SaveCursor, SaveSnapshot, Trim, demand_values
from .writes import Writes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.placement import NodeState, UnheldSession
    from moorage.runtime.ports import Answered, Deliver, Record, StoreReader
    from moorage.runtime.sessions import SessionInfo


LEASE_SECONDS = 10.0
LEASE_SECONDS_MIN = 0.1
STATEMENT_TIMEOUT_SECONDS = 30.0
CONNECTIONS_MAX = 6
HAND_OVER_TRIES = 40
HAND_OVER_PAUSE_SECONDS = 0.05


class PostgresStore(PostgresReading):
    """Sessions in the tables of ``schema`` in the database that ``dsn`` names.

    A session belongs to a node, which is one opened store, for ``lease_seconds`` after its last
    sign of life: shorter means that others take over sooner, longer that a database or a process
    may stall for longer without losing its sessions. A statement that takes longer than
    ``statement_timeout_seconds`` fails. Besides up to ``connections_max`` connections for reading
    and claiming, which are made as they are needed and waited for as long as a lease (5 s at
    least), a node keeps three: to write, to listen, and to renew its lease. Through PgBouncer it
    works in session mode only. The tables are made by ``migrate``.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "moorage",
        lease_seconds: float = LEASE_SECONDS,
        statement_timeout_seconds: float = STATEMENT_TIMEOUT_SECONDS,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """No I/O happens here. Raises InvalidArgument."""
        if not lease_seconds >= LEASE_SECONDS_MIN:
            raise InvalidArgument(
                f"lease_seconds must be at least {LEASE_SECONDS_MIN}, not {lease_seconds!r}"
            )
        if not statement_timeout_seconds > 0:
            raise InvalidArgument(
                f"statement_timeout_seconds must be above 0, not {statement_timeout_seconds!r}"
            )
        if type(connections_max) is not int or connections_max < 1:
            raise InvalidArgument(f"connections_max must be at least 1, not {connections_max!r}")
        super().__init__(
            Place.of(
                dsn,
                schema,
                lease_seconds=lease_seconds,
                statement_seconds=statement_timeout_seconds,
            )
        )
        self._lease_seconds = lease_seconds
        self._statement_seconds = statement_timeout_seconds
        self._connections_max = connections_max
        self._node: Node | None = None
        self._held: dict[str, Held] = {}

    @property
    def lease_seconds(self) -> float | None:
        return self._lease_seconds

    async def migrate(self, *, partitions: int | None = None) -> MigrationReport:
        """Make the tables, or bring them to this release's version; the store need not be open.
        ``partitions`` is into how many parts, by session, the event table is made (None, 0: one
        table); it cannot be changed afterwards. Raises StoreFailed and InvalidArgument."""
        make = functools.partial(migrate, self._place, partitions=partitions)
        return await trio.to_thread.run_sync(make, limiter=trio.CapacityLimiter(1))

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        """Open as a node of its own. Raises MigrationRequired and StoreFailed, and SessionHeld if
        this object is open."""
        if self._node is not None:
            raise SessionHeld("this PostgresStore object", holder=f"node {self._node.number}")
        place, lease = self._place, self._lease_seconds
        limiter = trio.CapacityLimiter(1)
        connection, number = await trio.to_thread.run_sync(
            join_nodes, place, owner, lease, limiter=limiter
        )
        problem: BaseException | None = None
        self._pool = pool = self._new_pool()
        try:
            async with trio.open_nursery() as nursery:
                writes = Writes(
                    place,
                    connection,
                    node=number,
                    patience_seconds=lease,
                    stuck_seconds=lease + self._statement_seconds,
                )
                telling = Telling(place.channel, number)
                executor = Executor(writes, self._held, self._lookout, telling)
                commits = GroupCommit(executor, at_once_jobs=AT_ONCE_JOBS_MIN)
                inbox = Inbox(place, pool, node=number, deliver=deliver, nursery=nursery)
                node = self._node = Node(
                    place, number, writes, commits, telling, inbox, deliver, lease
                )
                self._watch = watch = node.watching(pool, self._reads, self._lookout)
                pool.open()
                nursery.start_soon(self._lookout.board.run)
                nursery.start_soon(commits.run)
                nursery.start_soon(watch.run)
                try:
                    yield
                except BaseException as error:  # raised again below, not wrapped in a group
                    problem = error
                self._node = None
                self._lookout.wake_all()
                await node.stop(pool)
                self._held.clear()
                nursery.cancel_scope.cancel()
        finally:
            self._pool = self._watch = None
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(node.leave, pool, limiter=limiter)
        if problem is not None:
            try:
                raise problem
            finally:
                del problem  # its traceback refers to this frame

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        """Open a reader, which is no node and never writes. Raises MigrationRequired and
        StoreFailed."""
        reader = PostgresReading(self._place)
        reader._pool = pool = self._new_pool()
        problem: BaseException | None = None
        pool.open()
        try:
            await pool.ask(lambda connection: check_version(self._place, connection))
            telling = Telling(self._place.channel, 0)
            reader._watch = watch = Watch(
                self._place, pool, reader._reads, reader._lookout, telling=telling
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader._lookout.board.run)
                nursery.start_soon(watch.run)
                try:
                    yield reader
                except BaseException as error:
                    problem = error
                pool.cut_after(self._lease_seconds)
                nursery.cancel_scope.cancel()
        finally:
            reader._pool = reader._watch = None
            reader._lookout.wake_all()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(pool.close, limiter=trio.CapacityLimiter(1))
        if problem is not None:
            try:
                raise problem
            finally:
                del problem

    def _new_pool(self) -> Pool:
        lease = self._lease_seconds
        patience = max(lease, CONNECT_SECONDS_MAX)
        return Pool(self._place, self._connections_max, patience, lease + self._statement_seconds)

    def _writer(self) -> Node:
        if self._node is None:
            self._opened()
            raise StoreFailed(f"{self._place.described} is not open for writing", written=False)
        return self._node

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        held = self._held.get(session_id)
        if held is None or not held.head_seq or (run_id is not None and held.head_seq > after):
            await super().wait_news(session_id, after=after, run_id=run_id)
        elif held.head_seq > after:
            await trio.lowlevel.checkpoint()
        else:
            await self._lookout.board.wait(session_id, after=after, run_id=run_id)

    async def claim(self, session_id: str) -> Claim:
        node = self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        if not is_text(session_id):  # nothing can be appended to it, which is for append to say
            return Claim(session_id, 0, 0, 1, None, None)
        try:
            number, claim = await self._opened().ask(
                ownership.claim, self._reads, session_id, node.number, self._lease_seconds
            )
        except SessionHeld:
            # what we had of it, we lost without being told, and so did who waits for its news
            if self._held.pop(session_id, None) is not None:
                self._lookout.wake_session(session_id)
            raise
        held = self._held.get(session_id)
        if held is None or held.epoch < claim.epoch:
            head_seq = 0 if claim.info is None else claim.head_seq
            self._held[session_id] = Held(number, claim.epoch, head_seq)
        return claim

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        node = self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        numbers = [held.number for claim in claims if (held := self._held_by(claim)) is not None]
        epochs = await node.beats.ask_or_leave(
            ownership.beat, node.number, self._lease_seconds, numbers
        )
        lost = []
        for claim in claims:
            held = self._held_by(claim)
            if held is None or epochs.get(held.number) != claim.epoch:
                lost.append(claim)
                self._forget(claim)
        return lost

    async def release(self, claim: Claim) -> None:
        node = self._writer()
        held = self._held_by(claim)
        if held is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        self._forget(claim)
        with trio.CancelScope(shield=True):
            await self._opened().ask(ownership.release, held.number, claim.epoch, node.number)

    def _held_by(self, claim: Claim) -> Held | None:
        held = self._held.get(claim.session_id)
        return held if held is not None and held.epoch == claim.epoch else None

    def _forget(self, claim: Claim) -> None:
        if self._held_by(claim) is not None:
            del self._held[claim.session_id]
            # who waits for its news waits for another node's from now on
            self._lookout.wake_session(claim.session_id)

    async def _begin_write(self, claim: Claim) -> tuple[GroupCommit, int]:
        """The last point at which a write can be cancelled; it raises StaleOwner for claims that
        are known to be over. Whether the others are is for the database to say."""
        node = self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        node.commits.check()
        held = self._held_by(claim)
        if held is None:
            now = self._held.get(claim.session_id)
            current = (
                "this node has no claim" if now is None else f"this node has epoch {now.epoch}"
            )
            raise StaleOwner(claim.session_id, epoch=claim.epoch, current=current)
        return node.commits, held.number

    async def _do(self, commits: GroupCommit, claim: Claim, work: Any, size: int = 0) -> None:
        try:
            await commits.do(work, size)
        except StaleOwner as error:
            if "append starts at" not in str(error):
                self._forget(claim)
            raise

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
        answered: Sequence[Answered] = (),
    ) -> None:
        check_held(claim.session_id, records, None)
        check_answered(answered)
        values, modified_ns, demands = None, 0, NO_DEMANDS
        if info is not None:
            values, modified_ns = checked_info_values(info), info.modified_at_ns
            demands = demand_values(info.demands)
        inbox = self._writer().inbox
        commits, number = await self._begin_write(claim)
        letters = [(item.letter, encode_answered(item)) for item in answered]
        work = Append(
            claim.session_id,
            number,
            claim.epoch,
            expected_seq,
            records,
            values,
            modified_ns=modified_ns,
            demands=demands,
            answered=letters,
        )
        size = sum(len(record.body) for record in records) + sum(len(body) for _, body in letters)
        await self._do(commits, claim, work, size)
        inbox.note_kept(answered)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        commits, number = await self._begin_write(claim)
        check_seq("the seq of a snapshot", snapshot.seq)
        work = SaveSnapshot(claim.session_id, number, claim.epoch, snapshot)
        await self._do(commits, claim, work, len(snapshot.body))

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        node = self._writer()
        await trio.lowlevel.checkpoint_if_cancelled()
        check_text("cursor name", name)
        check_seq("the seq of a cursor", seq)
        await node.commits.do(SaveCursor(session_id, name, seq))

    async def trim(self, claim: Claim, before: int) -> None:
        commits, number = await self._begin_write(claim)
        check_seq("what to trim before", before)
        await self._do(commits, claim, Trim(claim.session_id, number, claim.epoch, before))

    async def delete(self, claim: Claim, *, answered: Sequence[Answered] = ()) -> None:
        commits, number = await self._begin_write(claim)
        letters = [(item.letter, encode_answered(item)) for item in answered]
        still_ours = False
        try:
            await commits.do(Delete(claim.session_id, number, claim.epoch, letters))
        except StoreFailed as error:
            still_ours = error.written is False
            raise
        finally:
            if not still_ours:
                self._forget(claim)

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        """Deliver it here if the session is ours, or nobody's and for us to take; else bring it to
        its holder, or to a node that takes it."""
        node = self._writer()
        for _ in range(HAND_OVER_TRIES):
            holder, here = None, session_id in self._held or not is_text(session_id)
            if not here:
                holder, here = await self._opened().ask(
                    ownership.route, session_id, demands_of(command), node.number
                )
            if holder != node.number and (holder is not None or not here):
                return await node.inbox.send(session_id, command, holder)
            try:
                return await node.deliver(session_id, command)
            except SessionHeld as error:  # since we looked
                held = error
                await trio.sleep(HAND_OVER_PAUSE_SECONDS)
        raise held

    async def announce(self, state: NodeState) -> dict[str, NodeState]:
        node = self._writer()
        return await self._opened().ask(ownership.announce, node.number, self._lease_seconds, state)

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> list[UnheldSession]:
        return await self._opened().ask(ownership.unheld, limit, offer)

    async def tell_unheld(self) -> None:
        self._writer()
        await self._opened().ask(notify, self._place.nodes_channel, "unheld")

    async def wait_unheld(self) -> None:
        await self._writer().unheld.wait()

    def statistics(self) -> PostgresStatistics:
        node = self._writer()
        return statistics_of(
            node, claims=len(self._held), waiting=self._lookout.board.statistics().waiting
        )
