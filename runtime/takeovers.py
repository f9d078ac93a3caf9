"""Taking over what a node that died or left has left, where a store is shared by leases.

Every node looks several times per lease, and at once when it is told that there is something. It
says how busy it is, reads how busy the others are, and takes what falls to it of the sessions that
need a worker and that nobody has (``placement.share_of``). What fell to another node and is still
there when that has surely looked is anybody's. Who comes second is refused by the store, and looks
again.
"""

from __future__ import annotations

import math
import random
import traceback
from typing import TYPE_CHECKING

import structlog
import trio

from .placement import NodeState, agents_in, share_of, tags_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .placement import UnheldSession
    from .ports import SharedStore
    from .residents import Residents
    from .turns import Environment

logger = structlog.get_logger("moorage")

LOOKS_PER_LEASE = 4
"""At least. The first sessions are taken over within a lease, a quarter of one and the time of a
claim."""
SESSIONS_PER_LOOK = 500
PAUSES_PER_LEASE = 100
"""Between two looks there is at least one such pause: many hints in a row are one."""
TOLD_AGAIN_SECONDS = 60.0
"""How often the log names a session that no node can serve."""
LAST_WORD_SECONDS = 1.0
"""For telling the others what a node that leaves has left to them; they look all the same."""
UNSERVED_TOLD_MAX = 20
"""Of those, so many by name at a time."""


class Takeovers:
    """One node's looks for sessions that nobody has."""

    def __init__(
        self,
        environment: Environment,
        store: SharedStore,
        residents: Residents,
        tell: Callable[[str], None],
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``tell`` is called with each session that is given a worker; ``chance`` gives numbers
        from 0 to 1."""
        self._env = environment
        self._store = store
        self._residents = residents
        self._tell = tell
        self._chance = chance
        self._first_seen: dict[str, float] = {}
        """When sessions that nobody has were first seen, of those of the last look."""
        self._told_at: dict[str, float] = {}
        self._unserved_at = -math.inf
        self._changed = trio.Event()
        self._handed_on = False

    async def keep(self, looked: trio.Event) -> None:
        """Look again and again, until cancelled; sets ``looked`` after the first time."""
        lease = self._store.lease_seconds
        assert lease is not None, "a store that is shared has leases"
        longest, shortest = lease / LOOKS_PER_LEASE, lease / PAUSES_PER_LEASE
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_others, shortest)
                while True:
                    more = await self._look(longest)
                    looked.set()
                    await trio.sleep(shortest)
                    if not more:
                        with trio.move_on_after(longest * (0.5 + 0.5 * self._chance()) - shortest):
                            await self._store.wait_unheld()
        finally:
            # the workers have left by now, and what the last of them left is to be taken at once
            with trio.move_on_after(LAST_WORD_SECONDS, shield=True):
                await self._tell_unheld()

    # ---- what the others are told ----

    def state(self) -> NodeState:
        """What this node says of itself."""
        limits, permits = self._env.limits, self._env.permits.statistics()
        return NodeState(
            offer=self._env.offer or frozenset(),
            sessions_max=limits.sessions_resident_max,
            runs_max=limits.runs_running_max,
            # who sits idle makes room, so what counts is who works
            sessions_busy=len(self._residents) - self._residents.idle_count(),
            runs_running=permits.in_use + permits.waiting,
            draining=self._env.draining is not None,
        )

    def note_changed(self, *, handed_on: bool = False) -> None:
        """Others are to know soon that this node drains, or that a worker has left work to them."""
        self._handed_on |= handed_on
        self._changed.set()

    async def _tell_others(self, pause_seconds: float) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            try:
                await self._store.announce(self.state())
            except Exception as error:
                _warn("others_not_told", error)  # they look all the same
            else:
                await self._tell_unheld()
            await trio.sleep(pause_seconds)

    async def _tell_unheld(self) -> None:
        handed_on, self._handed_on = self._handed_on, False
        try:
            if handed_on:
                await self._store.tell_unheld()
        except trio.Cancelled:
            self._handed_on = True
            raise
        except Exception as error:
            _warn("others_not_told", error)

    # ---- looking ----

    async def _look(self, leftover_seconds: float) -> bool:
        """Take over what falls to this node. True if there may be more at once.

        What was there ``leftover_seconds`` ago is taken whosever it was.
        """
        try:
            state = self.state()
            nodes = {**await self._store.announce(state)}
            if state.draining:
                return False
            me = next(iter(nodes))
            nodes[me] = state
            # those on their way here have no owner until they are claimed
            sessions_max = SESSIONS_PER_LOOK + self._claiming()
            found = await self._store.unheld(sessions_max, offer=state.offer)
            await self._tell_unserved()
        except Exception as error:
            # leases.py finds out whether the store is gone for good
            _warn("no_look_for_unheld_sessions", error)
            return False
        waiting = [session for session in found if session.session_id not in self._residents]
        taken = self._chosen(waiting, share_of(me, waiting, nodes), leftover_seconds)
        room = state.sessions_max - state.sessions_busy
        for session_id in taken[:room]:
            await self._residents.wake(session_id)
            self._tell(session_id)
        if taken:
            self.note_changed()
        return len(found) >= sessions_max and bool(taken) and room > len(taken)

    def _claiming(self) -> int:
        workers = [resident.worker for resident in self._residents.all()]
        return sum(worker is None or worker.claim is None for worker in workers)

    def _chosen(
        self, waiting: Sequence[UnheldSession], share: list[str], leftover_seconds: float
    ) -> list[str]:
        """Our share, then what others have left although they have looked since."""
        now = trio.current_time()
        seen = self._first_seen
        self._first_seen = {
            session.session_id: seen.get(session.session_id, now) for session in waiting
        }
        ours = set(share)
        return share + [
            session_id
            for session_id, first_seen in self._first_seen.items()
            if session_id not in ours and first_seen + leftover_seconds <= now
        ]

    async def _tell_unserved(self) -> None:
        """Log which sessions no node can serve, each once in a while. Raises StoreFailed."""
        now = trio.current_time()
        if now < self._unserved_at + (self._store.lease_seconds or 0.0):
            return
        self._unserved_at = now
        self._told_at = {
            session_id: told_at
            for session_id, told_at in self._told_at.items()
            if told_at + TOLD_AGAIN_SECONDS > now
        }
        for session in await self._store.unserved(UNSERVED_TOLD_MAX):
            if session.session_id not in self._told_at:
                self._told_at[session.session_id] = now
                logger.warning(
                    "session_unserved",
                    code="session_unserved",
                    session_id=session.session_id,
                    node_tags=tags_in(session.demands),
                    agents=agents_in(session.demands),
                    remedy="start a node that offers these, or configure the session",
                )


def _warn(event: str, error: Exception) -> None:
    logger.warning(event, reason="".join(traceback.format_exception_only(error)).strip())
