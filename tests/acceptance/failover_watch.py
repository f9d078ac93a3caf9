"""A look at the machine that ``failover.py`` runs on: what it holds up is nobody's delay."""

from __future__ import annotations

import math

import attrs
import trio

from tests.acceptance.failover_cluster import now

TICK_SECONDS = 0.05


@attrs.define
class Watch:
    """Ticks, and writes down by how much each of them was late: for so long nothing got its turn
    in time. What keeps this process alone busy counts as well, since nodes reach their database
    through it."""

    _late: list[tuple[float, float]] = attrs.field(factory=list)
    """(when a tick was due, when it came), in seconds since 1970."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = trio.current_time() + TICK_SECONDS
            await trio.sleep_until(due)
            came = now()
            self.note(came - (trio.current_time() - due), came)

    def note(self, due: float, came: float) -> None:
        self._late.append((due, came))

    def stood_still(self, begin: float, end: float) -> float:
        """Seconds of those between these times."""
        return math.fsum(max(min(came, end) - max(due, begin), 0.0) for due, came in self._late)
