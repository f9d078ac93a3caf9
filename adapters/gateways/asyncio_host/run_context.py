"""A run's context as an agent in asyncio's loop has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import moorage.runtime as runtime

from ..hosting.facing import HostedContext
from .crossing import Face, crossing, crossing_behind
from .sessions import Session

if TYPE_CHECKING:
    from moorage.runtime import Steer
    from moorage.runtime.events import Data

    from ..hosting.outbox import Outbox
    from .loops import AsyncioPortal

CALLS_PER_TURN = 64
"""After how many emits in a row the loop gets its turn."""


class PartOfSession(Face[runtime.RunSession]):
    """What an agent sees of its session where a wrapper stands before it."""

    @property
    def id(self) -> str:
        return self._native.id

    info = crossing(runtime.RunSession.info)
    events = crossing(runtime.RunSession.events)
    append = crossing(runtime.RunSession.append)
    append_many = crossing(runtime.RunSession.append_many)
    configure = crossing(runtime.RunSession.configure)


class AsyncioRunContext(HostedContext):
    """``moorage.runtime.RunContext`` for asyncio. Only ``take_steers`` differs: it is awaited."""

    def __init__(self, outbox: Outbox, portal: AsyncioPortal) -> None:
        super().__init__(outbox)
        self._portal = portal
        self._calls = 0

    @property
    def session(self) -> Session | PartOfSession:
        """The run's session: an asyncio ``Session``, or the part of one that a wrapper gives."""
        native = self._native.session
        if isinstance(native, runtime.Session):
            return Session(native, self._portal)
        return PartOfSession(native, self._portal)

    async def emit(
        self,
        type: str,
        data: Data,
        *,
        time_ns: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """See ``RunContext.emit``."""
        self._outbox.put(type, data, time_ns, metadata)
        self._calls += 1
        if self._outbox.is_full:
            await self._portal.call(self._outbox.pump)
        elif self._calls % CALLS_PER_TURN == 0:
            await asyncio.sleep(0)

    flush = crossing_behind(runtime.RunContext.flush)
    park = crossing_behind(runtime.RunContext.park)
    ask = crossing_behind(runtime.RunContext.ask)
    wait_steer = crossing(runtime.RunContext.wait_steer)

    def accept_steers(self) -> None:
        """See ``RunContext.accept_steers``."""
        self._portal.thread.run_soon(self._native.accept_steers)

    async def take_steers(self) -> list[Steer]:
        """See ``RunContext.take_steers``; what was emitted before counts as told."""

        async def take() -> list[Steer]:
            return self._native.take_steers()

        taken: list[Steer] = await self._portal.call(self._outbox.behind(take))
        return taken


def current_run() -> AsyncioRunContext:
    """The context of the run that this code is a part of, anywhere below an ``asyncio_agent``, and
    in threads that run in its contextvars. Raises InvalidArgument elsewhere, also in trio agents,
    where ``moorage.runtime.current_run`` finds it."""
    context: object = runtime.current_run()
    if not isinstance(context, AsyncioRunContext):
        raise runtime.InvalidArgument(
            "this run's agent is no asyncio_agent: use moorage.runtime.current_run"
        )
    return context


def current_session() -> Session | PartOfSession:
    """The session of the current run. Raises InvalidArgument where there is none."""
    return current_run().session
