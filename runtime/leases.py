"""Leases: where a store gives claims for a time only, they are renewed here.

A renewal that fails is no disaster: there is another before the lease is over. What may not happen
is that a session goes on without one, for then another process may have it; so a worker whose
lease could not be renewed in time is told that it has lost its session. Epochs in the store would
refuse what it writes anyway: this ends its agents.
"""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING

import structlog
import trio

from .errors import CorruptLog, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .ports import Claim, Store
    from .residents import Residents
    from .worker import Worker

logger = structlog.get_logger("moorage")

RENEWALS_PER_LEASE = 3


class Leases:
    """The claims of all workers of one supervisor."""

    def __init__(
        self,
        store: Store,
        residents: Residents,
        on_store_failed: Callable[[StoreFailed], None],
    ) -> None:
        self._store = store
        self._residents = residents
        self._on_store_failed = on_store_failed
        self._until: dict[Worker, float] = {}
        """When each worker's lease is over on trio's clock; infinity where it was lost already."""

    async def keep(self) -> None:
        """Renew all claims several times per lease, until cancelled; returns at once where claims
        last as long as the store is open."""
        lease = self._store.lease_seconds
        if lease is None:
            return
        looked_at = trio.current_time()
        while True:
            beat_at = looked_at + lease / RENEWALS_PER_LEASE
            await trio.sleep_until(min([beat_at, *self._until.values()]))
            looked_before, looked_at = looked_at, trio.current_time()
            # a worker not seen before has claimed since we looked last, at the earliest
            self._until = {
                resident.worker: self._until.get(resident.worker, looked_before + lease)
                for resident in self._residents.all()
                if resident.worker is not None and resident.worker.claim is not None
            }
            for worker, until in self._until.items():
                if until <= looked_at:
                    self._lose(worker)
            held = {
                worker: worker.claim
                for worker, until in self._until.items()
                if until < math.inf and worker.claim is not None
            }
            # a call that hangs must not keep us from looking
            with trio.move_on_at(looked_at + lease / RENEWALS_PER_LEASE):
                lost = await self._renew(list(held.values()))
                for worker, claim in held.items():
                    if lost is None:
                        continue
                    if (claim.session_id, claim.epoch) in lost:
                        self._lose(worker)
                    else:
                        self._until[worker] = looked_at + lease

    def _lose(self, worker: Worker) -> None:
        self._until[worker] = math.inf
        worker.lose()

    async def _renew(self, claims: Sequence[Claim]) -> set[tuple[str, int]] | None:
        """Session and epoch of the claims that are lost, None if the store did not say."""
        try:
            lost = await self._store.renew(claims)
        except Exception as error:
            damaged = isinstance(error, CorruptLog)
            if isinstance(error, StoreFailed) and error.poisoned and not damaged:
                self._on_store_failed(error)
            logger.warning(
                "leases_not_renewed",
                claims=len(claims),
                reason="".join(traceback.format_exception_only(error)).strip(),
            )
            return None
        return {(claim.session_id, claim.epoch) for claim in lost}
