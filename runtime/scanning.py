"""Reading on through sessions' events for a page of a query, with an eye on the work that takes."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import attrs
import trio

from .errors import CursorExpired, UnknownSession
from .events import Event
from .session_search import SessionSequence, each_session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .ports import StoreReader
    from .query_filters import SessionFilter
    from .sessions import SessionInfo

WORK_MAX = 20_000
"""Of one page, in events looked at; the other steps are counted by what they take, about."""
LISTED_WORK = 2
READ_WORK = 20
STRETCH_EVENTS = 1_000
BEGINNING = 0
END = 2**63 - 1
"""Positions in front of and behind every event; the one where a session's reading ends stands for
having read it, and so for going on with the next session."""


def finished(*, descending: bool) -> int:
    return BEGINNING if descending else END


class Work:
    """How much a page may still look at."""

    def __init__(self, work_max: int | None = None) -> None:
        self._left = WORK_MAX if work_max is None else work_max
        self.events = 0

    @property
    def spent(self) -> bool:
        return self._left <= 0

    def add(self, work: int) -> None:
        self._left -= work

    def add_events(self, count: int) -> None:
        self.events += count
        self._left -= READ_WORK + count


@attrs.frozen
class Stretch:
    """Events in the direction of reading. Everything up to ``position`` was looked at; ``whole``
    says that this was the end."""

    events: list[Event]
    position: int
    whole: bool


async def read_stretch(
    store: StoreReader,
    session_id: str,
    *,
    position: int,
    descending: bool,
    work: Work,
    types: frozenset[str] | None = None,
    run_id: str | None = None,
    limit: int | None = None,
) -> Stretch | None:
    """What comes behind ``position``; None if the session is gone. What was trimmed away is left
    out."""
    await trio.lowlevel.checkpoint()
    after = 0 if descending else position
    while True:
        try:
            page = await store.read(
                session_id,
                after=after,
                before=position if descending else None,
                limit=STRETCH_EVENTS if limit is None else limit,
                types=types,
                run_id=run_id,
                backwards=descending,
            )
        except CursorExpired as expired:
            after = expired.oldest_seq - 1
            continue
        except UnknownSession:
            return None
        break
    to = page.scanned_to
    if descending:
        work.add_events(max(min(position, page.head_seq + 1) - to, 0))
        return Stretch(page.events[::-1], to, to <= page.oldest_seq)
    work.add_events(max(to - after, 0))
    return Stretch(page.events, to, to >= page.head_seq)


async def sessions_from(
    store: StoreReader,
    filter: SessionFilter,
    *,
    session_id: str | None,
    descending: bool,
    position: tuple[str, int] | None,
) -> AsyncGenerator[tuple[SessionInfo, int]]:
    """The sessions to read, in the order of their ids, each with the position to read on from.

    With ``session_id`` it is that one. Raises UnknownSession if it does not exist.
    """
    start = END if descending else BEGINNING
    if session_id is not None:
        info = await store.info(session_id)
        if info is None:
            raise UnknownSession(session_id)
        seq = start if position is None else position[1]
        if seq != finished(descending=descending):
            yield info, seq
        return
    after = None
    if position is not None:
        after = (position[0],)
        if position[1] != finished(descending=descending):
            info = await store.info(position[0])
            if info is not None and filter.matches(info):
                yield info, position[1]
    sequence = SessionSequence("id", descending)
    async with aclosing(each_session(store, filter, sequence, after=after)) as infos:
        async for info in infos:
            yield info, start
