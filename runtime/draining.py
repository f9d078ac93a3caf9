"""A drain of all sessions of a supervisor; drains.py has that of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import structlog
import trio

from .arguments import check_drain
from .errors import BufferFull, MoorageError
from .recall import recall_session
from .sessions import DrainReport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from . import commands
    from .commands import Answer
    from .limits import SupervisorLimits
    from .ports import SharedStore, Store
    from .residents import Residents
    from .sessions import QueuedPolicy
    from .takeovers import Takeovers
    from .turns import Environment

logger = structlog.get_logger("moorage")

FULL_INBOX_SECONDS = 0.05
"""Pause before a drain is brought to a full inbox again."""


class Draining:
    """What drains: a part of supervisors."""

    if TYPE_CHECKING:
        residents: Residents
        _env: Environment
        _limits: SupervisorLimits
        _store: Store
        _shared: SharedStore | None
        _takeovers: Takeovers | None
        _recovered: trio.Event
        _on_recovery: set[Callable[[str], None]]

    async def drain(
        self, *, timeout_seconds: float | None = None, queued: QueuedPolicy = "keep"
    ) -> DrainReport:
        """Admit nothing more anywhere, let running work end until the deadline, interrupt the
        rest. See ``Session.drain``; the report covers all sessions, except for what is queued in
        one that cannot be read, which is logged."""
        command = check_drain(self._limits, timeout_seconds, queued)
        until = trio.current_time() + command.timeout_seconds
        # before anything is waited for: from here on nothing is admitted
        self._env.draining = queued
        self._env.draining_by_id.clear()
        if self._takeovers is not None:
            self._takeovers.note_changed()
        asked: set[str] = set()
        reports: dict[str, DrainReport] = {}

        async def drain_one(session_id: str) -> None:
            try:
                reports[session_id] = await self._drain_one(session_id, command, until)
            except MoorageError as error:
                logger.warning("drain_failed", session_id=session_id, reason=str(error))

        def ask(session_id: str) -> None:
            if session_id not in asked and session_id in self.residents:
                asked.add(session_id)
                nursery.start_soon(drain_one, session_id)

        async with trio.open_nursery() as nursery:
            for session_id in self.residents.ids():
                ask(session_id)
            if queued == "finish":
                await self._wait_recovered(until, ask)
                for session_id in self.residents.ids():
                    ask(session_id)
        self._env.draining = "keep"
        if self._shared is not None:
            self.residents.send_away_idle()
        elsewhere = await self._queued_elsewhere(reports.keys(), asked)
        return DrainReport.of_all([*reports.values(), elsewhere])

    async def _drain_one(self, session_id: str, command: commands.Drain, until: float) -> Answer:
        """Whoever fills the session's inbox can't keep a drain out of it, unless nothing is taken
        from there any more."""
        patience = max(until, trio.current_time() + self._limits.cancel_grace_seconds)
        while True:
            seconds = max(0.0, until - trio.current_time())
            try:
                return await self.residents.deliver(
                    session_id, attrs.evolve(command, timeout_seconds=seconds)
                )
            except BufferFull:
                if trio.current_time() >= patience:
                    raise
                await trio.sleep(FULL_INBOX_SECONDS)

    async def _wait_recovered(self, until: float, ask: Callable[[str], None]) -> None:
        """Have sessions that are recovered until then drained as well, the others left queued."""
        self._on_recovery.add(ask)
        try:
            with trio.move_on_at(until) as waiting:
                await self._recovered.wait()
        finally:
            self._on_recovery.discard(ask)
        if waiting.cancelled_caught:
            self._env.draining = "keep"

    async def _queued_elsewhere(
        self, drained: Collection[str], asked: Collection[str]
    ) -> DrainReport:
        """Runs that stay queued in sessions without a worker, or with one that failed. What other
        nodes have, or take now, is theirs."""
        if self._shared is not None:
            left = [session_id for session_id in asked if session_id not in drained]
        else:
            infos = self._store.sessions(needs_worker=True)
            left = [info.id async for info in infos if info.id not in drained]
        queued: list[str] = []
        for session_id in left:
            try:
                recalled = await recall_session(self._store, session_id)
            except MoorageError as error:
                logger.warning("queue_not_read", session_id=session_id, reason=str(error))
            else:
                queued += recalled.image.queued()
        return DrainReport(queued=tuple(queued))
