"""Opening a supervisor, and leaving it so that nothing is left running."""

from __future__ import annotations

import math
import os
import random
import socket
import time
import traceback
from collections.abc import Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio

from .arguments import PAGE_EVENTS_MAX, check_count, check_node_tags, check_seconds
from .errors import InvalidArgument
from .identifiers import check_name
from .limits import SupervisorLimits
from .permits import RunPermits
from .placement import words_of
from .ports import holder_reader, nodes_reader
from .queries import Queries
from .reading import SessionLog, SessionReader, has_left
from .recent_runs import RecentRuns
from .removal import listed
from .retention import RetentionPolicy
from .retention_pass import RetentionPass, Sizes, keep_applying
from .supervisor import Supervisor
from .tail import TailCache
from .turns import Environment
from .watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from .agents import Agent, Agents
    from .placement import NodeInfo, SessionHolder, UnheldSession
    from .ports import Store
    from .retention_pass import RetentionReport
    from .sessions import SessionInfo

logger = structlog.get_logger("moorage")


def _by_name(agents: Agents) -> dict[str | None, Agent]:
    """Agents by the name that ``submit`` gives; None stands for the default."""
    if callable(agents):
        return {None: agents}
    if not isinstance(agents, Mapping):
        raise InvalidArgument(
            f"agent must be an async function or a mapping of names to such, not {agents!r}"
        )
    if not agents:
        raise InvalidArgument("at least one agent is needed")
    named: dict[str | None, Agent] = {}
    for name, agent in agents.items():
        check_name("agent name", name)
        if not callable(agent):
            raise InvalidArgument(f"agent {name!r} must be callable, not {agent!r}")
        named[name] = agent
    # without a name the only agent is meant, or the one called "default"
    default = named.get("default") or (next(iter(named.values())) if len(named) == 1 else None)
    if default is not None:
        named[None] = default
    return named


def _check_surroundings(store: Store) -> None:
    """The two mistakes of a first try, which would be told from deep inside otherwise."""
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "open_supervisor needs trio: start the program with trio.run(main), or from asyncio "
            "and threads run that in a thread of its own"
        )
    if not hasattr(store, "opened"):
        raise InvalidArgument(
            f"store must be a store, such as JournalStore({os.fspath(store)!r}), not a path"
            if isinstance(store, (str, os.PathLike))
            else f"store must be a store, such as JournalStore or MemoryStore, not {store!r}"
        )


@asynccontextmanager
async def open_supervisor(
    store: Store,
    agent: Agents,
    *,
    limits: SupervisorLimits | None = None,
    node_tags: dict[str, str] | None = None,
    time_ns: Callable[[], int] = time.time_ns,
    retention: RetentionPolicy | None = None,
    retention_interval_seconds: float = 3_600.0,
    on_retention: Callable[[RetentionReport], Awaitable[object]] | None = None,
) -> AsyncIterator[Supervisor]:
    """Open a store and serve its sessions: ``async with open_supervisor(...) as supervisor``.

    ``agent`` is one agent or a mapping of names to agents (the one called ``default``, or the only
    one, serves runs without a name). Sessions with unfinished runs are recovered at once. Leaving
    the block drains for ``limits.drain_seconds``, leaving it by an exception interrupts what runs;
    both return only when every task, thread and child process has ended, and the exception is
    raised as it is. Where nodes share the store, this one takes sessions whose runs name its agents
    and whose ``node_tags`` are all among its own. ``time_ns`` gives wall-clock time; trio's clock
    drives all timers.

    A ``retention`` policy is applied after the recovery and about every
    ``retention_interval_seconds`` from then on; ``on_retention`` is given each pass's report.

    Raises SessionHeld if another process has the store, CorruptLog and StoreFailed if it cannot
    be opened, InvalidArgument, and RuntimeError outside of trio.
    """
    _check_surroundings(store)
    keep_retention = _retention(retention, retention_interval_seconds, on_retention)
    limits = SupervisorLimits() if limits is None else limits
    agents = _by_name(agent)
    holder: list[Supervisor] = []
    offer = words_of(check_node_tags(node_tags) or {}, (name or "" for name in agents))
    log, environment = _surroundings(store, limits, agents, time_ns, holder, offer)
    async with _opened(store, environment, log, agents, holder, keep_retention) as supervisor:
        yield supervisor


@asynccontextmanager
async def _opened(
    store: Store,
    environment: Environment,
    log: SessionLog,
    agents: dict[str | None, Agent],
    holder: list[Supervisor],
    keep_retention: Callable[[Supervisor], Awaitable[object]] | None,
) -> AsyncIterator[Supervisor]:
    """The supervisor, which ``holder`` has while it is there."""
    raised: BaseException | None = None
    ended_by_us = False

    async def deliver(session_id: str, command: Any, letter: str | None = None) -> Any:
        return await holder[0].deliver(session_id, command, letter)

    owner = f"pid {os.getpid()} on {socket.gethostname()}"
    try:
        async with store.opened(owner=owner, deliver=deliver):
            try:
                async with trio.open_nursery() as services:
                    supervisor: Supervisor = await services.start(
                        _supervise, partial(Supervisor, environment, log, agents), keep_retention
                    )
                    holder.append(supervisor)
                    watchdog = _watch(supervisor)
                    try:
                        try:
                            yield supervisor
                        except BaseException as error:
                            log.process.end_fork(error)
                            raised, ended_by_us = error, services.cancel_scope.cancel_called
                        log.process.end_fork()
                        await _leave(supervisor, interrupt=raised is not None)
                    finally:
                        log.left = True
                        if watchdog is not None:
                            watchdog.stop()
                        supervisor.left.set()
            except BaseExceptionGroup as group:
                raised = _first_cause(None if ended_by_us else raised, group)
    except Exception as error:
        if raised is None:
            raise
        _log_hidden("store_not_closed", error)
    if raised is not None:
        raise raised


def _surroundings(
    store: Store,
    limits: SupervisorLimits,
    agents: Mapping[str | None, Agent],
    time_ns: Callable[[], int],
    holder: list[Supervisor],
    offer: frozenset[str],
) -> tuple[SessionLog, Environment]:
    """What the supervisor, which ``holder`` will have, works with."""
    tail = TailCache(limits.tail_cache_bytes_max)
    recent = RecentRuns(limits.outcome_cache_bytes_max)
    log = SessionLog(store, tail, recent, store.save_cursor)
    environment = Environment(
        store=store,
        limits=limits,
        agents=agents.get,
        permits=RunPermits(limits.runs_running_max),
        tail=tail,
        recent=recent,
        time_ns=time_ns,
        session_of=lambda session_id: holder[0].handle(session_id),
        offer=None if store.lease_seconds is None else offer,
    )
    return log, environment


def _retention(
    policy: RetentionPolicy | None,
    interval_seconds: float,
    told: Callable[[RetentionReport], Awaitable[object]] | None,
) -> Callable[[Supervisor], Awaitable[None]] | None:
    """What keeps applying the policy. Raises InvalidArgument."""
    if policy is None:
        return None
    if not isinstance(policy, RetentionPolicy):
        raise InvalidArgument(f"retention must be a RetentionPolicy, not {policy!r}")
    seconds = check_seconds("retention_interval_seconds", interval_seconds, minimum=0.001)
    if seconds is None:
        raise InvalidArgument("retention_interval_seconds must be a number of seconds, not none")

    async def keep(supervisor: Supervisor) -> None:
        await supervisor.wait_recovered()
        apply = partial(supervisor.apply_retention, policy)
        await keep_applying(apply, seconds, told, random.random)

    return keep


async def _supervise(
    make: Callable[[trio.Nursery], Supervisor],
    keep_retention: Callable[[Supervisor], Awaitable[None]] | None,
    task_status: trio.TaskStatus[Supervisor],
) -> None:
    """Workers live in a nursery of their own: ending them all does not end the block, and what
    cancels the block does not end them before they were drained."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as workers:
            supervisor = make(workers)
            workers.start_soon(supervisor.residents.passivate_idle)
            workers.start_soon(supervisor.residents.wake_in_time)
            workers.start_soon(supervisor.leases.keep)
            workers.start_soon(supervisor.recover)
            if keep_retention is not None:
                workers.start_soon(keep_retention, supervisor)
            task_status.started(supervisor)
            try:
                await supervisor.left.wait()
            finally:
                supervisor.residents.close(has_left())
                workers.cancel_scope.cancel()


def _first_cause(raised: BaseException | None, group: BaseExceptionGroup[Any]) -> BaseException:
    """Which to raise: what the block raised by itself, or ``group``, which is no failure of a
    session's own: KeyboardInterrupt in an agent, or a defect here."""
    if raised is None or not isinstance(group, Exception):
        return _bare(group)
    _log_hidden("supervisor_failed", group)
    return raised


def _bare(error: BaseException) -> BaseException:
    """The one exception in a group of one, however deep."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _log_hidden(event: str, error: BaseException) -> None:
    """Tell of an error that is not raised, because the block's own is."""
    logger.error(event, traceback="".join(traceback.format_exception(error)))


def _watch(supervisor: Supervisor) -> Watchdog | None:
    """Start the watchdog, except under a virtual clock, where nothing takes time."""
    if hasattr(trio.lowlevel.current_clock(), "autojump_threshold"):
        return None
    watchdog = Watchdog(supervisor.limits.loop_blocked_seconds, supervisor.note_blocked_loop)
    watchdog.start()
    return watchdog


async def _leave(supervisor: Supervisor, *, interrupt: bool) -> None:
    """Drain, say what did not stop, and wait until every worker has left."""
    with trio.CancelScope(shield=True):
        try:
            report = await supervisor.drain(timeout_seconds=0 if interrupt else None, queued="keep")
            if report.not_stopped:
                logger.error("agents_do_not_stop", run_ids=report.not_stopped)
        except Exception as error:
            if not interrupt:
                raise
            _log_hidden("drain_failed", error)
        finally:
            await supervisor.residents.leave_all(has_left())


class Reader(Queries):
    """From ``open_reader``: reads a store without owning it."""

    def __init__(self, log: SessionLog, limits: SupervisorLimits) -> None:
        self._log = log
        self._limits = limits

    def session(self, session_id: str) -> SessionReader:
        """A read-only handle; its methods raise UnknownSession if there is no such session."""
        return SessionReader(self._log, check_name("session id", session_id), self._limits)

    def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        include_deleted: bool = False,
    ) -> AsyncIterator[SessionInfo]:
        """Every session's info, the newest change first; without those that are softly deleted
        unless ``include_deleted``."""
        return listed(self._log.store.sessions(prefix=prefix, tags=tags), deleted=include_deleted)

    async def preview_retention(
        self, policy: RetentionPolicy, *, time_ns: Callable[[], int] = time.time_ns
    ) -> RetentionReport:
        """What ``apply_retention(policy, dry_run=True)`` would report, beside a live owner too."""
        work = RetentionPass(
            self._log.store,
            None,
            time_ns=time_ns,
            sizes=Sizes(),
            sessions_per_second=math.inf,
            sessions_at_once=1,
        )
        return await work.apply(policy, dry_run=True)

    async def nodes(self) -> Sequence[NodeInfo]:
        """The nodes that share the store. Raises StoreFailed, and InvalidArgument for a store that
        has one process at a time."""
        return await nodes_reader(self._log.store).nodes()

    async def holder(self, session_id: str) -> SessionHolder | None:
        """The node that has the session, or had it until its lease was over; None if nobody has.
        Raises UnknownSession, StoreFailed, and InvalidArgument for a store that does not tell."""
        await self.session(session_id).info()
        return await holder_reader(self._log.store).holder(session_id)

    async def unserved(self, *, limit: int = 100) -> Sequence[UnheldSession]:
        """Sessions that wait for a node which offers what they demand, the longest waiting first.
        Raises as ``nodes`` does."""
        check_count("limit", limit, minimum=1, maximum=PAGE_EVENTS_MAX)
        return await nodes_reader(self._log.store).unserved(limit)

    def statistics(self) -> Any:
        """The store's own."""
        return self._log.store.statistics()


@asynccontextmanager
async def open_reader(store: Store) -> AsyncIterator[Reader]:
    """Read a store beside whoever owns it, or with nobody there; never writes.

    Raises CorruptLog and StoreFailed if it cannot be read.
    """
    limits = SupervisorLimits()
    async with store.reading() as reader:
        log = SessionLog(reader, TailCache(0), RecentRuns(0))
        try:
            yield Reader(log, limits)
        finally:
            log.left = True
