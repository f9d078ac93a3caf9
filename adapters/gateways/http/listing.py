"""Listing sessions: the one place that knows how a page of them is found, and what the parameters
are called that listings and searches narrow sessions down by."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from moorage.runtime import SessionPage

from .operations import Parameter
from .schemas import TAG, TAGS_MAX, many

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moorage.runtime import Supervisor
    from moorage.runtime.runs import RunState
    from moorage.runtime.sessions import SessionState

TAGS_WANTED = Parameter(
    name="tags",
    schema=many(TAG, maximum=TAGS_MAX),
    description="NAME=VALUE, repeated: only sessions with all of these. A % or = in the NAME is "
    "percent-encoded once more.",
    many=True,
    commas=True,
)


def states_wanted(kind: type[SessionState | RunState], what: str) -> Parameter:
    """The parameter that names the states of ``what`` is looked for."""
    schema = many({"type": "string", "enum": [state.value for state in kind]}, minimum=1)
    return Parameter(
        name="states", schema=schema, description=f"Only {what} in one of these.", many=True
    )


def wanted_tags(texts: Iterable[str]) -> dict[str, str]:
    """What the values of ``TAGS_WANTED`` say."""
    pairs = (text.partition("=") for text in texts)
    return {unquote(name): value for name, _, value in pairs}


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
