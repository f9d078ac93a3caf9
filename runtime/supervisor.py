"""The supervisor: spawns and finds sessions' workers, drains them, and answers for the store."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio

from . import commands
from .arguments import check_choice, check_metadata, check_seconds, check_slots, check_tags
from .errors import (
    AdmissionClosed,
    BufferFull,
    InvalidArgument,
    MoorageError,
    RunEnded,
    StoreFailed,
)
from .handles import Session, check_summary
from .identifiers import check_session_id, sortable_id
from .permits import PermitStatistics
from .recall import recall
from .recent_runs import RecentRunsStatistics
from .residents import Residents
from .runs import RunState
from .sessions import DrainReport
from .tail import TailStatistics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

    from .agents import Agent
    from .commands import Answer, Command
    from .events import Data
    from .execution import Execution
    from .limits import SupervisorLimits
    from .ports import Store
    from .reading import SessionLog
    from .runs import RunOutcome
    from .sessions import Mode, QueuedPolicy, SessionInfo
    from .turns import Environment

logger = structlog.get_logger("moorage")


@attrs.frozen
class SupervisorStatistics:
    """Counts at one moment. ``store`` is what the store's own ``statistics()`` returns."""

    sessions_resident: int
    sessions_idle: int
    runs: PermitStatistics
    tail: TailStatistics
    recent: RecentRunsStatistics
    store: Any
    loop_blocked: int
    draining: bool


class Supervisor:
    """From ``open_supervisor``. Owns the workers of every session it has opened."""

    def __init__(
        self,
        environment: Environment,
        log: SessionLog,
        agents: Mapping[str | None, Agent],
        workers: trio.Nursery,
    ) -> None:
        self._env = environment
        self._limits = environment.limits
        self._store: Store = environment.store
        self._log = log
        self._agents = agents
        self.residents = Residents(environment, workers, self._store_failed, log.wake)
        log.is_served = self.residents.__contains__
        self._workers_scope = workers.cancel_scope
        self._recovered = trio.Event()
        self.left = trio.Event()
        """Set when everything has been drained and nobody is left."""
        self._loop_blocked = 0

    @property
    def limits(self) -> SupervisorLimits:
        return self._limits

    # ---- sessions ----

    async def session(
        self,
        id: str | None = None,
        *,
        mode: Mode = "open_or_create",
        slots: int | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        summary: str | None = None,
    ) -> Session:
        """Open or create a session; without an id it gets a new, time-sortable one.

        What is omitted keeps what is recorded; another value is recorded. Raises SessionExists
        (``mode="create"``), UnknownSession (``mode="resume"``), SessionHeld, StoreFailed,
        InvalidArgument, and AdmissionClosed once the supervisor has left.
        """
        if id is None:
            id = sortable_id("ses", self._env.time_ns(), os.urandom(10))
        check_session_id(id)
        command = commands.OpenSession(
            mode=check_choice("mode", mode, ("open_or_create", "create", "resume")),
            slots=check_slots(slots),
            tags=check_tags(tags),
            metadata=check_metadata(metadata),
            summary=check_summary(summary),
        )
        await self._hand_over(id, command)
        return self._handle(id)

    def _handle(self, session_id: str) -> Session:
        return Session(
            self._log,
            session_id,
            self._limits,
            self._hand_over,
            self._env.time_ns,
            self._agents.__contains__,
        )

    def sessions(
        self, *, prefix: str = "", tags: dict[str, str] | None = None
    ) -> AsyncIterator[SessionInfo]:
        """Every session's info, the newest change first, read from metadata alone."""
        if type(prefix) is not str:
            raise InvalidArgument(f"prefix must be a str, not {prefix!r}")
        return self._store.sessions(prefix=prefix, tags=check_tags(tags))

    async def delete_session(self, session_id: str) -> bool:
        """Cancel what runs and forget everything but the last seq. True if there was such a
        session; deleting again is no error."""
        check_session_id(session_id)
        return bool(await self._hand_over(session_id, commands.DeleteSession()))

    async def unquarantine(self, session_id: str) -> bool:
        """Try a quarantined session again. True if it was quarantined."""
        check_session_id(session_id)
        return bool(await self._hand_over(session_id, commands.LiftQuarantine()))

    async def run_once(
        self,
        input: Data,
        *,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        **options: Any,
    ) -> RunOutcome:
        """Execute one run in a session of its own, which is closed afterwards, ``completed`` or
        ``failed``. Takes the options of ``Session.submit``."""
        session = await self.session(mode="create", tags=tags, metadata=metadata)
        outcome = await session.execute(input, **options)
        completed = outcome.state is RunState.COMPLETED
        await session.close(outcome="completed" if completed else "failed")
        return outcome

    def _hand_over(self, session_id: str, command: Command) -> Awaitable[Answer]:
        """The one seam to whoever owns the session; closed once this supervisor has left."""
        if self._log.left:
            raise AdmissionClosed("the supervisor", reason="closed")
        return self._store.hand_over(session_id, command)

    # ---- the owner's door ----

    async def deliver(self, session_id: str, command: Command) -> Answer:
        """What the store calls with commands for sessions of this process."""
        if self._log.failure is not None:
            raise StoreFailed(self._log.failure.message, written=False, poisoned=True)
        if self._log.left:
            raise AdmissionClosed("the supervisor", reason="closed")
        return await self.residents.deliver(session_id, command)

    def _store_failed(self, error: StoreFailed) -> None:
        """The store is poisoned: end all running agents, answer everybody, restart nothing."""
        if self._log.failure is None:
            self._log.failure = error
            logger.error("store_failed", reason=str(error))
            failed = StoreFailed(error.message, written=False, poisoned=True)
            self.residents.close(failed)
            self._workers_scope.cancel()
            self._log.wake()

    # ---- draining ----

    async def drain(
        self, *, timeout_seconds: float | None = None, queued: QueuedPolicy = "keep"
    ) -> DrainReport:
        """Admit nothing more anywhere, let running work end until the deadline, interrupt the
        rest. See ``Session.drain``; the report covers all sessions."""
        limit = check_seconds("timeout_seconds", timeout_seconds)
        if limit is None:
            limit = self._limits.drain_seconds
        command = commands.Drain(
            timeout_seconds=limit, queued=check_choice("queued", queued, ("keep", "finish"))
        )
        if queued == "finish":
            await self._recovered.wait()
        self._env.draining = queued
        self._env.draining_by_id.clear()
        reports: list[DrainReport] = []

        async def drain_one(session_id: str) -> None:
            try:
                reports.append(await self.residents.deliver(session_id, command))
                drained.add(session_id)
            except MoorageError as error:
                logger.warning("drain_failed", session_id=session_id, reason=str(error))

        drained: set[str] = set()
        async with trio.open_nursery() as nursery:
            for session_id in self.residents.ids():
                nursery.start_soon(drain_one, session_id)
        self._env.draining = "keep"
        reports.append(await self._queued_elsewhere(drained))
        return DrainReport.of_all(reports)

    async def _queued_elsewhere(self, drained: set[str]) -> DrainReport:
        """Runs that stay queued in sessions without a worker, or with one that failed."""
        queued: list[str] = []
        async for info in self._store.sessions(needs_worker=True):
            if info.id not in drained:
                image = await recall(
                    self._store,
                    info.id,
                    head_seq=info.head_seq,
                    info=info,
                    snapshot=await self._store.snapshot(info.id),
                )
                queued += image.queued()
        return DrainReport(queued=tuple(queued))

    # ---- background ----

    async def recover(self) -> None:
        """Give every session with unfinished runs a worker."""
        try:
            async for info in self._store.sessions(needs_worker=True):
                await self.residents.wake(info.id)
        finally:
            self._recovered.set()

    async def renew_leases(self) -> None:
        """Keep the claims of a store that leases them; a lost one ends its worker."""
        lease = self._store.lease_seconds
        while lease is not None:
            await trio.sleep(lease / 3)
            held = [
                (resident.worker, resident.worker.claim)
                for resident in self.residents.all()
                if resident.worker is not None and resident.worker.claim is not None
            ]
            lost = await self._store.renew([claim for _, claim in held])
            epochs = {(claim.session_id, claim.epoch) for claim in lost}
            for worker, claim in held:
                if (claim.session_id, claim.epoch) in epochs:
                    worker.lose()

    def note_blocked_loop(self, execution: Execution | None, seconds: float) -> None:
        """Count it, and record it with the run that did it."""
        self._loop_blocked += 1
        if execution is not None:
            data = {
                "code": "loop_blocked",
                "message": f"the agent kept the event loop for {seconds:.2f} s: await, or use "
                "trio.to_thread.run_sync for blocking calls",
                "blocked_seconds": seconds,
            }
            with suppress(RunEnded, BufferFull):
                execution.emit_nowait("error_occurred", data)

    def statistics(self) -> SupervisorStatistics:
        return SupervisorStatistics(
            sessions_resident=len(self.residents),
            sessions_idle=self.residents.idle_count(),
            runs=self._env.permits.statistics(),
            tail=self._env.tail.statistics(),
            recent=self._env.recent.statistics(),
            store=self._store.statistics(),
            loop_blocked=self._loop_blocked,
            draining=self._env.draining is not None,
        )
