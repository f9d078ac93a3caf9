"""Removing sessions from a store without serving it: for commands and scheduled jobs.

No run is recovered or started. A store for one process must be free; of one that is shared by
leases, what a live node has is brought to that node, and retention leaves it to it.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from .errors import AdmissionClosed, SessionHeld
from .limits import SupervisorLimits
from .removal import SessionRemoval
from .unserved import perform_unserved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .commands import Answer, Command
    from .ports import Store

HELD_TRIES = 40
"""How often a session is tried that others have, and give up while it is brought to them."""
NOT_SERVING = "not a supervisor"


class Maintenance(SessionRemoval):
    """From ``open_maintenance``: ``delete_session``, ``restore_session`` and ``apply_retention`` as
    a supervisor has them."""

    def __init__(self, store: Store, limits: SupervisorLimits, time_ns: Callable[[], int]) -> None:
        super().__init__()
        self._store = store
        self._limits = limits
        self._time_ns = time_ns
        self._turns: dict[str, trio.Lock] = {}
        """Of sessions that we have, each for a moment."""
        self._handed_over: Counter[str] = Counter()

    async def _retain(self, session_id: str, command: Command) -> Answer:
        async with self._turn(session_id):
            return await perform_unserved(
                self._store, session_id, command, time_ns=self._time_ns, limits=self._limits
            )

    @asynccontextmanager
    async def _turn(self, session_id: str) -> AsyncIterator[None]:
        """One command to a session at a time: a second claim would end the first."""
        turn = self._turns.setdefault(session_id, trio.Lock())
        async with turn:
            try:
                yield
            finally:
                if not turn.statistics().tasks_waiting:
                    del self._turns[session_id]

    async def _hand_over(self, session_id: str, command: Command) -> Answer:
        for _ in range(HELD_TRIES):
            try:
                return await self._retain(session_id, command)
            except SessionHeld:
                if self._store.lease_seconds is None:
                    raise
            self._handed_over[session_id] += 1
            try:
                return await self._store.hand_over(session_id, command)
            except AdmissionClosed as error:
                if error.reason != NOT_SERVING:
                    raise
                refusal = error  # it came back: whoever had the session has given it up
            finally:
                self._handed_over[session_id] -= 1
                self._handed_over += Counter()  # without those of which there are none
        raise refusal

    async def deliver(self, session_id: str, command: Command, letter: str | None = None) -> Answer:
        """What the store calls with a command for a session that we have just now, which is for
        whoever has it next, or that nobody has. Raises AdmissionClosed."""
        ours = session_id in self._turns
        if letter is None or (session_id in self._handed_over and not ours):
            raise AdmissionClosed("this process", reason=NOT_SERVING)
        if ours:
            async with self._turn(session_id):
                pass
        raise AdmissionClosed("this process", reason="closed")


@asynccontextmanager
async def open_maintenance(
    store: Store,
    *,
    purpose: str = "maintenance",
    limits: SupervisorLimits | None = None,
    time_ns: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Maintenance]:
    """Open a store to remove sessions: ``async with open_maintenance(store) as maintenance``.

    ``purpose`` is told to processes that find the store held. Raises SessionHeld if the store takes
    one process at a time and has one, CorruptLog and StoreFailed.
    """
    limits = SupervisorLimits() if limits is None else limits
    owner = f"pid {os.getpid()} on {socket.gethostname()} ({purpose})"
    maintenance = Maintenance(store, limits, time_ns)
    async with store.opened(owner=owner, deliver=maintenance.deliver):
        yield maintenance
