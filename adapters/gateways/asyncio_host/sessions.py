"""Sessions, runs and subscriptions as asyncio has them."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from typing import TYPE_CHECKING

import moorage.runtime as runtime

from ..hosting.batches import BatchReader
from ..hosting.facing import facing
from .crossing import Face, crossing, crossing_to

if TYPE_CHECKING:
    from types import TracebackType

    from moorage.runtime import Event, Transcript

    from .loops import AsyncioPortal

_reader = runtime.SessionReader
_session = runtime.Session


class SessionReader(Face[runtime.SessionReader]):
    """One session, read-only: ``moorage.runtime.SessionReader`` for asyncio."""

    @property
    def id(self) -> str:
        return self._native.id

    info = crossing(_reader.info)
    status = crossing(_reader.status)
    events = crossing(_reader.events)
    cursor = crossing(_reader.cursor)
    wait = crossing(_reader.wait)
    wait_idle = crossing(_reader.wait_idle)
    messages = crossing(_reader.messages)
    context = crossing(_reader.context)
    export_messages = crossing(_reader.export_messages)
    labels = crossing(_reader.labels)
    events_since_label = crossing(_reader.events_since_label)
    checkpoints = crossing(_reader.checkpoints)
    branches = crossing(_reader.branches)

    async def transcript(self) -> Transcript:
        """The conversation as of now: a copy, which does not grow."""

        async def read() -> Transcript:
            return copy.deepcopy(await self._native.transcript())

        found: Transcript = await self._portal.call(read)
        return found

    subscribe = facing(lambda: Subscription, _reader.subscribe)


class Run(Face[runtime.Run]):
    """One run of a session, by id: ``moorage.runtime.Run`` for asyncio."""

    @property
    def id(self) -> str:
        return self._native.id

    @property
    def key(self) -> str | None:
        return self._native.key

    @property
    def session_id(self) -> str:
        return self._native.session_id

    wait = crossing(runtime.Run.wait)
    cancel = crossing(runtime.Run.cancel)
    steer = crossing(runtime.Run.steer)
    status = crossing(runtime.Run.status)


class Session(SessionReader):
    """One session: ``moorage.runtime.Session`` for asyncio, with the same methods.

    A task that is cancelled in one of them raises CancelledError when the call has ended in trio.
    What had been handed over by then has happened: after a cancelled ``submit`` its ``key`` tells.
    """

    _native: runtime.Session

    run = facing(lambda: Run, _session.run)
    submit = crossing_to(lambda: Run, _session.submit)
    # mypy: a parameter ``self`` could be among its ``options``, by name
    execute = crossing(_session.execute)  # type: ignore[arg-type]
    cancel = crossing(_session.cancel)
    answer = crossing(_session.answer)
    approve = crossing(_session.approve)
    deny = crossing(_session.deny)
    steer = crossing(_session.steer)
    run_state = crossing(_session.run_state)
    configure = crossing(_session.configure)
    pause = crossing(_session.pause)
    resume = crossing(_session.resume)
    drain = crossing(_session.drain)
    close = crossing(_session.close)
    reopen = crossing(_session.reopen)
    trim = crossing(_session.trim)
    acknowledge = crossing(_session.acknowledge)
    append = crossing(_session.append)
    append_many = crossing(_session.append_many)
    add_messages = crossing(_session.add_messages)
    label = crossing(_session.label)
    unlabel = crossing(_session.unlabel)
    checkpoint = crossing(_session.checkpoint)
    restore = crossing(_session.restore)
    branch = crossing(_session.branch)
    clear = crossing(_session.clear)
    fork = crossing_to(lambda: Session, _session.fork)
    rotate = crossing_to(lambda: Session, _session.rotate)


class Subscription(Face[runtime.Subscription]):
    """``moorage.runtime.Subscription`` for asyncio: enter it, iterate, acknowledge.

    Events cross in batches, as many as there are when they are asked for; nothing is read ahead of
    that, so a reader that stalls costs no more than in trio. Reading that is cancelled takes no
    event away from the next read. Leaving by an exception leaves it like any other way.
    """

    def __init__(self, native: runtime.Subscription, portal: AsyncioPortal) -> None:
        super().__init__(native, portal)
        self._reader = BatchReader(native)

    @property
    def cursor(self) -> int:
        """The seq up to which everything has been read (filtered out or not)."""
        return self._native.cursor

    async def __aenter__(self) -> Subscription:
        try:
            await self._portal.call(self._native.__aenter__)
        except asyncio.CancelledError:
            await self.__aexit__(None, None, None)  # it may have been entered all the same
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async def leave() -> None:
            await self._native.__aexit__(None, None, None)

        with suppress(runtime.AdmissionClosed):  # it has left, and with it what was entered
            await self._portal.call(leave)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        event = self._reader.next_event()
        if event is None:
            await self._read()
            event = self._reader.next_event()
            if event is None:
                raise StopAsyncIteration
        return event

    def batches(self) -> Batches:
        """The same events as lists, each of what was new; for readers that do much at once."""
        return Batches(self)

    async def _read(self) -> None:
        with suppress(runtime.AdmissionClosed):  # the supervisor has left: that is the end
            await self._portal.call(self._reader.read)

    async def _next_batch(self) -> list[Event]:
        events = self._reader.rest()
        if not events:
            await self._read()
            events = self._reader.rest()
            if not events:
                raise StopAsyncIteration
        return events

    ack = crossing(runtime.Subscription.ack)


class Batches:
    """Iterates a subscription by lists."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    def __aiter__(self) -> Batches:
        return self

    async def __anext__(self) -> list[Event]:
        return await self._subscription._next_batch()
