"""Stores that are wrong about who may write."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import MoorageError

from ..memory import MemoryStore
from .flaws import Reopening

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.ports import Claim, Deliver, Record

_TURNS = 10
"""Turns of the loop that a write takes."""


class StaleEpochAccepted(MemoryStore):
    """A claim that is over may go on writing."""

    async def _begin_write(self, claim: Claim) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()


class StaleEpochWritten(MemoryStore):
    """A stale append is refused, after it was written."""

    async def append(self, claim: Claim, *, records: Sequence[Record], **rest: Any) -> None:
        log = self._content.logs.get(claim.session_id)
        lease = self._content.leases.get(claim.session_id)
        if log is not None and lease is not None and lease.epoch != claim.epoch:
            log.append(records)
        await super().append(claim, records=records, **rest)


class AnyStartAccepted(MemoryStore):
    """An append may start anywhere; it is put behind the head."""

    async def append(self, claim: Claim, *, expected_seq: int, **rest: Any) -> None:
        log = self._content.logs.get(claim.session_id)
        if log is not None:
            expected_seq = log.head_seq + 1
        await super().append(claim, expected_seq=expected_seq, **rest)


class EpochsStartAgain(Reopening):
    """After a restart epochs are counted from 1 again."""

    def on_open(self) -> None:
        self._content.last_epoch = 0


class StaleReleaseHonoured(MemoryStore):
    """Releasing an old claim ends the current one."""

    async def release(self, claim: Claim) -> None:
        self._content.leases.pop(claim.session_id, None)


class SecondOpenerAdmitted(MemoryStore):
    """Two processes may have it open at once."""

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        nodes = self._content.nodes
        others, nodes[:] = list(nodes), []
        async with super().opened(owner=owner, deliver=deliver):
            nodes.extend(others)
            yield


class CommandLost(MemoryStore):
    """A command is answered without asking the owner."""

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        return {"answer": 7}


class RefusalSwallowed(MemoryStore):
    """A command that was refused looks like one that was answered."""

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        try:
            return await super().hand_over(session_id, command)
        except MoorageError as error:
            return error


class LostClaimsRenewed(MemoryStore):
    """renew says that every claim was kept."""

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        await super().renew(claims)
        return []


class LeaseNeverEnds(MemoryStore):
    """A lease that is not renewed still keeps others out."""

    def _expiry(self) -> float:
        return super()._expiry() * 1e9


class LeaseIgnored(MemoryStore):
    """A session that another owner holds is given to whoever asks."""

    async def claim(self, session_id: str) -> Claim:
        self._content.leases.pop(session_id, None)
        return await super().claim(session_id)


class CommandsStayHere(MemoryStore):
    """A command goes to this node's supervisor, whoever holds the session."""

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        assert self._deliver is not None
        return await self._deliver(session_id, command)


class NewSessionStartsAtZero(MemoryStore):
    """The oldest seq of a session that has none is 0."""

    async def claim(self, session_id: str) -> Claim:
        claim = await super().claim(session_id)
        return claim if claim.head_seq else attrs.evolve(claim, oldest_seq=0)


class ClaimWithoutSnapshot(MemoryStore):
    """A claim comes without the snapshot."""

    async def claim(self, session_id: str) -> Claim:
        return attrs.evolve(await super().claim(session_id), snapshot=None)


class StaleOnlyUntilRestart(MemoryStore):
    """Which epoch is over is forgotten in a restart: older claims are good again."""

    _claimed: frozenset[int] = frozenset()

    async def claim(self, session_id: str) -> Claim:
        claim = await super().claim(session_id)
        self._claimed |= {claim.epoch}
        return claim

    async def _begin_write(self, claim: Claim) -> None:
        if claim.epoch in self._claimed:
            await super()._begin_write(claim)


class TrimAfterTheClaim(MemoryStore):
    """A trim that was begun is done under whatever claim there is by then."""

    async def trim(self, claim: Claim, before: int) -> None:
        await self._begin_write(claim)
        for _ in range(_TURNS):
            await trio.lowlevel.cancel_shielded_checkpoint()
        self._content.logs[claim.session_id].trim(before)


class DeleteAfterTheClaim(MemoryStore):
    """A delete that was begun is done under whatever claim there is by then."""

    async def delete(self, claim: Claim, **answered: Any) -> None:
        await self._begin_write(claim)
        for _ in range(_TURNS):
            await trio.lowlevel.cancel_shielded_checkpoint()
        await super().delete(await self.claim(claim.session_id), **answered)
