"""The reading half of the store port, on a State: for the owner and for readers beside it."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from moorage.runtime.errors import CorruptLog, StoreFailed, UnknownSession

from ..bounds import check_limit
from . import lookup
from .changes import unpack_info
from .format import Damaged
from .paging import Query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from moorage.runtime.ports import Page, Snapshot, StoredRun
    from moorage.runtime.sessions import SessionInfo

    from .state import State, View

READ_THREADS_MAX = 4
_RETRIES_MAX = 5
_LISTING_SLICE = 100
_KEYS_SLICE = 4_096
"""Entries looked at in one go, which takes about 2 ms."""

T = TypeVar("T")


class Reads:
    """Answers questions from the state and the files.

    What was just written is read inline, it is in memory anyway; all else in a thread. ``refresh``
    is called when a file has vanished (compacted away while it was asked for) and returns when
    the state knows the files of now.
    """

    def __init__(
        self, current: Callable[[], State], refresh: Callable[[], Awaitable[None]]
    ) -> None:
        self._current = current
        self._refresh = refresh
        self._threads = trio.CapacityLimiter(READ_THREADS_MAX)

    def state(self) -> State:
        return self._current()

    def info(self, session_id: str) -> SessionInfo | None:
        entry = self._current().directory.entries.get(session_id)
        if entry is None or not entry.info:
            return None
        try:
            return unpack_info(
                entry.info, head_seq=entry.head_seq, modified_at_ns=entry.modified_ns
            )
        except Damaged as error:
            root = str(self._current().files.layout.root)
            raise CorruptLog(file=root, offset=0, reason=f"{session_id!r}: {error}") from error

    async def sessions(
        self, *, prefix: str, tags: dict[str, str] | None, needs_worker: bool
    ) -> AsyncGenerator[SessionInfo]:
        directory = self._current().directory
        source = directory.needing_worker if needs_worker else directory.entries
        for count, session_id in enumerate(list(reversed(source))):
            if count % _LISTING_SLICE == 0:
                await trio.lowlevel.checkpoint()
            if not session_id.startswith(prefix):
                continue
            info = self.info(session_id)
            if info is None or (needs_worker and not info.needs_worker):
                continue
            if tags and any(info.tags.get(name) != value for name, value in tags.items()):
                continue
            yield info

    async def session_page(
        self,
        *,
        by_id: bool,
        descending: bool,
        after: tuple[Any, ...] | None,
        prefix: str,
        limit: int,
    ) -> list[SessionInfo]:
        """See OrderedReader: looks at all entries, and unpacks the infos of those that it gives."""
        choose = heapq.nlargest if descending else heapq.nsmallest
        entries = self._current().directory.entries
        keys: list[tuple[Any, ...]] = []
        ids = list(entries)
        for start in range(0, len(ids), _KEYS_SLICE):
            found = []
            for session_id in ids[start : start + _KEYS_SLICE]:
                entry = entries.get(session_id)
                if entry is None or not entry.info or not session_id.startswith(prefix):
                    continue
                key = (session_id,) if by_id else (entry.modified_ns, session_id)
                if after is None or (key < after if descending else key > after):
                    found.append(key)
            if found:
                keys = choose(limit, [*keys, *found])
            await trio.lowlevel.checkpoint()
        infos = [self.info(key[-1]) for key in keys]
        there = [info for info in infos if info is not None]
        if keys and not there:  # all of them were deleted meanwhile
            return await self.session_page(
                by_id=by_id, descending=descending, after=keys[-1], prefix=prefix, limit=limit
            )
        return there

    async def read(
        self,
        session_id: str,
        *,
        after: int,
        before: int | None,
        limit: int,
        types: frozenset[str] | None,
        run_id: str | None,
        backwards: bool,
    ) -> Page:
        check_limit(limit)

        async def attempt() -> Page:
            view = self._view(session_id)
            if view is None:
                raise UnknownSession(session_id)
            query = Query(
                view,
                after=after,
                before=before,
                limit=limit,
                types=types,
                run_id=run_id,
                backwards=backwards,
            )
            page = query.run_recent()
            return page if page is not None else await self._in_thread(query.run)

        return await self._retrying(attempt)

    async def find_run(self, session_id: str, run_id: str) -> StoredRun | None:
        async def attempt() -> StoredRun | None:
            view = self._view(session_id)
            if view is None:
                return None
            submitted, ended = lookup.find_recent_run(view, run_id)
            if submitted and all(
                lookup.locate_recent(view, seq) for seq in (submitted, ended) if seq
            ):
                return lookup.load_stored_run(view, run_id, submitted, ended)
            return await self._in_thread(lambda: _stored_run(view, run_id))

        return await self._retrying(attempt)

    async def find_key(self, session_id: str, key: str) -> str | None:
        async def attempt() -> str | None:
            view = self._view(session_id)
            if view is None:
                return None
            seq = lookup.find_recent_key(view, key)
            if seq and lookup.locate_recent(view, seq):
                return lookup.load_key_owner(view, key, seq)
            if not seq and not view.start:
                return None
            return await self._in_thread(lambda: _key_owner(view, key))

        return await self._retrying(attempt)

    async def snapshot(self, session_id: str) -> Snapshot | None:
        async def attempt() -> Snapshot | None:
            view = self._view(session_id)
            if view is None:
                return None
            entry = self._current().directory.entries[session_id]
            place, seq = entry.snapshot_place, entry.snapshot_seq
            if not place:
                return None
            found = lookup.find_recent_snapshot(view, place)
            if found is None:
                return await self._in_thread(lambda: _sealed_snapshot(view, place, seq))
            if view.is_recent(found.number, found.place.offset):
                return lookup.load_snapshot(view, found)
            return await self._in_thread(lambda: lookup.load_snapshot(view, found))

        return await self._retrying(attempt)

    def cursor(self, session_id: str, name: str) -> int | None:
        entry = self._current().directory.entries.get(session_id)
        if entry is None or entry.cursors is None:
            return None
        return entry.cursors.get(name)

    def _view(self, session_id: str) -> View | None:
        state = self._current()
        entry = state.directory.entries.get(session_id)
        if entry is None or not entry.info:
            return None
        return state.view(session_id, entry)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._threads)

    async def _retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for tries_left in reversed(range(_RETRIES_MAX)):
            try:
                return await attempt()
            except FileNotFoundError as error:
                if not tries_left:
                    raise StoreFailed(f"a file of the log is missing: {error}") from error
                await self._refresh()
            except OSError as error:
                raise StoreFailed(f"the log cannot be read: {error}") from error
        raise AssertionError("unreachable")


def _stored_run(view: View, run_id: str) -> StoredRun | None:
    submitted, ended = lookup.find_run(view, run_id)
    return lookup.load_stored_run(view, run_id, submitted, ended) if submitted else None


def _sealed_snapshot(view: View, place: int, seq: int) -> Snapshot:
    return lookup.load_snapshot(view, lookup.find_sealed_snapshot(view, place, seq))


def _key_owner(view: View, key: str) -> str | None:
    seq = lookup.find_key(view, key)
    return lookup.load_key_owner(view, key, seq) if seq else None
