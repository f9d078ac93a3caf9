"""Sessions, runs and subscriptions for threads."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TYPE_CHECKING

import moorage.runtime as runtime
import trio

from ..hosting.batches import BatchReader
from ..hosting.facing import facing
from .crossing import Face, Portal, blocking, blocking_to

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType

    from moorage.runtime import Event, Transcript

_reader = runtime.SessionReader
_session = runtime.Session


class SessionReader(Face[runtime.SessionReader]):
    """One session, read-only: ``moorage.runtime.SessionReader`` for threads."""

    @property
    def id(self) -> str:
        return self._native.id

    info = blocking(_reader.info)
    status = blocking(_reader.status)
    events = blocking(_reader.events)
    cursor = blocking(_reader.cursor)
    wait = blocking(_reader.wait)
    wait_idle = blocking(_reader.wait_idle)
    messages = blocking(_reader.messages)
    context = blocking(_reader.context)
    export_messages = blocking(_reader.export_messages)
    labels = blocking(_reader.labels)
    events_since_label = blocking(_reader.events_since_label)
    checkpoints = blocking(_reader.checkpoints)
    branches = blocking(_reader.branches)

    def transcript(self) -> Transcript:
        """The conversation as of now: a copy, which does not grow."""

        async def read() -> Transcript:
            return copy.deepcopy(await self._native.transcript())

        found: Transcript = self._portal.call(read)
        return found

    subscribe = facing(lambda: Subscription, _reader.subscribe)


class Run(Face[runtime.Run]):
    """One run of a session, by id: ``moorage.runtime.Run`` for threads."""

    @property
    def id(self) -> str:
        return self._native.id

    @property
    def key(self) -> str | None:
        return self._native.key

    @property
    def session_id(self) -> str:
        return self._native.session_id

    wait = blocking(runtime.Run.wait)
    cancel = blocking(runtime.Run.cancel)
    steer = blocking(runtime.Run.steer)
    status = blocking(runtime.Run.status)


class Session(SessionReader):
    """One session: ``moorage.runtime.Session`` for threads, with the same methods, which block.

    A KeyboardInterrupt in one of them is raised when the call has ended in trio. What had been
    handed over by then has happened: after ``submit`` its ``key`` tells.
    """

    _native: runtime.Session

    run = facing(lambda: Run, _session.run)
    submit = blocking_to(lambda: Run, _session.submit)
    # mypy: a parameter ``self`` could be among its ``options``, by name
    execute = blocking(_session.execute)  # type: ignore[arg-type]
    cancel = blocking(_session.cancel)
    answer = blocking(_session.answer)
    approve = blocking(_session.approve)
    deny = blocking(_session.deny)
    steer = blocking(_session.steer)
    run_state = blocking(_session.run_state)
    configure = blocking(_session.configure)
    pause = blocking(_session.pause)
    resume = blocking(_session.resume)
    drain = blocking(_session.drain)
    close = blocking(_session.close)
    reopen = blocking(_session.reopen)
    trim = blocking(_session.trim)
    acknowledge = blocking(_session.acknowledge)
    append = blocking(_session.append)
    append_many = blocking(_session.append_many)
    add_messages = blocking(_session.add_messages)
    label = blocking(_session.label)
    unlabel = blocking(_session.unlabel)
    checkpoint = blocking(_session.checkpoint)
    restore = blocking(_session.restore)
    branch = blocking(_session.branch)
    clear = blocking(_session.clear)
    fork = blocking_to(lambda: Session, _session.fork)
    rotate = blocking_to(lambda: Session, _session.rotate)


class Subscription(Face[runtime.Subscription]):
    """``moorage.runtime.Subscription`` for threads: ``with session.subscribe(...) as events: for
    event in events``. One thread at a time may iterate.

    Events cross in batches, as many as there are when they are asked for; nothing is read ahead of
    that.
    """

    def __init__(self, native: runtime.Subscription, portal: Portal) -> None:
        super().__init__(native, portal)
        self._reader = BatchReader(native)

    @property
    def cursor(self) -> int:
        """The seq up to which everything has been read (filtered out or not)."""
        return self._native.cursor

    def __enter__(self) -> Subscription:
        try:
            self._portal.call(self._native.__aenter__)
        except KeyboardInterrupt:
            self.__exit__(None, None, None)  # it may have been entered all the same
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async def leave() -> None:
            with trio.CancelScope(shield=True):
                await self._native.__aexit__(None, None, None)

        with suppress(runtime.AdmissionClosed):  # it has left, and with it what was entered
            self._portal.call(leave)

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Event:
        event = self._reader.next_event()
        if event is None:
            self._read(self._reader.read)
            event = self._reader.next_event()
            if event is None:
                raise StopIteration
        return event

    def batches(self) -> Iterator[list[Event]]:
        """The same events as lists, each of what was new; for readers that do much at once."""
        while events := self.next_batch():
            yield events

    def next_batch(self, *, timeout_seconds: float | None = None) -> list[Event]:
        """What is new, at least one event; an empty list at the end.

        Raises WaitTooSlow after ``timeout_seconds``, which takes no event away from the next read.
        """
        events = self._reader.rest()
        if not events:

            async def read() -> None:
                if timeout_seconds is None:
                    await self._reader.read()
                else:
                    with trio.fail_after(timeout_seconds):
                        await self._reader.read()

            self._read(read)
            events = self._reader.rest()
        return events

    def _read(self, read: Callable[[], Awaitable[None]]) -> None:
        with suppress(runtime.AdmissionClosed):  # the supervisor has left: that is the end
            self._portal.call(read)

    ack = blocking(runtime.Subscription.ack)
