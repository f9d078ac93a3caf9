"""Listing sessions: the one place that knows how a page of them is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime import SessionPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime import Supervisor


async def list_sessions(
    supervisor: Supervisor,
    *,
    prefix: str | None,
    tags: dict[str, str],
    states: Sequence[str] | None,
    limit: int,
    cursor: str | None,
    include_deleted: bool = False,
) -> SessionPage:
    """The first ``limit`` sessions that match behind ``cursor``, the newest change first; no prefix
    at all matches none. A page may have fewer, even none, and yet a ``next_cursor``.

    Raises InvalidCursor for a cursor of another kind or of other filters.
    """
    if prefix is None:
        return SessionPage([], None)
    return await supervisor.search_sessions(
        prefix=prefix,
        tags=tags or None,
        states=states,
        limit=limit,
        cursor=cursor,
        include_deleted=include_deleted,
    )
