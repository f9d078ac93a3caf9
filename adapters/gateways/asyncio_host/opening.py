"""Opening supervisors and readers from asyncio, and leaving them so that nothing is left."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import moorage.runtime as runtime
import trio

from ..hosting.facing import facing
from ..hosting.trio_thread import TrioThread
from .agents import AsyncioHost, host_of_this_run
from .crossing import Face, crossing, crossing_pages, crossing_sync, crossing_to
from .loops import AsyncioPortal
from .sessions import Session, SessionReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from moorage.runtime import (
        RetentionPolicy,
        RetentionReport,
        StoreFailed,
        SupervisorLimits,
    )
    from moorage.runtime.agents import Agents
    from moorage.runtime.ports import Store

Opened = TypeVar("Opened")

LOOP_LOOK_SECONDS = 1.0
"""How often a supervisor looks whether the loop that opened it was closed without leaving it."""

_supervisor = runtime.Supervisor


class Supervisor(Face[runtime.Supervisor]):
    """``moorage.runtime.Supervisor`` for asyncio, with the same methods; ``statistics`` is awaited.

    It may be used from any asyncio loop of its process, in whatever thread. Methods raise
    AdmissionClosed once it has left, and WrongProcess in a process that was forked off.
    """

    @property
    def limits(self) -> SupervisorLimits:
        return self._native.limits

    session = crossing_to(lambda: Session, _supervisor.session)
    delete_session = crossing(_supervisor.delete_session)
    unquarantine = crossing(_supervisor.unquarantine)
    drain = crossing(_supervisor.drain)
    statistics = crossing_sync(_supervisor.statistics)
    restore_session = crossing(_supervisor.restore_session)
    apply_retention = crossing(_supervisor.apply_retention)
    wait_recovered = crossing(_supervisor.wait_recovered)
    nodes = crossing(_supervisor.nodes)
    holder = crossing(_supervisor.holder)
    search_sessions = crossing(_supervisor.search_sessions)
    search_runs = crossing(_supervisor.search_runs)
    search_events = crossing(_supervisor.search_events)
    usage_summary = crossing(_supervisor.usage_summary)

    @property
    def failure(self) -> StoreFailed | None:
        return self._native.failure

    # mypy: a parameter ``self`` could be among its ``options``, by name
    run_once = crossing(_supervisor.run_once)  # type: ignore[arg-type]
    handle = facing(lambda: Session, _supervisor.handle)
    sessions = crossing_pages(_supervisor.sessions)


class Reader(Face[runtime.Reader]):
    """``moorage.runtime.Reader`` for asyncio; ``statistics`` is awaited."""

    session = facing(lambda: SessionReader, runtime.Reader.session)
    sessions = crossing_pages(runtime.Reader.sessions)
    preview_retention = crossing(runtime.Reader.preview_retention)
    nodes = crossing(runtime.Reader.nodes)
    holder = crossing(runtime.Reader.holder)
    unserved = crossing(runtime.Reader.unserved)
    search_sessions = crossing(runtime.Reader.search_sessions)
    search_runs = crossing(runtime.Reader.search_runs)
    search_events = crossing(runtime.Reader.search_events)
    usage_summary = crossing(runtime.Reader.usage_summary)
    statistics = crossing_sync(runtime.Reader.statistics)


@asynccontextmanager
async def open_supervisor(
    store: Store,
    agent: Agents,
    *,
    limits: SupervisorLimits | None = None,
    node_tags: dict[str, str] | None = None,
    time_ns: Callable[[], int] | None = None,
    retention: RetentionPolicy | None = None,
    retention_interval_seconds: float = 3_600.0,
    on_retention: Callable[[RetentionReport], Awaitable[object]] | None = None,
) -> AsyncIterator[Supervisor]:
    """Open a supervisor in a trio thread of its own: ``async with`` it in asyncio.

    ``agent`` is an agent or a mapping of names to such: async functions of trio's, or of asyncio's
    by ``asyncio_agent``, or plain functions by ``sync_agent``. Leaving, and what is raised, is as
    by ``moorage.runtime.open_supervisor``, and so are the other arguments (``on_retention`` is
    called in trio); a task that is cancelled while it leaves is told so
    afterwards. Should the supervisor fail by itself, the task that opened it is cancelled, and the
    failure is raised out of the block.
    """
    named: dict[str, Any] = {} if time_ns is None else {"time_ns": time_ns}
    open = partial(
        runtime.open_supervisor,
        store,
        agent,
        limits=limits,
        node_tags=node_tags,
        retention=retention,
        retention_interval_seconds=retention_interval_seconds,
        on_retention=on_retention,
        **named,
    )
    async with _in_trio_thread(open) as (native, portal):
        yield Supervisor(native, portal)


@asynccontextmanager
async def open_reader(store: Store) -> AsyncIterator[Reader]:
    """Read a store beside whoever owns it; see ``moorage.runtime.open_reader``."""
    async with _in_trio_thread(partial(runtime.open_reader, store)) as (native, portal):
        yield Reader(native, portal)


@asynccontextmanager
async def _in_trio_thread(
    open: Callable[[], AbstractAsyncContextManager[Opened]],
) -> AsyncIterator[tuple[Opened, AsyncioPortal]]:
    loop = asyncio.get_running_loop()
    owner = asyncio.current_task()

    @asynccontextmanager
    async def opened_here() -> AsyncIterator[Opened]:
        host_of_this_run.set(AsyncioHost(portal, mailbox, loop))
        async with open() as opened:
            yield opened

    thread = TrioThread(opened_here, services=partial(_leave_with_loop, loop))
    portal = AsyncioPortal(thread)
    mailbox = portal.mailbox(loop)
    over = asyncio.Event()
    inside = stopped = False

    def end() -> None:
        nonlocal stopped
        over.set()
        if inside and owner is not None and not owner.done():
            stopped = True
            owner.cancel()

    thread.ended.add_done_callback(lambda _: mailbox.put(end))
    thread.start()
    try:
        native = await asyncio.wrap_future(thread.opened)
    except BaseException:  # its own, or this task was cancelled
        thread.leave(interrupt=True)
        await _wait_for(over, thread)
        raise
    inside = True
    try:
        yield native, portal
    except BaseException as error:
        inside = False
        thread.leave(interrupt=True)
        if not thread.in_its_process:
            raise
        await _wait_for(over, thread)
        if stopped and isinstance(error, asyncio.CancelledError) and owner is not None:
            owner.uncancel()
            thread.ended.result()
        raise
    inside = False
    thread.leave()
    if not thread.in_its_process:
        return
    await _wait_for(over, thread)
    thread.ended.result()


async def _wait_for(over: asyncio.Event, thread: TrioThread[Any]) -> None:
    """Wait for the thread's end, also when this task is cancelled; raises CancelledError then,
    behind it."""
    cancelled: asyncio.CancelledError | None = None
    while not over.is_set():
        try:
            await over.wait()
        except asyncio.CancelledError as error:
            cancelled = error
    thread.join()
    if cancelled is not None:
        raise cancelled


async def _leave_with_loop(loop: asyncio.AbstractEventLoop, thread: TrioThread[Any]) -> None:
    """In trio: nobody can leave any more once the loop is closed."""
    while not loop.is_closed():  # noqa: ASYNC110  (it tells nobody)
        await trio.sleep(LOOP_LOOK_SECONDS)
    thread.leave(interrupt=True)
