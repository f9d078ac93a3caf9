"""A full store in memory: the verified fake that tests run on, and a store for what may be lost.

There are no threads, so everything on it runs under an autojumping clock. What "durable" means
here is that it outlives the supervisor: a MemoryStore that is opened again has its content.
"""

from __future__ import annotations

import contextlib
import math
import time
import uuid
from typing import TYPE_CHECKING

import trio
from moorage.runtime.commands import demands_of
from moorage.runtime.errors import (
    AdmissionClosed,
    InvalidArgument,
    MoorageError,
    SessionHeld,
    StaleOwner,
)
from moorage.runtime.placement import NodeInfo, NodeState
from moorage.runtime.ports import Answered, Claim, Deliver, Record, Snapshot

from .bounds import check_append, check_name, check_seq
from .hints import Hint
from .mail import answered_before, check_answered
from .memory_log import MemoryLog
from .memory_reader import Lease, MemoryContent, MemoryReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from typing import Self

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.placement import UnheldSession
    from moorage.runtime.ports import StoreReader
    from moorage.runtime.sessions import SessionInfo

HAND_OVER_PAUSE_SECONDS = 0.05


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
        super().__init__(MemoryContent())
        self._lease_seconds = lease_seconds
        self._owner = ""
        self._deliver: Deliver | None = None
        self._node_id = ""
        self._opened_at = self._node_until = 0.0
        self._state: NodeState | None = None
        self._hint = Hint()

    @property
    def lease_seconds(self) -> float | None:
        return self._lease_seconds

    def peer(self) -> Self:
        """Another store object over the same content, as another process would have."""
        peer = type(self)(lease_seconds=self._lease_seconds)
        peer._content = self._content
        return peer

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        content = self._content
        if self in content.nodes or (content.nodes and self._lease_seconds is None):
            holder = self if self in content.nodes else content.nodes[0]
            raise SessionHeld("the memory store", holder=holder._owner)
        self._owner, self._deliver = owner, deliver
        self._node_id, self._opened_at = str(next(content.node_numbers)), time.time()
        self._node_until, self._state = self._expiry(), None
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
                    log = content.logs.get(session_id)
                    if log is not None and log.info().needs_worker:
                        self._give_hint()

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
        content.leases[session_id] = Lease(content.last_epoch, self, self._expiry())
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
        self._node_until = self._expiry()
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

    # ---- one of several nodes ----

    async def announce(self, state: NodeState) -> Mapping[str, NodeState]:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._state = state
        self._node_until = self._expiry()
        others = [node.told(sessions=0) for node in self._content.nodes if node is not self]
        live = {node.id: node.state for node in others if node.live and node.state is not None}
        return {self._node_id: state, **live}

    def told(self, *, sessions: int) -> NodeInfo:
        """What is known of this node."""
        left = self._node_until - trio.current_time()
        return NodeInfo(self._node_id, self._owner, self._opened_at, left, sessions, self._state)

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> Sequence[UnheldSession]:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        return [
            session for session in self._waiting() if offer is None or session.demands <= offer
        ][:limit]

    async def tell_unheld(self) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint()
        self._give_hint()

    def _give_hint(self) -> None:
        for node in self._content.nodes:
            if node is not self:
                node._hint.give()

    async def wait_unheld(self) -> None:
        await self._hint.wait()

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
        answered: Sequence[Answered] = (),
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
        check_append(session_id, records, info)
        if log is None and info is None:
            raise InvalidArgument(f"the first append to session {session_id!r} needs an info")
        self._keep(answered)
        if log is None:
            assert info is not None
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
        check_seq("the seq of a snapshot", snapshot.seq)
        if snapshot.seq > log.head_seq:
            raise InvalidArgument(
                f"a snapshot at seq {snapshot.seq} is ahead of the head, {log.head_seq}"
            )
        log.snapshot = snapshot
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = self._log(session_id)
        check_name("cursor name", name)
        check_seq("the seq of a cursor", seq)
        log.cursors[name] = seq
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def trim(self, claim: Claim, before: int) -> None:
        await self._begin_write(claim)
        log = self._log(claim.session_id)
        check_seq("what to trim before", before)
        log.trim(before)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def delete(self, claim: Claim, *, answered: Sequence[Answered] = ()) -> None:
        await self._begin_write(claim)
        self._keep(answered)
        content = self._content
        log = content.logs.pop(claim.session_id, None)
        if log is not None:
            content.tombstones[claim.session_id] = log.head_seq
        del content.leases[claim.session_id]
        for board in content.boards:
            board.wake_session(claim.session_id)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        while True:
            self._check_open()
            lease = self._live_lease(session_id)
            node = self._serving(session_id, command) if lease is None else lease.node
            deliver = node._deliver
            assert deliver is not None  # an open node has one, and a closed one has no leases
            if node is self:
                return await deliver(session_id, command)
            try:
                return await self._send(deliver, session_id, command)
            except AdmissionClosed as error:
                if error.reason != "closed":
                    raise
            await trio.sleep(HAND_OVER_PAUSE_SECONDS)  # that node has left, or leaves

    async def _send(self, deliver: Deliver, session_id: str, command: Command) -> Answer:
        letters = self._content.letters
        letter = uuid.uuid4().hex
        letters[letter] = None
        answer: Answer | MoorageError
        try:
            answer = await deliver(session_id, command, letter)
        except MoorageError as error:
            answer = error
        kept = letters.pop(letter)
        if kept is not None:
            answer = kept.answer
        if isinstance(answer, MoorageError):
            raise answer
        return answer

    def _keep(self, answered: Sequence[Answered]) -> None:
        """Keep all of the answers, or raise StoreFailed."""
        letters = self._content.letters
        check_answered(answered)
        for letter, _ in answered:
            if letter not in letters or letters[letter] is not None:
                raise answered_before(letter)
        for item in answered:
            letters[item.letter] = item

    def _serving(self, session_id: str, command: Command) -> MemoryStore:
        """The node that a command goes to whose session nobody has."""
        if self._lease_seconds is None:
            return self
        log = self._content.logs.get(session_id)
        demands = demands_of(command) | (frozenset() if log is None else log.info().demands)
        if self._state is None or self._state.serves(demands):
            return self
        nodes = self._content.nodes
        return next((node for node in nodes if node.told(sessions=0).serves(demands)), self)

    def _expiry(self) -> float:
        if self._lease_seconds is None:
            return math.inf
        return trio.current_time() + self._lease_seconds

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
