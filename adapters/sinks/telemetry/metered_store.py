"""A store that counts what is recorded in it: the one place where every end of a run comes by."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol, cast

import structlog
import trio
from moorage.runtime.codec import decode_event
from moorage.runtime.errors import StaleOwner
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.runs import outcome_of

from .owned_runs import OwnedRuns
from .request_totals import RequestTotals
from .run_totals import RunTotals

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from moorage.runtime.ports import Claim, Deliver, Record, Store
    from moorage.runtime.runs import RunOutcome
    from moorage.runtime.sessions import SessionInfo

logger = structlog.get_logger("moorage")


class Recorder(Protocol):
    """Takes what has happened. It is called on the way of every commit, and must not wait."""

    def run_ended(self, outcome: RunOutcome) -> None:
        """A run has ended, and that is durable."""
        ...

    def appended(self, seconds: float) -> None:
        """The store has made a batch of events durable, in this time."""
        ...


class RunMetrics:
    """What one supervisor's runs come to. ``totals`` and ``owned`` are of the store that
    ``metered`` gave; ``recorders`` are told of the same. ``requests`` are those of the gateway that
    this was given to."""

    def __init__(self) -> None:
        self.totals = RunTotals()
        self.owned = OwnedRuns()
        self.requests = RequestTotals()
        self.recorders: list[Recorder] = [self.totals]

    def metered(self, store: Store) -> Store:
        """``store``, to be given to ``open_supervisor``. Around an EncryptedStore and not inside:
        what is counted has to be read."""
        return cast("Store", _MeteredStore(store, self))

    def note(
        self, session_id: str, first_seq: int, records: Sequence[Record], seconds: float
    ) -> None:
        """These records are durable, from ``first_seq`` on, and it took so long."""
        for recorder in self.recorders:
            _harmless(recorder.appended, seconds)
        for seq, record in enumerate(records, first_seq):
            if record.type in RUN_TERMINAL_TYPES:
                _harmless(self._tell_ended, session_id, seq, record)

    def _tell_ended(self, session_id: str, seq: int, record: Record) -> None:
        outcome = outcome_of(decode_event(session_id, seq, record.body))
        for recorder in self.recorders:
            _harmless(recorder.run_ended, outcome)


def _harmless(function: Callable[..., None], *args: Any) -> None:
    """What it raises is logged: the append that is counted has succeeded."""
    try:
        function(*args)
    except Exception as error:
        logger.warning("metrics_failed", reason=repr(error))


class _MeteredStore:
    """What is not counted goes straight to the store inside, whatever it offers."""

    def __init__(self, inner: Store, metrics: RunMetrics) -> None:
        self.inner = inner
        self._metrics = metrics
        self._owned = metrics.owned

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @contextlib.asynccontextmanager
    async def opened(self, *, owner: str, deliver: Deliver) -> AsyncGenerator[None]:
        async with self.inner.opened(owner=owner, deliver=deliver):
            try:
                yield
            finally:
                self._owned.clear()

    async def claim(self, session_id: str) -> Claim:
        claim = await self.inner.claim(session_id)
        self._owned.set(claim, claim.info)
        return claim

    async def renew(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        lost = await self.inner.renew(claims)
        for claim in lost:
            self._owned.drop(claim)
        return lost

    async def release(self, claim: Claim) -> None:
        self._owned.drop(claim)
        await self.inner.release(claim)

    async def delete(self, claim: Claim, **more: Any) -> None:
        await self.inner.delete(claim, **more)
        self._owned.drop(claim)

    async def append(
        self,
        claim: Claim,
        *,
        expected_seq: int,
        records: Sequence[Record],
        info: SessionInfo | None = None,
        **more: Any,
    ) -> None:
        """``more`` is what only some stores take, such as answers of commands."""
        begun_at = trio.current_time()
        try:
            await self.inner.append(
                claim, expected_seq=expected_seq, records=records, info=info, **more
            )
        except StaleOwner:
            self._owned.drop(claim)
            raise
        if info is not None:
            self._owned.set(claim, info)
        seconds = trio.current_time() - begun_at
        self._metrics.note(claim.session_id, expected_seq, records, seconds)
