"""The sessions that are in memory, as they were saved last: loaded once, saved whole each time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime.errors import StoreFailed, UnknownSession

from .kept import KeptIndex, KeptSession, decode_session
from .reading import INDEX, SnapshotReading, is_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..memory_log import MemoryLog
    from .wrapped import Wrapped


class Loaded:
    """A session in memory: as it was saved last, and as it is read."""

    __slots__ = ("body", "is_there", "kept", "log", "turn")

    def __init__(self) -> None:
        self.is_there = False
        self.body: bytes | None = None
        self.kept: KeptSession | None = None
        self.log: MemoryLog | None = None
        self.turn = trio.Lock()


class LoadedSessions(SnapshotReading):
    """What a store keeps of its sessions and of the index, and how it changes them."""

    def __init__(self, wrapped: Wrapped) -> None:
        super().__init__(wrapped)
        self._kept_index = KeptIndex()
        self._index_body: bytes | None = None
        self._index_turn = trio.Lock()
        self._sessions: dict[str, Loaded] = {}
        self._poison: StoreFailed | None = None
        self._saves = 0
        self._saved_bytes = 0

    async def _load_index(self) -> int:
        """Begin a new opening; returns its number. Raises StoreFailed and CorruptLog."""
        self._index_body = await self._wrapped.load(INDEX)
        index = await super()._index()
        generation = index.generation + 1
        await self._save_index(attrs.evolve(index, generation=generation))
        return generation

    async def _index(self) -> KeptIndex:
        await trio.lowlevel.checkpoint()
        return self._kept_index

    async def _save_index(self, index: KeptIndex) -> None:
        body = index.encode()
        await self._save(INDEX, body, self._index_body)
        self._index_body, self._kept_index = body, index

    async def _save(self, name: str, new: bytes | None, old: bytes | None) -> None:
        if self._poison is not None:
            raise self._poison.refusal()
        try:
            await self._wrapped.save(name, new, old)
        except StoreFailed as failure:
            if failure.poisoned and self._poison is None:
                self._poison = failure
                self._board.wake_all()
            raise
        self._saves += 1
        self._saved_bytes += len(new or b"")

    async def _log(self, session_id: str) -> MemoryLog | None:
        if not is_text(session_id):
            return None
        loaded = self._sessions.get(session_id)
        if loaded is None or not loaded.is_there:
            async with self._loaded(session_id) as loaded:
                return loaded.log
        return loaded.log

    @contextlib.asynccontextmanager
    async def _loaded(self, session_id: str) -> AsyncGenerator[Loaded]:
        """The session in memory, and nobody else changes it meanwhile."""
        while True:
            loaded = self._sessions.get(session_id)
            if loaded is None:
                loaded = self._sessions[session_id] = Loaded()
            async with loaded.turn:
                if self._sessions.get(session_id) is not loaded:
                    continue  # it was let go of while we waited
                try:
                    await self._load(session_id, loaded)
                except BaseException:
                    del self._sessions[session_id]
                    raise
                yield loaded
                return

    async def _load(self, session_id: str, loaded: Loaded) -> None:
        if loaded.is_there:
            return
        if session_id in self._kept_index.sessions:
            body = await self._wrapped.load(session_id)
            if body is not None:
                loaded.kept = decode_session(session_id, body)
                loaded.log = loaded.kept.log()
                loaded.body = body
        loaded.is_there = True

    def _head(self, session_id: str, loaded: Loaded) -> int:
        if loaded.kept is not None:
            return loaded.kept.head_seq
        return self._kept_index.deleted.get(session_id, 0)

    async def _note_existence(self, session_id: str, *, exists: bool, head: int = 0) -> None:
        async with self._index_turn:
            index = self._kept_index
            sessions, deleted = set(index.sessions), dict(index.deleted)
            if exists:
                sessions.add(session_id)
            else:
                sessions.discard(session_id)
                deleted[session_id] = head
            changed = attrs.evolve(index, sessions=frozenset(sessions), deleted=deleted)
            if changed != index:
                await self._save_index(changed)

    async def _replace(self, loaded: Loaded, new: KeptSession) -> None:
        body = new.encode()
        await self._save(new.session_id, body, loaded.body)
        old, loaded.body, loaded.kept = loaded.kept, body, new
        log = loaded.log
        if log is None or old is None or old.oldest_seq != new.oldest_seq or old.info != new.info:
            loaded.log = new.log()
            return
        log.append(new.records[len(old.records) :])
        log.modified_at_ns, log.change = new.modified_at_ns, new.change
        log.snapshot, log.cursors = new.snapshot, dict(new.cursors)

    def _kept(self, session_id: str, loaded: Loaded) -> KeptSession:
        if loaded.kept is None:
            raise UnknownSession(session_id)
        return loaded.kept
