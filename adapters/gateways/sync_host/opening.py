"""Opening supervisors and readers from a thread, and leaving them so that nothing is left."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import moorage.runtime as runtime

from ..hosting.facing import facing
from ..hosting.trio_thread import TrioThread
from .crossing import (
    Face,
    ThreadPortal,
    blocking,
    blocking_pages,
    blocking_sync,
    blocking_to,
    check_may_block,
)
from .sessions import Session, SessionReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
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

_supervisor = runtime.Supervisor


class Supervisor(Face[runtime.Supervisor]):
    """``moorage.runtime.Supervisor`` for threads, with the same methods, which block.

    Any number of threads may use it at once. Methods raise AdmissionClosed once it has left, and
    WrongProcess in a process that was forked off.
    """

    _portal: ThreadPortal

    @property
    def limits(self) -> SupervisorLimits:
        return self._native.limits

    session = blocking_to(lambda: Session, _supervisor.session)
    delete_session = blocking(_supervisor.delete_session)
    unquarantine = blocking(_supervisor.unquarantine)
    drain = blocking(_supervisor.drain)
    statistics = blocking_sync(_supervisor.statistics)
    restore_session = blocking(_supervisor.restore_session)
    apply_retention = blocking(_supervisor.apply_retention)
    wait_recovered = blocking(_supervisor.wait_recovered)
    nodes = blocking(_supervisor.nodes)
    holder = blocking(_supervisor.holder)
    search_sessions = blocking(_supervisor.search_sessions)
    search_runs = blocking(_supervisor.search_runs)
    search_events = blocking(_supervisor.search_events)
    usage_summary = blocking(_supervisor.usage_summary)

    @property
    def failure(self) -> StoreFailed | None:
        return self._native.failure

    # mypy: a parameter ``self`` could be among its ``options``, by name
    run_once = blocking(_supervisor.run_once)  # type: ignore[arg-type]
    handle = facing(lambda: Session, _supervisor.handle)
    sessions = blocking_pages(_supervisor.sessions)


class Reader(Face[runtime.Reader]):
    """``moorage.runtime.Reader`` for threads."""

    _portal: ThreadPortal

    session = facing(lambda: SessionReader, runtime.Reader.session)
    sessions = blocking_pages(runtime.Reader.sessions)
    preview_retention = blocking(runtime.Reader.preview_retention)
    nodes = blocking(runtime.Reader.nodes)
    holder = blocking(runtime.Reader.holder)
    unserved = blocking(runtime.Reader.unserved)
    search_sessions = blocking(runtime.Reader.search_sessions)
    search_runs = blocking(runtime.Reader.search_runs)
    search_events = blocking(runtime.Reader.search_events)
    usage_summary = blocking(runtime.Reader.usage_summary)
    statistics = blocking_sync(runtime.Reader.statistics)


@contextmanager
def open_supervisor(
    store: Store,
    agent: Agents,
    *,
    limits: SupervisorLimits | None = None,
    node_tags: dict[str, str] | None = None,
    time_ns: Callable[[], int] | None = None,
    retention: RetentionPolicy | None = None,
    retention_interval_seconds: float = 3_600.0,
    on_retention: Callable[[RetentionReport], Awaitable[object]] | None = None,
) -> Iterator[Supervisor]:
    """Open a supervisor in a trio thread of its own.

    ``agent`` is an agent or a mapping of names to such: async functions of trio's, or plain
    functions by ``sync_agent``. Leaving, and what is raised, is as by
    ``moorage.runtime.open_supervisor``, and so are the other arguments (``on_retention`` is an
    async function of trio's): at the block's end what runs is drained, an exception out
    of it, such as KeyboardInterrupt, interrupts what runs.
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
    with in_trio_thread(open) as (native, portal):
        yield Supervisor(native, portal)


@contextmanager
def open_reader(store: Store) -> Iterator[Reader]:
    """Read a store beside whoever owns it; see ``moorage.runtime.open_reader``."""
    with in_trio_thread(partial(runtime.open_reader, store)) as (native, portal):
        yield Reader(native, portal)


@contextmanager
def in_trio_thread(
    open: Callable[[], AbstractAsyncContextManager[Opened]],
) -> Iterator[tuple[Opened, ThreadPortal]]:
    """What ``open()`` gives, opened in a new trio thread, and the way to it."""
    check_may_block()
    thread = TrioThread(open)
    thread.start()
    try:
        native = thread.opened.result()
        yield native, ThreadPortal(thread)
    except BaseException:
        thread.leave(interrupt=True)
        if thread.can_be_waited_for:
            thread.ended.exception()
            thread.join()
        raise
    try:
        thread.leave()
        if thread.can_be_waited_for:
            thread.ended.exception()
    except KeyboardInterrupt:  # at whatever step of it: trio may drain before this returns
        if thread.can_be_waited_for and not thread.ended.done():
            _interrupt_drain(thread, native)
        raise
    if not thread.can_be_waited_for:
        return
    thread.join()
    thread.ended.result()


def _interrupt_drain(thread: TrioThread[Any], native: Any) -> None:
    """Somebody does not want to wait for the end of what runs."""

    async def drain_now() -> None:
        await native.drain(timeout_seconds=0)

    thread.leave()  # it may not have been told yet
    if isinstance(native, runtime.Supervisor):
        thread.start_soon(drain_now)
    thread.ended.exception()
    thread.join()
