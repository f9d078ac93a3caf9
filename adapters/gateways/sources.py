"""A store or a server, with the same names: what commands read, remove and export.

Locally one reads beside whoever owns the store; over HTTP its owner answers.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, cast

import attrs
from moorage.runtime import Event, UnknownSession, open_maintenance, open_reader

from .frame import CommandFailed
from .remote import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moorage.runtime import Maintenance, Reader, SessionInfo, SupervisorLimits
    from moorage.runtime.ports import Store, StoreReader

    from .http_client import Client

    Source = Store | Server


@asynccontextmanager
async def reading(source: Source, *, patient: bool = False) -> AsyncIterator[Reader]:
    """A reader of the store, or what does the same at a server; a ``patient`` one waits for a
    server that is being started again."""
    if isinstance(source, Server):
        async with source.connected(patient=patient) as client:
            yield cast("Reader", RemoteReader(client))
        return
    async with open_reader(source) as reader:
        yield reader


class RemoteReader:
    """The members of a reader that commands use."""

    def __init__(self, client: Client) -> None:
        self.session = client.handle
        self.sessions = client.sessions
        self.search_sessions = client.search_sessions
        self.search_runs = client.search_runs
        self.search_events = client.search_events
        self.usage_summary = client.usage_summary
        self.nodes = client.nodes
        self.holder = client.holder


# ---- removing ----


class Removal(Protocol):
    """What deletes sessions and brings them back; ``reader`` is what an export of them reads."""

    @property
    def reader(self) -> StoreReader: ...

    async def delete_session(
        self, session_id: str, *, soft: bool = False, expected_seq: int | None = None
    ) -> bool: ...

    async def restore_session(self, session_id: str) -> bool: ...


@asynccontextmanager
async def removing(source: Source, purpose: str) -> AsyncIterator[Removal]:
    """Remove sessions, as a server does or without serving any. Raises SessionHeld if another
    process owns the store, StoreFailed, and ServerUnreachable."""
    if isinstance(source, Server):
        async with source.connected() as client:
            yield _RemovalAtServer(client)
        return
    async with maintained(source, purpose) as maintenance:
        yield _RemovalFromStore(source, maintenance)


@asynccontextmanager
async def maintained(
    store: Store, purpose: str, limits: SupervisorLimits | None = None
) -> AsyncIterator[Maintenance]:
    """Remove sessions from a store that must be there. Raises SessionHeld if another process owns
    it, and StoreFailed."""
    async with store.reading():
        pass
    async with open_maintenance(store, purpose=f"moorage {purpose}", limits=limits) as maintenance:
        yield maintenance


class _RemovalFromStore:
    def __init__(self, store: Store, maintenance: Maintenance) -> None:
        self.reader: StoreReader = store
        self.delete_session = maintenance.delete_session
        self.restore_session = maintenance.restore_session


class _RemovalAtServer:
    def __init__(self, client: Client) -> None:
        self.reader = cast("StoreReader", RemoteLog(client))
        self.delete_session = client.delete_session
        self.restore_session = client.restore_session


# ---- exporting ----


@asynccontextmanager
async def reading_log(source: Source) -> AsyncIterator[StoreReader]:
    """The log itself, as an export has it."""
    if isinstance(source, Server):
        async with source.connected() as client:
            yield cast("StoreReader", RemoteLog(client))
        return
    async with source.reading() as reader:
        yield reader


@attrs.frozen
class LogPage:
    """Of a store's page what an export looks at."""

    events: list[Event]
    scanned_to: int


class RemoteLog:
    """The members of a store's reader that an export uses."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def info(self, session_id: str) -> SessionInfo | None:
        try:
            return await self._client.handle(session_id).info()
        except UnknownSession:
            return None

    async def read(
        self, session_id: str, *, after: int = 0, before: int | None = None, limit: int
    ) -> LogPage:
        """The first ``limit`` events behind ``after``, as far as they are below ``before``."""
        events = await self._client.handle(session_id).events(after=after, limit=limit)
        kept = [event for event in events if before is None or event.seq < before]
        return LogPage(kept, events[-1].seq if events else after)

    async def snapshot(self, session_id: str) -> None:
        raise CommandFailed(
            f"session {session_id!r} was trimmed, and the snapshot that stands for what is gone is "
            "not given over HTTP: export it where its store is"
        )
