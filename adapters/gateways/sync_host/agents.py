"""Agents that are plain functions: each run has a thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import moorage.runtime as runtime
import trio
from moorage.runtime import InvalidArgument, RunEnded
from moorage.runtime.current import run_in_context

from ..hosting.facing import HostedContext
from ..hosting.outbox import Outbox
from .crossing import Face, blocking, blocking_behind
from .sessions import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime import RunContext, RunRequest, Steer
    from moorage.runtime.events import Data

    SyncFunction = Callable[[RunRequest, "SyncRunContext"], object]

THREADS_MAX = 128
"""Runs of one agent that have a thread at once, unless another limit is given."""

_limiters: trio.lowlevel.RunVar[dict[SyncAgent, trio.CapacityLimiter]] = trio.lowlevel.RunVar(
    "moorage_sync_agents"
)


class SyncAgent:
    """An agent that is a plain function; made by ``sync_agent``."""

    def __init__(self, function: SyncFunction, threads_max: int) -> None:
        self.function = function
        self.threads_max = threads_max

    def __repr__(self) -> str:
        return f"<sync agent {self.function!r}>"

    async def __call__(self, request: RunRequest, context: RunContext) -> object:
        """In trio: have it executed in a thread."""
        outbox = Outbox(context)
        face = SyncRunContext(outbox)

        def work() -> object:
            face._begin()
            try:
                output = self.function(request, face)
            except BaseException as error:
                outbox.process.end_fork(error)
                raise
            outbox.process.end_fork()
            return output

        async def perform() -> object:
            return await trio.to_thread.run_sync(work, limiter=self._limiter())

        return await outbox.execute(perform)

    def _limiter(self) -> trio.CapacityLimiter:
        """Its own: long runs must not take the threads that stores need."""
        try:
            limiters = _limiters.get()
        except LookupError:
            limiters = {}
            _limiters.set(limiters)
        if self not in limiters:
            limiters[self] = trio.CapacityLimiter(self.threads_max)
        return limiters[self]


def sync_agent(function: SyncFunction, *, threads_max: int = THREADS_MAX) -> SyncAgent:
    """``function``, a plain function, as an agent of any supervisor; also as a decorator.

    Each run has a thread; while ``threads_max`` of them are busy, further runs of this agent wait
    in their slots. A thread cannot be ended from outside: when the run is cancelled, ``emit``,
    ``check_cancelled``, ``sleep`` and whatever else of the context waits raise trio.Cancelled, a
    BaseException that ``except Exception`` lets through; a function that never comes there keeps
    its slot until it returns. Raises InvalidArgument.
    """
    if not callable(function):
        raise InvalidArgument(f"an agent must be callable, not {function!r}")
    if type(threads_max) is not int or threads_max < 1:
        raise InvalidArgument(f"threads_max must be an int of at least 1, not {threads_max!r}")
    return SyncAgent(function, threads_max)


class _RunPortal:
    """Calls into trio that end with the run: in the agent's own thread by being cancelled, in
    others that it has started by raising RunEnded."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.thread_id = 0

    @property
    def is_agents_thread(self) -> bool:
        # trio uses its threads again, so afterwards it may be that of another run
        return threading.get_ident() == self.thread_id and not self._outbox.ended

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        self._outbox.process.check()
        if self.is_agents_thread:
            return trio.from_thread.run(function)
        return trio.from_thread.run(self._while_running, function, trio_token=self._outbox.token)

    async def _while_running(self, function: Callable[[], Awaitable[Any]]) -> Any:
        with trio.CancelScope() as scope:
            take_back = self._outbox.call_on_cancel(scope.cancel)
            try:
                return await function()
            finally:
                take_back()
        raise RunEnded(self._outbox.context.run_id)


class PartOfSession(Face[runtime.RunSession]):
    """What an agent sees of its session where a wrapper stands before it."""

    @property
    def id(self) -> str:
        return self._native.id

    info = blocking(runtime.RunSession.info)
    events = blocking(runtime.RunSession.events)
    append = blocking(runtime.RunSession.append)
    append_many = blocking(runtime.RunSession.append_many)
    configure = blocking(runtime.RunSession.configure)


class SyncRunContext(HostedContext):
    """``moorage.runtime.RunContext`` for a function in a thread, and ``check_cancelled``,
    ``cancelled`` and ``sleep``. Threads that the function starts may use it as well. ``park`` ends
    the call by raising trio.Cancelled."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(outbox)
        self._portal = _RunPortal(outbox)

    def _begin(self) -> None:
        self._portal.thread_id = threading.get_ident()
        in_context: Any = self  # called where that of trio is awaited
        run_in_context.set(in_context)

    @property
    def session(self) -> Session | PartOfSession:
        """The run's session: a ``Session``, or the part of one that a wrapper gives."""
        native = self._native.session
        if isinstance(native, runtime.Session):
            return Session(native, self._portal)
        return PartOfSession(native, self._portal)

    @property
    def cancelled(self) -> bool:
        """Whether the run is being cancelled or has ended: for loops that ask by themselves."""
        try:
            self.check_cancelled()
        except (trio.Cancelled, RunEnded):
            return True
        return False

    def check_cancelled(self) -> None:
        """Raise trio.Cancelled when the run is cancelled; in threads that the agent has started
        itself, RunEnded; in processes that it has forked off, WrongProcess."""
        self._outbox.process.check()
        if self._portal.is_agents_thread:
            trio.from_thread.check_cancelled()
        elif self._outbox.cancelled:
            raise RunEnded(self.run_id)

    def sleep(self, seconds: float) -> None:
        """Sleep, and wake up to raise as ``check_cancelled`` does when the run is cancelled."""

        async def sleep() -> None:
            await trio.sleep(seconds)

        self._portal.call(sleep)

    def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """See ``RunContext.emit``. When the run is cancelled the event is recorded all the same,
        and this raises as ``check_cancelled`` does."""
        self._outbox.put(type, data, time_ns, metadata)
        if self._outbox.is_full:
            self._portal.call(self._outbox.pump)
        else:
            self.check_cancelled()

    flush = blocking_behind(runtime.RunContext.flush)
    park = blocking_behind(runtime.RunContext.park)
    ask = blocking_behind(runtime.RunContext.ask)
    wait_steer = blocking(runtime.RunContext.wait_steer)

    def accept_steers(self) -> None:
        """See ``RunContext.accept_steers``."""

        async def accept() -> None:
            self._native.accept_steers()

        self._portal.call(accept)

    def take_steers(self) -> list[Steer]:
        """See ``RunContext.take_steers``; what was emitted before counts as told."""

        async def take() -> list[Steer]:
            return self._native.take_steers()

        taken: list[Steer] = self._portal.call(self._outbox.behind(take))
        return taken


def current_run() -> SyncRunContext:
    """The context of the run that this code is a part of, anywhere below a ``sync_agent``, and in
    threads that run in its contextvars. Raises InvalidArgument elsewhere, also in trio agents,
    where ``moorage.runtime.current_run`` finds it."""
    context: object = runtime.current_run()
    if not isinstance(context, SyncRunContext):
        raise InvalidArgument("this run's agent is no sync_agent: use moorage.runtime.current_run")
    return context


def current_session() -> Session | PartOfSession:
    """The session of the current run. Raises InvalidArgument where there is none."""
    return current_run().session
