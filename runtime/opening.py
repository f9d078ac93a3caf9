"""Opening a supervisor, and leaving it so that nothing is left running."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
import trio

from .errors import InvalidArgument
from .identifiers import check_name
from .limits import SupervisorLimits
from .permits import RunPermits
from .reading import SessionLog, SessionReader
from .recent_runs import RecentRuns
from .supervisor import Supervisor, has_left
from .tail import TailCache
from .turns import Environment
from .watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .agents import Agent, Agents
    from .ports import Store
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


@asynccontextmanager
async def open_supervisor(
    store: Store,
    agent: Agents,
    *,
    limits: SupervisorLimits | None = None,
    time_ns: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Supervisor]:
    """Open a store and serve its sessions: ``async with open_supervisor(...) as supervisor``.

    ``agent`` is one agent or a mapping of names to agents (the one called ``default``, or the only
    one, serves runs without a name). Sessions with unfinished runs are recovered at once. Leaving
    the block drains for ``limits.drain_seconds``, leaving it by an exception interrupts what runs;
    both return only when every task, thread and child process has ended, and the exception is
    raised as it is. ``time_ns`` gives wall-clock time; trio's clock drives all timers.

    Raises SessionHeld if another process has the store, CorruptLog and StoreFailed if it cannot
    be opened, InvalidArgument.
    """
    limits = SupervisorLimits() if limits is None else limits
    agents = _by_name(agent)
    tail = TailCache(limits.tail_cache_bytes_max)
    recent = RecentRuns(limits.outcome_cache_bytes_max)
    log = SessionLog(store, tail, recent, store.save_cursor)
    environment = Environment(
        store=store,
        limits=limits,
        agents=agents.get,
        permits=RunPermits(limits.runs_running_max),
        tail=tail,
        recent=log.recent,
        time_ns=time_ns,
    )
    raised: BaseException | None = None
    ended_by_us = False
    holder: list[Supervisor] = []

    async def deliver(session_id: str, command: Any) -> Any:
        return await holder[0].deliver(session_id, command)

    owner = f"pid {os.getpid()} on {socket.gethostname()}"
    try:
        async with store.opened(owner=owner, deliver=deliver):
            try:
                async with trio.open_nursery() as services:
                    supervisor: Supervisor = await services.start(
                        _supervise, partial(Supervisor, environment, log, agents)
                    )
                    holder.append(supervisor)
                    watchdog = _watch(supervisor)
                    try:
                        try:
                            yield supervisor
                        except BaseException as error:
                            raised, ended_by_us = error, services.cancel_scope.cancel_called
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


async def _supervise(
    make: Callable[[trio.Nursery], Supervisor], task_status: trio.TaskStatus[Supervisor]
) -> None:
    """Workers live in a nursery of their own: ending them all does not end the block, and what
    cancels the block does not end them before they were drained."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as workers:
            supervisor = make(workers)
            workers.start_soon(supervisor.residents.passivate_idle)
            workers.start_soon(supervisor.leases.keep)
            workers.start_soon(supervisor.recover)
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


class Reader:
    """From ``open_reader``: reads a store without owning it."""

    def __init__(self, log: SessionLog, limits: SupervisorLimits) -> None:
        self._log = log
        self._limits = limits

    def session(self, session_id: str) -> SessionReader:
        """A read-only handle; its methods raise UnknownSession if there is no such session."""
        return SessionReader(self._log, check_name("session id", session_id), self._limits)

    def sessions(
        self, *, prefix: str = "", tags: dict[str, str] | None = None
    ) -> AsyncIterator[SessionInfo]:
        """Every session's info, the newest change first."""
        return self._log.store.sessions(prefix=prefix, tags=tags)

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
