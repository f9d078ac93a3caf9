"""Queries over all sessions: what ``Supervisor`` and ``Reader`` have in common beside handles.

A search returns a page and, if there may be more, an opaque cursor for the next call, which is
bound to the search, its order and its filters (``InvalidCursor`` for any other). Pages begin
behind a key and never at a count: what lies there while all pages are read, and matches
throughout, is on exactly one of them, whatever else comes, changes or goes. Only
``order="modified"`` can promise less, since its key changes; see ``search_sessions``.

Each page looks at a bounded number of sessions and events and lets others run meanwhile. So it may
come back with less than ``limit``, or empty, and yet have a ``next_cursor``: only None is the end.

Bounds of time are nanoseconds since 1970, ``..._after_ns`` included and ``..._before_ns`` not.
``text`` is looked for in upper and lower case. All of them raise InvalidArgument, StoreFailed and
CorruptLog.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

from .arguments import check_choice
from .errors import InvalidArgument, UnknownSession
from .event_search import EventScan
from .query_arguments import (
    check_flag,
    check_grouping,
    check_page_limit,
    check_where,
    event_filter,
    run_filter,
    session_filter,
)
from .query_cursors import Query, decode_cursor, encode_cursor
from .query_filters import plain_filter
from .query_pages import EventPage, RunPage, SessionPage
from .run_search import RunReading, may_have, newest_runs, runs_by_session
from .scanning import BEGINNING, Work
from .session_search import SessionOrder, SessionSequence, find_sessions, listed
from .usage import UsageFold, UsageSummary

if TYPE_CHECKING:
    from collections.abc import Collection

    from .query_filters import RunFilter, SessionFilter
    from .reading import SessionLog
    from .runs import RunState
    from .sessions import SessionInfo, SessionState

RunOrder = Literal["submitted", "session"]
_SESSION_POSITIONS: dict[str, tuple[type, ...]] = {
    "modified": (int, str),
    "created": (int, str),
    "id": (str,),
}


class Queries:
    """Searches and sums over sessions, read from the log."""

    if TYPE_CHECKING:
        _log: SessionLog

    async def search_sessions(
        self,
        *,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        states: Collection[SessionState | str] | None = None,
        text: str | None = None,
        created_after_ns: int | None = None,
        created_before_ns: int | None = None,
        modified_after_ns: int | None = None,
        modified_before_ns: int | None = None,
        include_deleted: bool = False,
        order: SessionOrder = "modified",
        descending: bool = True,
        limit: int = 100,
        cursor: str | None = None,
    ) -> SessionPage:
        """Sessions, by default the newest change first; ``text`` is found in ids and summaries
        (of encrypted sessions with their keys, else StoreFailed is raised), and what is softly
        deleted only with ``include_deleted``.

        By ``created`` and ``id`` no session that is there throughout is left out or repeated. By
        ``modified`` that holds for those that do not change meanwhile: one that does moves ahead,
        so that descending it is never repeated, but may be left out if it was not on a page yet,
        and ascending it is never left out, but comes again.
        """
        filter = session_filter(
            prefix=prefix,
            tags=tags,
            states=states,
            text=text,
            created_after_ns=created_after_ns,
            created_before_ns=created_before_ns,
            modified_after_ns=modified_after_ns,
            modified_before_ns=modified_before_ns,
            include_deleted=include_deleted,
        )
        check_choice("order", order, tuple(_SESSION_POSITIONS))
        sequence = SessionSequence(order, check_flag("descending", descending))
        check_page_limit(limit)
        query = Query(
            "sessions", _order(order, descending), plain_filter(filter), _SESSION_POSITIONS[order]
        )
        after = _position(query, cursor)
        piece = await find_sessions(self._log.store, sequence, filter, after=after, limit=limit)
        return SessionPage(piece.infos, _next(query, piece.position))

    async def search_runs(
        self,
        *,
        session_id: str | None = None,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        states: Collection[RunState | str] | None = None,
        agent: str | None = None,
        key: str | None = None,
        text: str | None = None,
        submitted_after_ns: int | None = None,
        submitted_before_ns: int | None = None,
        ended_after_ns: int | None = None,
        ended_before_ns: int | None = None,
        order: RunOrder = "submitted",
        descending: bool = True,
        limit: int = 100,
        cursor: str | None = None,
    ) -> RunPage:
        """Runs of one session, or of all with a prefix and tags; ``text`` is found in inputs.

        ``order="submitted"`` is by time of submission; over several sessions it gives the newest
        first, and refuses with InvalidArgument to go back where a page would have to read very
        many sessions. ``order="session"`` is by session id and, in each, by acceptance: it goes
        through any number of them. Both keys never change. What a run's state was is as of the
        page. A bound of ``ended_...`` leaves out what has not ended. Raises UnknownSession for a
        ``session_id`` that does not exist, and StoreFailed for sessions that are encrypted.
        """
        check_where(session_id, prefix)
        sessions = session_filter(prefix=prefix, tags=tags)
        filter = run_filter(
            states=states,
            agent=agent,
            key=key,
            text=text,
            submitted_after_ns=submitted_after_ns,
            submitted_before_ns=submitted_before_ns,
            ended_after_ns=ended_after_ns,
            ended_before_ns=ended_before_ns,
        )
        check_choice("order", order, ("submitted", "session"))
        check_flag("descending", descending)
        check_page_limit(limit)
        if order == "submitted" and session_id is None:
            if not descending:
                raise InvalidArgument(
                    "over several sessions order='submitted' gives the newest runs first: leave "
                    "out descending=False, or use order='session'"
                )
            return await self._newest_runs(sessions, filter, limit, cursor)
        plain = {"session_id": session_id, "run": plain_filter(filter)} | plain_filter(sessions)
        query = Query("runs", _order(order, descending), plain, (str, int))
        items, position = await runs_by_session(
            self._log.store,
            sessions,
            filter,
            session_id=session_id,
            descending=descending,
            position=_position(query, cursor),
            limit=limit,
        )
        return RunPage(items, _next(query, position))

    async def _newest_runs(
        self, sessions: SessionFilter, filter: RunFilter, limit: int, cursor: str | None
    ) -> RunPage:
        plain = {"run": plain_filter(filter)} | plain_filter(sessions)
        query = Query("runs", _order("submitted", True), plain, (int, str, int))
        items, position = await newest_runs(
            self._log.store, sessions, filter, after=_position(query, cursor), limit=limit
        )
        return RunPage(items, _next(query, position))

    async def search_events(
        self,
        *,
        session_id: str | None = None,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        types: Collection[str] | None = None,
        run_id: str | None = None,
        text: str | None = None,
        after_ns: int | None = None,
        before_ns: int | None = None,
        descending: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> EventPage:
        """Events of one session, or of all with a prefix and tags, by session id and seq.

        ``text`` is found in any text of an event's data, not in the names of its fields; what was
        streamed is found in pieces as it was streamed. What was trimmed away is left out. Raises
        UnknownSession for a ``session_id`` that does not exist.
        """
        check_where(session_id, prefix)
        sessions = session_filter(prefix=prefix, tags=tags)
        filter = event_filter(
            types=types, run_id=run_id, text=text, after_ns=after_ns, before_ns=before_ns
        )
        check_flag("descending", descending)
        check_page_limit(limit)
        query = Query(
            "events",
            _order("seq", descending),
            {"session_id": session_id} | plain_filter(sessions) | {"event": plain_filter(filter)},
            (str, int),
        )
        scan = EventScan(
            self._log.store,
            filter,
            descending=descending,
            position=_position(query, cursor),
            limit=limit,
        )
        await scan.run(sessions, session_id)
        return EventPage(scan.items, _next(query, scan.position), scan.scanned)

    async def usage_summary(
        self,
        *,
        by: str = "session",
        session_id: str | None = None,
        prefix: str = "",
        tags: dict[str, str] | None = None,
        states: Collection[RunState | str] | None = None,
        agent: str | None = None,
        submitted_after_ns: int | None = None,
        submitted_before_ns: int | None = None,
        ended_after_ns: int | None = None,
        ended_before_ns: int | None = None,
    ) -> UsageSummary:
        """Runs by outcome, tokens, cost and time, by ``session``, ``agent``, ``model``, ``day`` or
        ``tag:NAME``, of the runs that ``search_runs`` would find and those of softly deleted
        sessions: they have cost something.

        Reads all of them, in as much memory as there are rows (at most 10,000, else
        InvalidArgument), and may be cancelled. Only what was recorded is added up, see UsageRow.
        What an unfinished run uses counts when it has ended or parked. Raises as ``search_runs``.
        """
        fold = UsageFold(check_grouping(by))
        check_where(session_id, prefix)
        filter = run_filter(
            states=states,
            agent=agent,
            submitted_after_ns=submitted_after_ns,
            submitted_before_ns=submitted_before_ns,
            ended_after_ns=ended_after_ns,
            ended_before_ns=ended_before_ns,
        )
        wanted = session_filter(prefix=prefix, tags=tags, include_deleted=True)
        if session_id is not None:
            info = await self._log.store.info(session_id)
            if info is None:
                raise UnknownSession(session_id)
            await self._add_usage(fold, info, filter)
            return fold.summary()
        async with listed(self._log.store, wanted) as infos:
            async for info in infos:
                if wanted.matches(info):
                    await self._add_usage(fold, info, filter)
        return fold.summary()

    async def _add_usage(self, fold: UsageFold, info: SessionInfo, filter: RunFilter) -> None:
        if not may_have(info, filter):
            return
        reading = RunReading(self._log.store, info, filter, descending=False, work=Work())
        async with aclosing(reading.runs(BEGINNING)) as runs:
            async for _, run in runs:
                if run is not None:
                    fold.add(run, info.tags)


def _order(order: str, descending: bool) -> str:
    return f"{order} {'descending' if descending else 'ascending'}"


def _position(query: Query, cursor: str | None) -> Any:
    return None if cursor is None else decode_cursor(query, cursor)


def _next(query: Query, position: tuple[Any, ...] | None) -> str | None:
    return None if position is None else encode_cursor(query, position)
