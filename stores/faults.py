"""A store that fails where a test says: a wrapper around any store, with a script.

::

    store = FaultyStore(MemoryStore(), {3: Fault.NOT_WRITTEN, 5: Delay(2.0, then=Fault.POISON)})

The script says what becomes of each append, by its number (the first is 1, counted over all
sessions and openings) or as a function of the AppendCall. Nothing is left to chance or to the wall
clock; delays are trio's, so that a virtual clock skips them. Calls are counted, appends logged.
"""

from __future__ import annotations

import contextlib
import enum
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.runtime.errors import InvalidArgument, StoreFailed
from moorage.runtime.ports import Record, holder_reader, nodes_reader, shared
from moorage.runtime.sessions import SessionInfo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from moorage.runtime.commands import Answer, Command
    from moorage.runtime.placement import NodeInfo, NodeState, SessionHolder, UnheldSession
    from moorage.runtime.ports import (
        Claim,
        Deliver,
        Page,
        SharedStore,
        Snapshot,
        Store,
        StoredRun,
        StoreReader,
    )


class Fault(enum.Enum):
    """What may become of an append."""

    NOT_WRITTEN = "not_written"
    """StoreFailed(written=False), as when the disk is full: nothing was kept, it may be retried."""
    UNKNOWN_WRITTEN = "unknown_written"
    """StoreFailed(written=None), as when a connection is lost; the records are there."""
    UNKNOWN_LOST = "unknown_lost"
    """StoreFailed(written=None); the records are not there."""
    STALE = "stale"
    """StaleOwner, because the session was claimed by somebody else just before."""
    POISON = "poison"
    """StoreFailed(poisoned=True), as after a failed sync; the records are not there, and every
    write fails until the store is opened again. Reading goes on."""


@attrs.frozen
class Delay:
    """The append takes ``seconds`` longer, during which it cannot be cancelled; then it is done, or
    meets the fault."""

    seconds: float
    then: Fault | None = None


@attrs.frozen
class AppendCall:
    """One append as it reached the store; ``number`` counts from 1."""

    number: int
    session_id: str
    epoch: int
    expected_seq: int
    records: tuple[Record, ...]
    info: SessionInfo | None

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(record.type for record in self.records)


Script = Mapping[int, Fault | Delay] | Callable[[AppendCall], Fault | Delay | None]


@attrs.frozen
class FaultStatistics:
    """``calls`` counts calls by method, ``faults`` injected ones by kind; ``inner`` is the
    wrapped store's own."""

    calls: dict[str, int]
    faults: dict[str, int]
    poisoned: bool
    inner: Any


class FaultyStore:
    """``inner``, except for what ``script`` says. ``appends`` has every append in order."""

    def __init__(self, inner: Store, script: Script | None = None) -> None:
        """Raises InvalidArgument for numbers below 1."""
        if isinstance(script, Mapping) and any(number < 1 for number in script):
            raise InvalidArgument(f"appends are numbered from 1, the script has {min(script)}")
        self.script: Script = {} if script is None else script
        self.appends: list[AppendCall] = []
        self.calls: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._inner = inner
        self._poisoned = False
        self._waits: set[trio.CancelScope] = set()

    @property
    def lease_seconds(self) -> float | None:
        return self._inner.lease_seconds

    @property
    def poisoned(self) -> bool:
        return self._poisoned

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        self.calls["opened"] += 1
        async with self._inner.opened(owner=owner, deliver=deliver):
            self._poisoned = False
            yield

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncGenerator[StoreReader]:
        """A reader of the wrapped store; nothing is injected or counted there."""
        self.calls["reading"] += 1
        async with self._inner.reading() as reader:
            yield reader

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
        **answered: Any,
    ) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.calls["append"] += 1
        call = AppendCall(
            len(self.appends) + 1, claim.session_id, claim.epoch, expected_seq, tuple(records), info
        )
        self.appends.append(call)
        step = self.script.get(call.number) if isinstance(self.script, Mapping) else None
        if not isinstance(self.script, Mapping):
            step = self.script(call)
        with trio.CancelScope(shield=step is not None):
            if isinstance(step, Delay):
                await trio.sleep(step.seconds)
                step = step.then
            self._check_poison()
            if step is not None:
                self.faults[step.value] += 1
            await self._raise_before(step, claim)
            await self._inner.append(
                claim, expected_seq=expected_seq, records=records, info=info, **answered
            )
        if step is Fault.UNKNOWN_WRITTEN:
            raise StoreFailed("injected: the answer to an append was lost", written=None)

    async def _raise_before(self, step: Fault | None, claim: Claim) -> None:
        if step is Fault.NOT_WRITTEN:
            raise StoreFailed("injected: no space left", written=False)
        if step is Fault.UNKNOWN_LOST:
            raise StoreFailed("injected: an append and its answer were lost", written=None)
        if step is Fault.STALE:
            await self._inner.claim(claim.session_id)
        elif step is Fault.POISON:
            self._poisoned = True
            for wait in self._waits:
                wait.cancel()
            raise StoreFailed("injected: a sync failed", written=None, poisoned=True)

    def _check_poison(self) -> None:
        if self._poisoned:
            raise StoreFailed(
                "injected: a sync failed before; open the store again",
                written=False,
                poisoned=True,
            )

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        self.calls["wait_news"] += 1
        self._check_poison()
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                await self._inner.wait_news(session_id, after=after, run_id=run_id)
            finally:
                self._waits.remove(scope)

    async def claim(self, session_id: str) -> Claim:
        self.calls["claim"] += 1
        return await self._inner.claim(session_id)

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        self.calls["renew"] += 1
        return await self._inner.renew(claims)

    async def announce(self, state: NodeState) -> Mapping[str, NodeState]:
        self.calls["announce"] += 1
        return await self._shared().announce(state)

    async def unheld(
        self, limit: int, *, offer: frozenset[str] | None = None
    ) -> Sequence[UnheldSession]:
        self.calls["unheld"] += 1
        return await self._shared().unheld(limit, offer=offer)

    async def tell_unheld(self) -> None:
        self.calls["tell_unheld"] += 1
        await self._shared().tell_unheld()

    async def wait_unheld(self) -> None:
        await self._shared().wait_unheld()

    async def nodes(self) -> Sequence[NodeInfo]:
        return await nodes_reader(self._inner).nodes()

    async def holder(self, session_id: str) -> SessionHolder | None:
        return await holder_reader(self._inner).holder(session_id)

    async def unserved(self, limit: int) -> Sequence[UnheldSession]:
        return await nodes_reader(self._inner).unserved(limit)

    def _shared(self) -> SharedStore:
        found = shared(self._inner)
        assert found is not None, "only stores with leases are asked for this"
        return found

    async def release(self, claim: Claim) -> None:
        self.calls["release"] += 1
        await self._inner.release(claim)

    async def save_snapshot(self, claim: Claim, snapshot: Snapshot) -> None:
        self.calls["save_snapshot"] += 1
        self._check_poison()
        await self._inner.save_snapshot(claim, snapshot)

    async def save_cursor(self, session_id: str, name: str, seq: int) -> None:
        self.calls["save_cursor"] += 1
        self._check_poison()
        await self._inner.save_cursor(session_id, name, seq)

    async def trim(self, claim: Claim, before: int) -> None:
        self.calls["trim"] += 1
        self._check_poison()
        await self._inner.trim(claim, before)

    async def delete(self, claim: Claim, **answered: Any) -> None:
        self.calls["delete"] += 1
        self._check_poison()
        await self._inner.delete(claim, **answered)

    async def hand_over(self, session_id: str, command: Command) -> Answer:
        self.calls["hand_over"] += 1
        return await self._inner.hand_over(session_id, command)

    async def info(self, session_id: str) -> SessionInfo | None:
        self.calls["info"] += 1
        return await self._inner.info(session_id)

    def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncIterator[SessionInfo]:
        self.calls["sessions"] += 1
        return self._inner.sessions(prefix=prefix, tags=tags, needs_worker=needs_worker)

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
        self.calls["read"] += 1
        return await self._inner.read(
            session_id,
            after=after,
            before=before,
            limit=limit,
            types=types,
            run_id=run_id,
            backwards=backwards,
        )

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        self.calls["find_run"] += 1
        return await self._inner.find_run(session_id, run_id)

    async def find_key(self, session_id: str, key: str) -> str | None:
        self.calls["find_key"] += 1
        return await self._inner.find_key(session_id, key)

    async def snapshot(self, session_id: str) -> Snapshot | None:
        self.calls["snapshot"] += 1
        return await self._inner.snapshot(session_id)

    async def cursor(self, session_id: str, name: str) -> int | None:
        self.calls["cursor"] += 1
        return await self._inner.cursor(session_id, name)

    async def cursors(self, session_id: str) -> dict[str, int]:
        self.calls["cursors"] += 1
        return await self._inner.cursors(session_id)

    def tombstones(self) -> AsyncIterator[tuple[str, int]]:
        self.calls["tombstones"] += 1
        return self._inner.tombstones()

    def statistics(self) -> FaultStatistics:
        return FaultStatistics(
            calls=dict(self.calls),
            faults=dict(self.faults),
            poisoned=self._poisoned,
            inner=self._inner.statistics(),
        )
