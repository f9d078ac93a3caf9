"""Raw streams of one gateway: looked up, created, appended to, forked, deleted.

The log is the truth; what is remembered saves reading it. What others append meanwhile is noticed
by the session's owner (``expected_seq``): then the log is read again, and decided again. So a retry
is told from something new after any crash, and on any node.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import NewEvent, SessionState
from moorage.runtime.errors import (
    InvalidArgument,
    SessionChanged,
    SessionClosed,
    SessionDeleted,
    SessionExists,
    UnknownSession,
)

from ..operations import JSON
from ..problems import StreamConflict, StreamGone
from .configs import CONFIG, READ_AT, config_of
from .reading import Segment, View
from .refusals import StreamDamaged, StreamIsClosed, WriterSeqRegression
from .removal import remove, retained_seconds
from .states import CHECKPOINTED, CREATED, STREAM_TYPES, StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moorage.runtime import Event, Session, SessionInfo, Supervisor

    from .configs import StreamConfig
    from .known_streams import Known, KnownStreams
    from .states import Write

BEHIND_EVENTS_MAX = 512
"""Who is further behind begins with the latest sum in the log."""
PAGE_EVENTS = 64
FORKS_DEEP_MAX = 32
"""How many streams one may inherit from, one behind the other."""
NANOSECONDS = 1_000_000_000
READ_SHARES = 8
"""Reads renew a stream's time in the log only when this part of it has passed."""


@attrs.frozen
class Appended:
    """``duplicate`` if it was there before. ``producer_seq`` is the last one of its producer."""

    view: View
    duplicate: bool = False
    producer_seq: int | None = None


class DurableStreams:
    """The streams of a supervisor, for one request. Methods raise what sessions raise."""

    def __init__(
        self,
        supervisor: Supervisor,
        known: KnownStreams,
        time_ns: Callable[[], int],
        *,
        prefix: str = "",
    ) -> None:
        self.supervisor = supervisor
        self.prefix = prefix
        """Of the ids of sessions that are read for whoever asks, whatever a stream says."""
        self.known = known
        self.time_ns = time_ns

    # ---- looking ----

    async def view(self, id: str) -> View:
        """Raises UnknownSession, also for what has expired, and SessionDeleted for what is only
        there for its forks."""
        session = self.supervisor.handle(id)
        while True:
            info = await session.info()
            if info.deleted_at_ns is not None:
                raise SessionDeleted(id, deleted_at_ns=info.deleted_at_ns)
            config = config_of(info)
            if config is None:
                return self._of_session(info)
            state = await self._state(info)
            if not state.created_seq:
                if await _is_begun(session, info):
                    raise UnknownSession(id)  # somebody began to create it, and was killed
                return self._of_session(info)
            if not self.has_expired(info, config):
                return await self._view(info, config, state)
            if await self._expire(info):
                raise UnknownSession(id)

    def _of_session(self, info: SessionInfo) -> View:
        """A session with runs, or one that may have some: a stream of its events."""
        own = Segment(session=self.supervisor.handle(info.id), raw=False)
        return View(
            info=info,
            config=None,
            content_type=JSON,
            tail=info.head_seq,
            closed=info.state is SessionState.CLOSED,
            first_seq=0,
            segments=(own,),
        )

    async def _view(self, info: SessionInfo, config: StreamConfig, state: StreamState) -> View:
        shift = config.fork_position
        return View(
            info=info,
            config=config,
            content_type=config.content_type,
            tail=shift + state.tail_seq if state.tail_seq else shift or state.created_seq,
            closed=state.closed or info.state is SessionState.CLOSED,
            first_seq=state.created_seq,
            segments=await self._segments(info.id, config),
        )

    async def _segments(self, id: str, config: StreamConfig) -> tuple[Segment, ...]:
        """The stream's own, behind those that it inherits. Raises StreamGone, and StreamConflict
        for more of them than are allowed, one of which may be the stream itself."""
        shift = config.fork_position
        found = [Segment(session=self.supervisor.handle(id), shift=shift)]
        until, source = shift, config.forked_from
        deep = 0
        while until and source is not None:
            deep += 1  # not only of what is read: a circle may have nothing to be read
            if deep > FORKS_DEEP_MAX:
                raise StreamConflict(
                    f"the stream inherits from more than {FORKS_DEEP_MAX} others, one behind the "
                    "other: copy one of them into a new stream"
                )
            above = await self._config_above(source)
            if above is None:
                raise StreamGone(
                    f"the stream inherits from {source!r}, which is not there any more"
                )
            if above.fork_position < until:
                session = self.supervisor.handle(source)
                found.append(Segment(session=session, shift=above.fork_position, until=until))
            until, source = min(until, above.fork_position), above.forked_from
        return tuple(reversed(found))

    async def _config_above(self, source: str) -> StreamConfig | None:
        """Of what a stream inherits from; None if that is not there, or not for whoever asks."""
        if not source.startswith(self.prefix):
            return None
        try:
            return config_of(await self.supervisor.handle(source).info())
        except (InvalidArgument, UnknownSession):
            return None

    # ---- what is remembered ----

    async def _state(self, info: SessionInfo) -> StreamState:
        known = self.known.get(info.id)
        if known.created_at_ns != info.created_at_ns or known.state.head_seq < info.head_seq:
            async with known.lock:
                await self._refresh(known, info)
        return known.state

    async def _refresh(self, known: Known, info: SessionInfo) -> StreamState:
        """Read on in the log, under the lock."""
        session = self.supervisor.handle(info.id)
        if known.created_at_ns != info.created_at_ns:
            known.state, known.created_at_ns, known.used_at_ns = (
                StreamState(),
                info.created_at_ns,
                0,
            )
        if known.state.head_seq < info.head_seq - BEHIND_EVENTS_MAX or not known.state.head_seq:
            known.state = await _latest(session, info)
        state = known.state
        while state.head_seq < info.head_seq:
            page = await session.events(
                after=state.head_seq, limit=PAGE_EVENTS, types=set(STREAM_TYPES)
            )
            try:
                _apply(state, page)
            except StreamDamaged:
                known.state = StreamState()
                raise
            if len(page) < PAGE_EVENTS:
                state.head_seq = max(state.head_seq, info.head_seq)
        return state

    # ---- expiry ----

    def has_expired(self, info: SessionInfo, config: StreamConfig) -> bool:
        now_ns = self.time_ns()
        if config.expires_at_ns is not None:
            return now_ns >= config.expires_at_ns
        if config.ttl_seconds is None:
            return False
        lasts_ns = config.ttl_seconds * NANOSECONDS
        used_at_ns = self.known.get(info.id).used_at_ns
        if used_at_ns:
            return now_ns >= max(used_at_ns, info.modified_at_ns) + lasts_ns
        # the latest reads may not be in the log: rather late than early
        return now_ns >= info.modified_at_ns + lasts_ns + lasts_ns // READ_SHARES

    async def _expire(self, info: SessionInfo) -> bool:
        """Delete it unless somebody has used it, or made it anew, at the last moment."""

        def is_over(now: SessionInfo) -> bool:
            config = config_of(now)
            same = now.created_at_ns == info.created_at_ns
            return same and config is not None and self.has_expired(now, config)

        if not await remove(self.supervisor, info.id, self.time_ns, if_still=is_over):
            return False
        self.known.forget(info.id)
        return True

    def note_used(self, info: SessionInfo) -> None:
        self.known.get(info.id).used_at_ns = self.time_ns()

    async def touch(self, view: View) -> None:
        """Somebody reads it: its time begins again, in the log as well if it is worth it."""
        info, config = view.info, view.config
        if config is None or config.ttl_seconds is None:
            return
        self.note_used(info)
        now_ns = self.time_ns()
        if now_ns - info.modified_at_ns >= config.ttl_seconds * NANOSECONDS // READ_SHARES:
            with suppress(SessionClosed):
                session = self.supervisor.handle(info.id)
                await session.configure(metadata_update={READ_AT: now_ns})

    # ---- appending ----

    async def append(self, view: View, write: Write) -> Appended:
        """Append what ``write`` has, once. Raises StreamIsClosed, WriterSeqRegression, ProducerGap
        and StaleEpoch; then nothing is changed."""
        id, config = view.info.id, view.config
        assert config is not None, "a session with runs is not written to"
        known = self.known.get(id)
        session = self.supervisor.handle(id)
        async with known.lock:
            while True:
                info = await session.info()
                state = await self._refresh(known, info)
                if not state.created_seq:
                    raise UnknownSession(id)
                decided = await self._decide(info, config, state, write)
                if decided is None:
                    try:
                        events = await session.append_many(
                            state.events_of(write), expected_seq=state.head_seq
                        )
                    except SessionChanged:
                        continue
                    _apply(state, events)
                    decided = Appended(
                        await self._view(info, config, state),
                        producer_seq=write.producer.seq if write.producer else None,
                    )
                self.note_used(info)
                return decided

    async def _decide(
        self, info: SessionInfo, config: StreamConfig, state: StreamState, write: Write
    ) -> Appended | None:
        """What is answered without appending; None if it is to be appended."""
        view = await self._view(info, config, state)
        producer = write.producer
        if producer is not None and state.is_duplicate(producer):
            return Appended(view, duplicate=True, producer_seq=state.producers[producer.id][1])
        if view.closed:
            if not write.contents and producer is None:
                return Appended(view, duplicate=True)
            raise StreamIsClosed(position=view.tail)
        last = state.writer_seq
        if write.writer_seq is not None and last is not None and write.writer_seq <= last:
            raise WriterSeqRegression(last=last, given=write.writer_seq)
        return None

    # ---- creating ----

    async def make(self, id: str, config: StreamConfig, writes: Sequence[Write]) -> View | None:
        """Create the stream with what is in it from the beginning: it is there when all of it is.
        What somebody has left who was killed meanwhile is taken away. None if somebody else is
        faster, or a session of that name is there."""
        await self._segments(id, config)  # raises before anything is made
        known = self.known.get(id)
        session = self.supervisor.handle(id)
        async with known.lock:
            try:
                if not await self._clear(session):
                    return None
                await self.supervisor.session(id, mode="create", **self._facts(config))
                info = await session.info()
                state = await self._refresh(known, info)
                events = [NewEvent(CREATED, config.data())]
                for write in writes:
                    events += write.events()
                appended = await session.append_many(events, expected_seq=state.head_seq)
            except (SessionChanged, SessionExists, UnknownSession):
                return None
            _apply(state, appended)
            self.note_used(info)
            return await self._view(info, config, state)

    async def _clear(self, session: Session) -> bool:
        """Whether the id is free now."""
        try:
            info = await session.info()
        except UnknownSession:
            return True
        if config_of(info) is None or not await _is_begun(session, info):
            return False
        return await self.supervisor.delete_session(session.id, expected_seq=info.head_seq)

    def _facts(self, config: StreamConfig) -> dict[str, Any]:
        facts: dict[str, Any] = {"metadata": {CONFIG: config.data()}, "tags": {CONFIG: "raw"}}
        seconds = retained_seconds(config, self.time_ns())
        return facts if seconds is None else facts | {"expire_after_seconds": seconds}

    # ---- ending ----

    async def remove(self, id: str) -> None:
        """Delete it; what forks need of it stays, out of reach. Raises UnknownSession."""
        await remove(self.supervisor, id, self.time_ns)
        self.known.forget(id)


def _apply(state: StreamState, events: Sequence[Event]) -> None:
    for event in events:
        state.apply(event)


async def _is_begun(session: Session, info: SessionInfo) -> bool:
    """Whether nothing is in it yet: its maker is about to fill it, or was killed."""
    events = await session.events(before=info.head_seq + 1, limit=2)
    return [event.type for event in events] == ["session_opened"]


async def _latest(session: Session, info: SessionInfo) -> StreamState:
    """The state as of the last event, from the latest sum on."""
    found: list[Event] = []
    before = info.head_seq + 1
    while True:
        page = await session.events(before=before, limit=PAGE_EVENTS, types=set(STREAM_TYPES))
        sums = [i for i, event in enumerate(page) if event.type in (CREATED, CHECKPOINTED)]
        found = page[sums[-1] if sums else 0 :] + found
        if sums or len(page) < PAGE_EVENTS:
            break
        before = page[0].seq
    state = StreamState()
    _apply(state, found)
    state.head_seq = info.head_seq  # before it, nothing is left out
    if found and not state.created_seq:  # somebody has trimmed the log to almost nothing
        state.created_seq = found[0].seq - 1
    return state
