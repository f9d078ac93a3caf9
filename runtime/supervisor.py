"""The supervisor: spawns and finds sessions' workers, and answers for the store."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio

from . import commands
from .agents import check_configured
from .arguments import (
    check_choice,
    check_expiry,
    check_metadata,
    check_node_tags,
    check_slots,
    check_summary,
    check_tags,
)
from .draining import Draining
from .errors import InvalidArgument, StoreFailed
from .handles import Session
from .identifiers import check_session_id, sortable_id
from .leases import Leases
from .permits import PermitStatistics
from .ports import holder_reader, nodes_reader, shared
from .queries import Queries
from .reading import has_left
from .recent_runs import RecentRunsStatistics
from .removal import SessionRemoval, listed
from .residents import Residents
from .run_once import execute_and_close
from .tail import TailStatistics
from .takeovers import Takeovers
from .watchdog import record_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from typing import Literal

    from .agents import Agent
    from .commands import Answer, Command
    from .events import Data
    from .execution import Execution
    from .limits import SupervisorLimits
    from .placement import NodeInfo, SessionHolder
    from .ports import Store
    from .reading import SessionLog
    from .runs import RunOutcome
    from .sessions import Mode, SessionInfo
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


class Supervisor(SessionRemoval, Draining, Queries):
    """From ``open_supervisor``. Owns the workers of every session it has opened."""

    def __init__(
        self,
        environment: Environment,
        log: SessionLog,
        agents: Mapping[str | None, Agent],
        workers: trio.Nursery,
    ) -> None:
        super().__init__()
        self._env = environment
        self._time_ns = environment.time_ns
        self._limits = environment.limits
        self._store: Store = environment.store
        self._log = log
        self._agents = agents
        self._shared = shared(self._store)
        self.residents = Residents(
            environment, workers, self._store_failed, log.wake, self._note_handed_on
        )
        self.leases = Leases(self._store, self.residents, self._store_failed)
        self._takeovers = (
            None
            if self._shared is None
            else Takeovers(environment, self._shared, self.residents, self._tell_recovered)
        )
        self._workers_scope = workers.cancel_scope
        self._recovered = trio.Event()
        self._on_recovery: set[Callable[[str], None]] = set()
        """Called with each session that is recovered, by drains that want to finish its queue."""
        self.left = trio.Event()
        """Set when everything has been drained and nobody is left."""
        self._loop_blocked = 0

    @property
    def limits(self) -> SupervisorLimits:
        return self._limits

    @property
    def failure(self) -> StoreFailed | None:
        """Why the store refuses all writes until it is opened again; None while it works."""
        return self._log.failure

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
        expire_after_seconds: float | Literal["never", "by_policy"] | None = None,
        include_deleted: bool = False,
        node_tags: dict[str, str] | None = None,
    ) -> Session:
        """Open or create a session; without an id it gets a new, time-sortable one.

        What is omitted keeps what is recorded; another value is recorded. Where nodes share the
        store, only one whose own ``node_tags`` have all of these serves it. Retention deletes the
        session ``expire_after_seconds`` after its last change, or "never", whatever policies say;
        "by_policy" takes that back. Raises SessionExists (``mode="create"``), UnknownSession
        (``mode="resume"``), SessionDeleted (unless ``include_deleted``, which is for reading),
        SessionHeld, StoreFailed, InvalidArgument, and AdmissionClosed once the supervisor has left.
        """
        if id is None:
            id = self._new_id()
        check_session_id(id)
        command = commands.OpenSession(
            mode=check_choice("mode", mode, ("open_or_create", "create", "resume")),
            slots=check_slots(slots),
            tags=check_tags(tags),
            metadata=check_metadata(metadata),
            summary=check_summary(summary),
            include_deleted=include_deleted,
            node_tags=check_node_tags(node_tags),
            **check_expiry(expire_after_seconds),
        )
        await self._hand_over(id, command)
        return self.handle(id)

    def _new_id(self) -> str:
        return sortable_id("ses", self._env.time_ns(), os.urandom(10))

    def handle(self, session_id: str) -> Session:
        """A handle without opening or creating anything; its methods raise UnknownSession."""
        return Session(
            self._log,
            session_id,
            self._limits,
            self._hand_over,
            self._env.time_ns,
            self._check_agent,
        )

    def _check_agent(self, name: str | None) -> None:
        """Raise InvalidArgument for one that a run may not name; another node may have it."""
        if self._shared is None:
            check_configured(name, self._agents)

    async def nodes(self) -> Sequence[NodeInfo]:
        """The nodes that share the store, this one included. Raises StoreFailed, and
        InvalidArgument for a store that has one process at a time."""
        return await nodes_reader(self._log.store).nodes()

    async def holder(self, session_id: str) -> SessionHolder | None:
        """The node that has the session, or had it until its lease was over; None if nobody has.
        Raises UnknownSession, StoreFailed, and InvalidArgument for a store that does not tell."""
        await self.handle(session_id).info()
        return await holder_reader(self._log.store).holder(session_id)

    def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        include_deleted: bool = False,
    ) -> AsyncIterator[SessionInfo]:
        """Every session's info, the newest change first, read from metadata alone. Those that are
        softly deleted are left out unless ``include_deleted``."""
        if type(prefix) is not str:
            raise InvalidArgument(f"prefix must be a str, not {prefix!r}")
        return listed(
            self._log.store.sessions(prefix=prefix, tags=check_tags(tags)), deleted=include_deleted
        )

    async def _retain(self, session_id: str, command: Command) -> Answer:
        """By a worker of this process: another process does it for the sessions that it has."""
        was_resident = session_id in self.residents
        try:
            return await self.deliver(session_id, command)
        finally:
            if not was_resident:
                self.residents.dismiss(session_id)

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
        node_tags: dict[str, str] | None = None,
        **options: Any,
    ) -> RunOutcome:
        """Execute one run in a session of its own, which is closed afterwards, ``completed`` or
        ``failed``. Takes the options of ``Session.execute``.

        Whatever ends this early, being cancelled or trio.TooSlowError after ``wait_seconds``,
        cancels the run. Bad arguments make no session.
        """
        session = self.handle(self._new_id())
        facts: dict[str, Any] = {"tags": tags, "metadata": metadata, "node_tags": node_tags}
        create = partial(self.session, session.id, mode="create", **facts)
        return await execute_and_close(session, create, input, **options)

    def _hand_over(self, session_id: str, command: Command) -> Awaitable[Answer]:
        """The one seam to whoever owns the session; closed once this supervisor has left."""
        self._log.process.check()
        if self._log.left:
            raise has_left()
        return self._store.hand_over(session_id, command)

    # ---- the owner's door ----

    async def deliver(self, session_id: str, command: Command, letter: str | None = None) -> Answer:
        """What the store calls with commands for sessions of this process."""
        if self._log.failure is not None:
            raise self._log.failure.refusal()
        if self._log.left:
            raise has_left()
        return await self.residents.deliver(session_id, command, letter)

    def _store_failed(self, error: StoreFailed) -> None:
        """The store is poisoned: end all running agents, answer everybody, restart nothing."""
        if self._log.failure is None:
            self._log.failure = error
            logger.error("store_failed", reason=str(error))
            self.residents.close(error.refusal())
            self._workers_scope.cancel()
            self._log.wake()

    # ---- background ----

    async def wait_recovered(self) -> None:
        """Return when sessions with unfinished runs have been looked for."""
        await self._recovered.wait()

    async def recover(self) -> None:
        """Give every session with unfinished runs a worker; where a store is shared, as long as
        this goes on, those that nobody has."""
        try:
            if self._takeovers is not None:
                await self._takeovers.keep(self._recovered)
            else:
                async for info in self._store.sessions(needs_worker=True):
                    await self.residents.wake(info.id)
                    self._tell_recovered(info.id)
        finally:
            self._recovered.set()

    def _note_handed_on(self) -> None:
        if self._takeovers is not None:
            self._takeovers.note_changed(handed_on=True)

    def _tell_recovered(self, session_id: str) -> None:
        for tell in list(self._on_recovery):
            tell(session_id)

    def note_blocked_loop(self, execution: Execution | None, seconds: float) -> None:
        """Count it, and record it with the run that did it."""
        self._loop_blocked += 1
        if execution is not None:
            record_blocked(execution, seconds)

    def statistics(self) -> SupervisorStatistics:
        """Counts as of now, of this process."""
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
