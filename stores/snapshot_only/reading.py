"""The reading half of the store port, over logs in memory that were loaded from snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from moorage.runtime.errors import StoreFailed, UnknownSession

from ..bounds import check_limit
from ..news import NewsBoard
from .kept import KeptIndex, decode_index, decode_session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from moorage.runtime.ports import Page, Snapshot, StoredRun
    from moorage.runtime.sessions import SessionInfo

    from ..memory_log import MemoryLog
    from .wrapped import Wrapped

INDEX = "moorage.sessions"
"""The name under which the index of sessions is saved: no session of this store may have it."""
POLL_SECONDS = 0.5
"""How often a reader loads what somebody waits for."""


@attrs.frozen
class SnapshotReaderStatistics:
    """``waiting`` tasks wait for news."""

    waiting: int


class SnapshotReading:
    """Reads through ``_log``, which says what there is of a session."""

    def __init__(self, wrapped: Wrapped) -> None:
        self._wrapped = wrapped
        self._board = NewsBoard()
        self._is_open = False
        self._was_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            reason = "closed" if self._was_open else "not open: use it within `async with`"
            raise StoreFailed(f"the store of snapshots is {reason}", written=False)

    async def _log(self, session_id: str) -> MemoryLog | None:
        """Loaded anew. Raises StoreFailed and CorruptLog."""
        if not is_text(session_id) or session_id not in (await self._index()).sessions:
            return None
        body = await self._wrapped.load(session_id)
        return None if body is None else decode_session(session_id, body).log()

    async def _index(self) -> KeptIndex:
        body = await self._wrapped.load(INDEX)
        return KeptIndex() if body is None else decode_index(INDEX, body)

    async def _existing(self, session_id: str) -> MemoryLog:
        log = await self._log(session_id)
        if log is None:
            raise UnknownSession(session_id)
        return log

    async def info(self, session_id: str) -> SessionInfo | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = await self._log(session_id)
        return None if log is None else log.info()

    async def sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        needs_worker: bool = False,
    ) -> AsyncGenerator[SessionInfo]:
        self._check_open()
        listed: list[tuple[int, SessionInfo]] = []
        for session_id in sorted((await self._index()).sessions):
            log = await self._log(session_id)
            if log is not None and session_id.startswith(prefix):
                listed.append((log.change, log.info()))
        for _, info in sorted(listed, key=lambda one: one[0], reverse=True):
            if needs_worker and not info.needs_worker:
                continue
            if not tags or tags.items() <= info.tags.items():
                yield info

    async def read(
        self,
        session_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 1_000,
        types: frozenset[str] | None = None,
        run_id: str | None = None,
        backwards: bool = False,
    ) -> Page:
        self._check_open()
        check_limit(limit)
        await trio.lowlevel.checkpoint_if_cancelled()
        log = await self._existing(session_id)
        return log.page(
            after=after,
            before=before,
            limit=limit,
            types=types,
            run_id=run_id,
            backwards=backwards,
        )

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = await self._log(session_id)
        return None if log is None else log.find_run(run_id)

    async def find_key(self, session_id: str, key: str) -> str | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = await self._log(session_id)
        return None if log is None else log.find_key(key)

    async def snapshot(self, session_id: str) -> Snapshot | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = await self._log(session_id)
        return None if log is None else log.snapshot

    async def cursor(self, session_id: str, name: str) -> int | None:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = await self._log(session_id)
        return None if log is None else log.cursors.get(name)

    async def cursors(self, session_id: str) -> dict[str, int]:
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        log = await self._log(session_id)
        return {} if log is None else dict(log.cursors)

    async def tombstones(self) -> AsyncGenerator[tuple[str, int]]:
        self._check_open()
        index = await self._index()
        for session_id, head_seq in index.deleted.items():
            if session_id not in index.sessions or await self._log(session_id) is None:
                yield session_id, head_seq


class SnapshotReader(SnapshotReading):
    """Reads beside the owner: it loads a session whole with every call."""

    def __init__(self, wrapped: Wrapped) -> None:
        super().__init__(wrapped)
        self._is_open = True

    def close(self) -> None:
        self._is_open, self._was_open = False, True

    async def wait_news(self, session_id: str, *, after: int, run_id: str | None = None) -> None:
        while True:
            self._check_open()
            await trio.lowlevel.checkpoint_if_cancelled()
            log = await self._log(session_id)
            if log is None or (log.head_seq > after if run_id is None else log.run_ended(run_id)):
                return
            await trio.sleep(POLL_SECONDS)

    def statistics(self) -> SnapshotReaderStatistics:
        return SnapshotReaderStatistics(0)


def is_text(name: str) -> bool:
    """Whether a session may have this name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
