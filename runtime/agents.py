"""What executes a run, as the runtime sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import attrs

from .errors import InvalidArgument
from .events import Data
from .runs import RunRequest

if TYPE_CHECKING:
    from .events import Event, NewEvent
    from .limits import SupervisorLimits
    from .sessions import SessionInfo


@attrs.frozen
class Steer:
    """A message for a run on its way. ``id`` is the one that ``Run.steer`` returned."""

    id: str
    message: Data


class RunSession(Protocol):
    """What an agent sees of the session that its run belongs to: a part of ``Session``.

    Reading shows durable events only: ``await context.flush()`` first to see the run's own.
    """

    @property
    def id(self) -> str: ...

    async def info(self) -> SessionInfo:
        """Tags, metadata and counts as they are now."""
        ...

    async def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        types: set[str] | None = None,
        run_id: str | None = None,
    ) -> list[Event]:
        """A page of events; see ``Session.events``. Raises CursorExpired."""
        ...

    async def append(
        self, type: str, data: Data, *, metadata: dict[str, Any] | None = None
    ) -> Event:
        """Record something outside any run; durable when it returns."""
        ...

    async def append_many(self, events: Iterable[NewEvent]) -> list[Event]:
        """Record several events, all or nothing; durable when it returns."""
        ...

    async def configure(
        self,
        *,
        slots: int | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        summary: str | None = None,
        metadata_update: dict[str, Any] | None = None,
    ) -> None:
        """Change what is given. ``metadata_update`` changes single entries, None removes one."""
        ...


class RunContext(Protocol):
    """An agent's way to its session while it executes one run."""

    @property
    def session_id(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was given as ``metadata`` to ``submit``."""
        ...

    @property
    def limits(self) -> SupervisorLimits:
        """Those of the supervisor that executes the run."""
        ...

    @property
    def session(self) -> RunSession:
        """The run's session: its events, and what is recorded about it."""
        ...

    async def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record an event, in order, durable soon after.

        Normally returns at once, checkpoints at least every 64 calls, and waits while the run is
        more than ``emit_ahead_bytes_max`` ahead of the log. Raises InvalidArgument for a reserved
        type or data that is not plain msgpack, RecordTooLarge, and RunEnded after the run's end.
        """
        ...

    def emit_nowait(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Like ``emit``, for callbacks; raises BufferFull where ``emit`` would wait."""
        ...

    async def flush(self) -> None:
        """Return when everything emitted so far is durable."""
        ...

    async def park(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        """End this task and leave the run waiting for ``session.answer(run_id, name, value)``.

        The run holds no slot while it waits and survives a restart. When it is answered the agent
        is called again from its beginning, and there ``park`` with the same name returns the value
        (it is in ``request.answers`` too). After ``timeout_seconds``, which go on while no process
        has the session, the answer is ``default``.

        What was emitted since the last ``flush`` becomes durable together with the wait: whoever
        sees an event that was emitted just before can answer.
        """
        ...

    async def ask(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        """Wait for ``session.answer(run_id, name, value)`` here, and keep the slot: for agents that
        hold what cannot be left, such as a program that waits for the answer.

        Times of the run go on, except for ``silence_seconds_max``. A run that is requeued asks
        again, and can be answered before it does; what was answered returns at once. After
        ``timeout_seconds`` the answer is ``default``. Raises InvalidArgument while the same name
        is asked for already.
        """
        ...

    def accept_steers(self) -> None:
        """From now on messages of ``Run.steer`` are offered to this run; without it they become
        queued runs at once."""
        ...

    def take_steers(self) -> list[Steer]:
        """The messages that have come since the last call, which the agent now has to bring in,
        and to tell of by a ``message_sent`` with the ``steer_id``.

        One that was told is not given out again. The others are offered to the run's next start,
        should there be one, and become queued runs when the run ends, except for those that were
        taken by an agent that then returns, or that is cancelled.
        """
        ...

    async def wait_steer(self) -> None:
        """Return when there is a message to take."""
        ...


class RunContextWrapper:
    """A RunContext that passes everything on to ``context``: what a wrapper around an agent gives
    to it is a subclass that overrides what it is there for."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    @property
    def session_id(self) -> str:
        return self._context.session_id

    @property
    def run_id(self) -> str:
        return self._context.run_id

    @property
    def attempt(self) -> int:
        return self._context.attempt

    @property
    def metadata(self) -> Mapping[str, Any]:
        """See ``RunContext.metadata``."""
        return self._context.metadata

    @property
    def limits(self) -> SupervisorLimits:
        """See ``RunContext.limits``."""
        return self._context.limits

    @property
    def session(self) -> RunSession:
        """See ``RunContext.session``."""
        return self._context.session

    async def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """See ``RunContext.emit``."""
        await self._context.emit(type, data, time_ns=time_ns, metadata=metadata)

    def emit_nowait(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """See ``RunContext.emit_nowait``."""
        self._context.emit_nowait(type, data, time_ns=time_ns, metadata=metadata)

    async def flush(self) -> None:
        """See ``RunContext.flush``."""
        await self._context.flush()

    async def park(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        """See ``RunContext.park``."""
        return await self._context.park(
            name, data, timeout_seconds=timeout_seconds, default=default
        )

    async def ask(
        self,
        name: str,
        data: Data = None,
        *,
        timeout_seconds: float | None = None,
        default: Data = None,
    ) -> Data:
        """See ``RunContext.ask``."""
        return await self._context.ask(name, data, timeout_seconds=timeout_seconds, default=default)

    def accept_steers(self) -> None:
        """See ``RunContext.accept_steers``."""
        self._context.accept_steers()

    def take_steers(self) -> list[Steer]:
        """See ``RunContext.take_steers``."""
        return self._context.take_steers()

    async def wait_steer(self) -> None:
        """See ``RunContext.wait_steer``."""
        await self._context.wait_steer()


Agent = Callable[[RunRequest, RunContext], Awaitable[object]]
Agents = Agent | Mapping[str, Agent]


def to_await(returned: object) -> Awaitable[object]:
    """What an agent's call returned, before it is awaited: Python's own words would tell of the
    expression that does that. Not asked for at opening, where a plain function may be one that
    returns a coroutine. Raises TypeError."""
    if not isinstance(returned, Awaitable | Generator):  # which types.coroutine makes of coroutines
        raise TypeError(
            f"the agent returned {type(returned).__name__}, which cannot be awaited: an agent is "
            "an async function; sync_agent makes one of a plain function, asyncio_agent one of a "
            "function of asyncio's"
        )
    return cast("Awaitable[object]", returned)


def check_configured(name: str | None, agents: Mapping[str | None, Agent]) -> None:
    """Raise InvalidArgument for an agent that is none of these."""
    if name in agents:
        return
    names = ", ".join(sorted(known for known in agents if known is not None))
    others = f": there are {names}" if names else ", only one without a name"
    raise InvalidArgument(f"no agent named {name!r} is configured in this supervisor{others}")
