"""Queries over all sessions of a server that the token may see: those of a supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from moorage.runtime.errors import InvalidArgument

from . import decoding
from .handles import WORK_SECONDS_MAX
from .subscription import check_types

if TYPE_CHECKING:
    from collections.abc import Collection

    from moorage.runtime import EventPage, RunPage, SessionPage, UsageSummary
    from moorage.runtime.runs import RunState
    from moorage.runtime.sessions import SessionState

    from .transport import Transport

SessionOrder = Literal["modified", "created", "id"]
RunOrder = Literal["submitted", "session"]


class Queries:
    """Searches and sums over sessions. All of them raise InvalidArgument, InvalidCursor,
    StoreFailed, CorruptLog, RequestRefused and ServerUnreachable."""

    _transport: Transport

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
        """Sessions, by default the newest change first; ``text`` is found in ids and summaries,
        and what is softly deleted only with ``include_deleted``.

        By ``created`` and ``id`` no session that is there throughout is left out or repeated. By
        ``modified`` that holds for those that do not change meanwhile: one that does moves ahead,
        so that descending it is never repeated, but may be left out if it was not on a page yet,
        and ascending it is never left out, but comes again.
        """
        document = await self._find(
            "search/sessions",
            prefix=prefix,
            tags=_tags(tags),
            states=_words("states", states),
            text=text,
            created_after_ns=created_after_ns,
            created_before_ns=created_before_ns,
            modified_after_ns=modified_after_ns,
            modified_before_ns=modified_before_ns,
            include_deleted=include_deleted,
            order=order,
            descending=descending,
            limit=limit,
            cursor=cursor,
        )
        return decoding.session_page(document)

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
        through any number of them. A bound of ``ended_...`` leaves out what has not ended. Raises
        UnknownSession for a ``session_id`` that does not exist.
        """
        document = await self._find(
            "search/runs",
            session_id=session_id,
            prefix=prefix,
            tags=_tags(tags),
            states=_words("states", states),
            agent=agent,
            key=key,
            text=text,
            submitted_after_ns=submitted_after_ns,
            submitted_before_ns=submitted_before_ns,
            ended_after_ns=ended_after_ns,
            ended_before_ns=ended_before_ns,
            order=order,
            descending=descending,
            limit=limit,
            cursor=cursor,
        )
        return decoding.run_page(document)

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
        document = await self._find(
            "search/events",
            session_id=session_id,
            prefix=prefix,
            tags=_tags(tags),
            types=check_types(types),
            run_id=run_id,
            text=text,
            after_ns=after_ns,
            before_ns=before_ns,
            descending=descending,
            limit=limit,
            cursor=cursor,
        )
        return decoding.event_page(document)

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

        The server reads all of them, and stops when this is cancelled. Only what was recorded is
        added up, see UsageRow. Raises as ``search_runs``.
        """
        document = await self._find(
            "usage",
            by=by,
            session_id=session_id,
            prefix=prefix,
            tags=_tags(tags),
            states=_words("states", states),
            agent=agent,
            submitted_after_ns=submitted_after_ns,
            submitted_before_ns=submitted_before_ns,
            ended_after_ns=ended_after_ns,
            ended_before_ns=ended_before_ns,
        )
        return decoding.usage_summary(document)

    async def _find(self, path: str, **filters: Any) -> Any:
        return await self._transport.call(
            "GET",
            f"/v1/{path}",
            query=query_of(filters),
            repeatable=True,
            silence_seconds=WORK_SECONDS_MAX,
        )


def query_of(filters: dict[str, Any]) -> list[tuple[str, str]]:
    """The query of a URL: what is None or "everything" is left out, lists are repeated."""
    query: list[tuple[str, str]] = []
    for name, value in filters.items():
        if value is None or (name == "prefix" and value == ""):
            continue
        for item in value if type(value) is list else [value]:
            told = str(item).lower() if type(item) is bool else str(item)
            query.append((name, told))
    return query


def _words(name: str, values: Any) -> list[str] | None:
    """None means any, and so must no empty set."""
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, (set, frozenset, list, tuple)):
        raise InvalidArgument(f"{name} must be None or a set of states, not {values!r:.200}")
    if not values:
        raise InvalidArgument(f"{name} must not be empty: None means any")
    return sorted(str(getattr(value, "value", value)) for value in values)


def _tags(tags: Any) -> list[str] | None:
    """``NAME=VALUE``; what would end the name, or begin an escape, is percent-encoded in it."""
    if tags is None:
        return None
    if type(tags) is not dict:
        raise InvalidArgument(f"tags must be None or a dict of str to str, not {tags!r:.200}")
    for name, value in tags.items():
        if type(name) is not str or type(value) is not str:
            raise InvalidArgument(f"tag {name!r:.200} must be a str, as {value!r:.200} should be")
    escapes = {"%": "%25", "=": "%3D"}
    return [f"{name.translate(str.maketrans(escapes))}={value}" for name, value in tags.items()]
