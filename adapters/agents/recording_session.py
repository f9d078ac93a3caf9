"""An in-memory session for agents under test: what RecordingContext offers as ``session``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio
from moorage.runtime.codec import check_event_type, private_copy
from moorage.runtime.events import Event, NewEvent
from moorage.runtime.limits import MEBIBYTE
from moorage.runtime.sessions import SessionInfo, SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime.events import Data

RECORD_BYTES_MAX = 16 * MEBIBYTE


class EventLog(Protocol):
    """Where the session's events are: those of the context that it belongs to."""

    events: list[Event]


class RecordingSession:
    """A RunSession over a list of events."""

    def __init__(
        self, session_id: str, log: EventLog, *, metadata: dict[str, Any] | None = None
    ) -> None:
        self.id = session_id
        self._log = log
        self._info = SessionInfo(
            id=session_id,
            state=SessionState.OPEN,
            tags={},
            metadata=dict(metadata or {}),
            created_at_ns=0,
            modified_at_ns=0,
            head_seq=0,
            runs={},
        )

    async def info(self) -> SessionInfo:
        await trio.lowlevel.checkpoint()
        return attrs.evolve(self._info, head_seq=len(self._log.events))

    async def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        types: set[str] | None = None,
        run_id: str | None = None,
    ) -> list[Event]:
        await trio.lowlevel.checkpoint()
        found = [
            event
            for event in self._log.events
            if event.seq > after
            and (before is None or event.seq < before)
            and (types is None or event.type in types)
            and (run_id is None or event.run_id == run_id)
        ]
        return found[:limit] if before is None else found[-limit:]

    async def append(
        self, type: str, data: Data, *, metadata: dict[str, Any] | None = None
    ) -> Event:
        return (await self.append_many([NewEvent(type, data, metadata)]))[0]

    async def append_many(self, events: Iterable[NewEvent]) -> list[Event]:
        await trio.lowlevel.checkpoint()
        appended = []
        for event in events:
            check_event_type(event.type)
            copy, _ = private_copy(event.data, "data", bytes_max=RECORD_BYTES_MAX)
            appended.append((event.type, None, copy, event.metadata))
        return [self.record(*fields) for fields in appended]

    async def configure(
        self,
        *,
        slots: int | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
        summary: str | None = None,
        metadata_update: dict[str, Any] | None = None,
    ) -> None:
        await trio.lowlevel.checkpoint()
        info = self._info
        changed = dict(info.metadata if metadata is None else metadata) | (metadata_update or {})
        removed = {name for name, value in (metadata_update or {}).items() if value is None}
        self._info = attrs.evolve(
            info,
            slots=slots or info.slots,
            tags=info.tags if tags is None else tags,
            summary=summary or info.summary,
            metadata={name: value for name, value in changed.items() if name not in removed},
        )

    def record(
        self, type: str, run_id: str | None, data: Data, metadata: dict[str, Any] | None = None
    ) -> Event:
        """Put an event at the end, of whatever type: what other runs have left, for instance."""
        events = self._log.events
        time_ns = int(trio.current_time() * 1e9)
        event = Event(self.id, len(events) + 1, time_ns, type, run_id, data, metadata)
        events.append(event)
        return event
