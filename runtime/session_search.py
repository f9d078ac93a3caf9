"""Sessions in an order, page by page: keyset paging over what a store lists.

A page begins behind a key, never at a count, so that what comes and goes meanwhile shifts nothing.
Stores that offer ``session_page`` (see ports.OrderedReader) are asked for pieces; of the others
every session's info is looked at for each page, and as many are kept as the page has items.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import attrs

from .query_filters import SessionFilter
from .recall import check_readable
from .sessions import SEALED, SessionInfo

if TYPE_CHECKING:
    from .ports import OrderedReader, StoreReader

SessionOrder = Literal["modified", "created", "id"]
Key = tuple[Any, ...]
PIECE_SESSIONS = 500
PIECE_SESSIONS_MAX = 4_000
"""Asked at a time of a store that gives them in order: each piece may cost it a look at all, so
that who needs many asks for more and more."""
PIECE_SIFTED_SESSIONS = 10_000
"""Kept at a time of those that another store lists, all of them for each piece."""
SCANNED_SESSIONS_MAX = 10_000
"""Sessions that one page looks at, where the store gives them in order; it may come back short."""


@attrs.frozen
class SessionSequence:
    """An ordering of sessions. A key is (time, id), or (id,) in the order of ids."""

    order: SessionOrder
    descending: bool

    def key(self, info: SessionInfo) -> Key:
        if self.order == "id":
            return (info.id,)
        if self.order == "created":
            return (info.created_at_ns, info.id)
        return (info.modified_at_ns, info.id)

    def is_behind(self, key: Key, after: Key | None) -> bool:
        """Whether a key comes behind another."""
        return after is None or (key < after if self.descending else key > after)


@attrs.frozen
class Piece:
    """Sessions in order. ``position`` is the key up to which all were looked at; None if that was
    the end."""

    infos: list[SessionInfo]
    position: Key | None


def is_ordered(store: StoreReader) -> bool:
    """Whether the store can give sessions in an order (that of their creation excepted)."""
    return hasattr(store, "session_page")


async def find_sessions(
    store: StoreReader,
    sequence: SessionSequence,
    filter: SessionFilter,
    *,
    after: Key | None,
    limit: int,
) -> Piece:
    """The next sessions behind ``after`` that match, at most ``limit``. Raises StoreFailed for a
    text in sessions that are encrypted, where the store has no keys."""
    if sequence.order != "created" and is_ordered(store):
        return await _asked(cast("OrderedReader", store), sequence, filter, after, limit)
    return await _sifted(store, sequence, filter, after, limit)


async def _asked(
    store: OrderedReader,
    sequence: SessionSequence,
    filter: SessionFilter,
    after: Key | None,
    limit: int,
) -> Piece:
    found: list[SessionInfo] = []
    scanned, piece = 0, PIECE_SESSIONS
    while scanned < SCANNED_SESSIONS_MAX:
        size = piece if _selects(filter) else limit - len(found) + 1
        piece = min(2 * piece, PIECE_SESSIONS_MAX)
        infos = await store.session_page(
            order=cast("Any", sequence.order),
            descending=sequence.descending,
            after=after,
            prefix=filter.prefix,
            limit=size,
        )
        for info in infos:
            if len(found) == limit:
                return Piece(found, after)
            after = sequence.key(info)
            if _matches(filter, info):
                found.append(info)
        if not infos:
            return Piece(found, None)
        scanned += len(infos)
    return Piece(found, after)


def _matches(filter: SessionFilter, info: SessionInfo) -> bool:
    """Raises StoreFailed for an encrypted session that may have the text in its summary, where the
    store has no keys: nobody can say that it does not match."""
    if filter.matches(info):
        return True
    is_sealed = filter.text is not None and SEALED in info.metadata
    if is_sealed and attrs.evolve(filter, text=None).matches(info):
        check_readable(info)
    return False


def _selects(filter: SessionFilter) -> bool:
    """Whether it leaves out some of the sessions that the prefix leaves."""
    return filter != SessionFilter(prefix=filter.prefix)


async def _sifted(
    store: StoreReader,
    sequence: SessionSequence,
    filter: SessionFilter,
    after: Key | None,
    limit: int,
) -> Piece:
    best: list[_Candidate] = []  # a heap: the last in the order on top
    async with listed(store, filter) as infos:
        async for info in infos:
            key = sequence.key(info)
            if not sequence.is_behind(key, after) or not _matches(filter, info):
                continue
            candidate = _Candidate(key, info, sequence.descending)
            if len(best) <= limit:
                heapq.heappush(best, candidate)
            else:
                heapq.heappushpop(best, candidate)
    best.sort(reverse=True)
    chosen = [candidate.info for candidate in best[:limit]]
    return Piece(chosen, best[limit - 1].key if len(best) > limit else None)


class _Candidate:
    """Sorts the other way round: the last in the order is the least."""

    __slots__ = ("_descending", "info", "key")

    def __init__(self, key: Key, info: SessionInfo, descending: bool) -> None:
        self.key = key
        self.info = info
        self._descending = descending

    def __lt__(self, other: _Candidate) -> bool:
        return self.key < other.key if self._descending else self.key > other.key


@asynccontextmanager
async def listed(store: StoreReader, filter: SessionFilter) -> AsyncGenerator[Any]:
    """What the store lists, which is closed when it is left early."""
    infos = store.sessions(prefix=filter.prefix, tags=filter.tags)
    try:
        yield infos
    finally:
        if isinstance(infos, AsyncGenerator):
            await infos.aclose()


async def each_session(
    store: StoreReader,
    filter: SessionFilter,
    sequence: SessionSequence,
    *,
    after: Key | None = None,
) -> AsyncGenerator[SessionInfo]:
    """Every session that matches, in order, read in pieces as they are needed."""
    size = PIECE_SESSIONS if is_ordered(store) else PIECE_SIFTED_SESSIONS
    while True:
        piece = await find_sessions(store, sequence, filter, after=after, limit=size)
        size = min(2 * size, PIECE_SESSIONS_MAX) if is_ordered(store) else size
        for info in piece.infos:
            yield info
        if piece.position is None:
            return
        after = piece.position
