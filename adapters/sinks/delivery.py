"""Delivery: a session's events into sinks, each at its own pace.

Every sink has a task and a subscription of its own, that is a cursor over the log. One that is slow
or fails holds up no other and no run, and costs no memory: what it has not taken is in the log.
What a sink refuses is offered again, later and later; with stored cursors also after a restart, at
least once.
"""

from __future__ import annotations

import random
import traceback
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs
import structlog
import trio
from moorage.runtime.errors import CursorExpired, InvalidArgument, MoorageError

from .port import SinkFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from moorage.runtime.events import Event

    from .port import Sink

logger = structlog.get_logger("moorage")


class Following(Protocol):
    """What a runtime.Subscription is when it was entered."""

    def batches(self) -> AsyncIterable[list[Event]]: ...
    async def ack(self, event: Event) -> None: ...


class Followed(Protocol):
    """A session, of a supervisor or of a reader."""

    @property
    def id(self) -> str: ...

    def subscribe(
        self,
        *,
        after: int | Literal["head"] = 0,
        types: set[str] | None = None,
        run_id: str | None = None,
        name: str | None = None,
    ) -> AbstractAsyncContextManager[Following]: ...


@attrs.frozen(kw_only=True)
class Backoff:
    """How long to wait before events are offered again: ``first_seconds``, each time twice as
    long, up to ``seconds_max``, less up to half of it at random. ``attempts_max`` None is for ever.

    Raises InvalidArgument.
    """

    first_seconds: float = 0.25
    seconds_max: float = 60.0
    attempts_max: int | None = None

    def __attrs_post_init__(self) -> None:
        if not 0 < self.first_seconds <= self.seconds_max:
            raise InvalidArgument(
                f"first_seconds must be above 0 and at most seconds_max, not {self.first_seconds!r}"
                f" and {self.seconds_max!r}"
            )
        if self.attempts_max is not None and self.attempts_max < 1:
            raise InvalidArgument(f"attempts_max must be at least 1, not {self.attempts_max!r}")

    def seconds(self, failures: int, chance: float) -> float:
        """The pause after so many failures in a row; ``chance`` is from 0 to 1."""
        whole = min(self.first_seconds * 2.0 ** min(failures - 1, 64), self.seconds_max)
        return whole * (1 - chance / 2)


@attrs.define
class SinkProgress:
    """How far a sink is. ``ended`` is why it takes no more: None while it does, "" at the end."""

    seq: int = 0
    delivered: int = 0
    failures: int = 0
    ended: str | None = None


async def deliver(
    session: Followed,
    sinks: Mapping[str, Sink],
    *,
    after: int | Literal["head"] = 0,
    types: set[str] | None = None,
    run_id: str | None = None,
    stored_cursors: bool = False,
    backoff: Backoff | None = None,
    chance: Callable[[], float] = random.random,
) -> dict[str, SinkProgress]:
    """Bring the session's events from behind ``after`` into every sink until the session closes
    (with ``run_id``: the run ends), or until cancelled; returns how far each came.

    With ``stored_cursors`` the name of each sink is that of a named cursor, which beats ``after``
    and moves when the sink has taken something. A sink that raises is offered the same events
    again after a pause, up to ``attempts_max`` times in a row; one that raises SinkFailed, and one
    that cannot be opened, is left out from then on. Both are logged as ``sink_failed``. Events that
    were trimmed away before a sink took them are skipped, and logged as ``sink_missed_events``.

    Raises InvalidArgument, UnknownSession, CursorHeld, StoreFailed.
    """
    if not sinks:
        raise InvalidArgument("at least one sink is needed")
    progress = {name: SinkProgress() for name in sinks}
    try:
        async with trio.open_nursery() as nursery:
            for name, sink in sinks.items():
                delivery = _Delivery(
                    session, name, sink, progress[name], backoff or Backoff(), chance
                )
                cursor = name if stored_cursors else None
                nursery.start_soon(delivery.run, after, types, run_id, cursor)
    except BaseExceptionGroup as group:
        # every sink met the same: the session is gone, the store has failed
        ours, others = group.split(MoorageError)
        if ours is None or others is not None:
            raise
        error: BaseException = ours
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    return progress


class _Delivery:
    """One sink's task."""

    def __init__(
        self,
        session: Followed,
        name: str,
        sink: Sink,
        progress: SinkProgress,
        backoff: Backoff,
        chance: Callable[[], float],
    ) -> None:
        self._session = session
        self._name = name
        self._sink = sink
        self._progress = progress
        self._backoff = backoff
        self._chance = chance

    async def run(
        self,
        after: int | Literal["head"],
        types: set[str] | None,
        run_id: str | None,
        cursor: str | None,
    ) -> None:
        progress = self._progress
        # a session over HTTP has no named cursors, and can be delivered without
        named: Any = {} if cursor is None else {"name": cursor}
        try:
            async with self._sink.opened():
                while True:
                    subscription = self._session.subscribe(
                        after=after, types=types, run_id=run_id, **named
                    )
                    try:
                        await self._follow(subscription, named=cursor is not None)
                    except CursorExpired as error:
                        self._tell("sink_missed_events", reason=str(error))
                        after = error.oldest_seq - 1
                    else:
                        break
            progress.ended = ""
        except _GivenUp as error:
            progress.ended = str(error)
        except (SinkFailed, OSError) as error:
            progress.ended = str(error)
            self._tell("sink_failed", reason=progress.ended, final=True)

    async def _follow(
        self, subscription: AbstractAsyncContextManager[Following], *, named: bool
    ) -> None:
        async with subscription as events:
            async for batch in events.batches():
                await self._write(batch)
                self._progress.seq = batch[-1].seq
                self._progress.delivered += len(batch)
                if named:
                    await events.ack(batch[-1])

    async def _write(self, batch: list[Event]) -> None:
        failures = 0
        while True:
            try:
                return await self._sink.write(batch)
            except SinkFailed:
                raise
            except Exception as error:
                failures += 1
                self._progress.failures += 1
                reason = "".join(traceback.format_exception_only(error)).strip()
                final = failures == self._backoff.attempts_max
                pause = self._backoff.seconds(failures, self._chance())
                self._tell("sink_failed", reason=reason, seq=batch[0].seq, final=final)
                if final:
                    raise _GivenUp(reason) from error
            await trio.sleep(pause)

    def _tell(self, event: str, **facts: object) -> None:
        logger.warning(event, sink=self._name, session_id=self._session.id, **facts)


class _GivenUp(Exception):
    """A sink has failed too often in a row."""
