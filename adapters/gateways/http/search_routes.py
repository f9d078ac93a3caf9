"""Searches and sums over all sessions that the client may see.

The parameters are named like the arguments of ``Supervisor.search_sessions`` and its like, and a
tenant's prefix is one of the filters that a cursor is bound to: no other tenant can go on with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime import EventPage, RunPage, SessionPage, UsageRow, UsageSummary
from moorage.runtime.errors import AdmissionClosed
from moorage.runtime.identifiers import NAME_BYTES_MAX
from moorage.runtime.runs import RunState
from moorage.runtime.sessions import SessionState

from .authorisation import check_session, visible_prefix
from .call import reply
from .encoding import events_to_json, fields, session_to_json
from .listing import TAGS_WANTED, states_wanted, wanted_tags
from .operations import Operation, Parameter
from .responses import answers
from .schemas import (
    PAGE_ITEMS_MAX,
    SESSION_ID,
    TEXT_BYTES_MAX,
    TIME_NS,
    many,
    text,
    text_without_comma,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from .call import Call
    from .schemas import Schema

NO_USAGE_BY = "session"
"""What usage is summed up by unless something is said."""


async def search_sessions(call: Call) -> Response:
    """A page of the sessions that match."""
    page = await _asked(call, call.supervisor.search_sessions, SessionPage([], None))
    found = [session_to_json(info) for info in page.items]
    return reply({"sessions": found, "next_cursor": page.next_cursor})


async def search_runs(call: Call) -> Response:
    """A page of the runs that match."""
    page = await _asked(call, call.supervisor.search_runs, RunPage([], None))
    return reply({"runs": [fields(run) for run in page.items], "next_cursor": page.next_cursor})


async def search_events(call: Call) -> Response:
    """A page of the events that match."""
    page = await _asked(call, call.supervisor.search_events, EventPage([], None, 0))
    return reply(
        {
            "events": events_to_json(page.items),
            "next_cursor": page.next_cursor,
            "scanned": page.scanned,
        }
    )


async def get_usage(call: Call) -> Response:
    """Sums over the runs that match."""
    nothing = UsageSummary(call.query.get("by", NO_USAGE_BY), [], UsageRow(group=None))
    usage = await _asked(call, call.supervisor.usage_summary, nothing)
    rows = [fields(row) for row in usage.rows]
    return reply({"by": usage.by, "rows": rows, "total": fields(usage.total)})


async def _asked(call: Call, ask: Callable[..., Awaitable[Any]], nothing: Any) -> Any:
    """What the query finds among the sessions that the client may see; ``nothing`` if it may see
    none of those that it wants. It ends when the client goes away: it may take long.

    Raises UnknownSession for another tenant's, TooManyStreams, and AdmissionClosed at the end.
    """
    wanted = dict(call.query)
    if "tags" in wanted:
        wanted["tags"] = wanted_tags(wanted["tags"])
    if "session_id" in wanted:
        check_session(call.principal, wanted["session_id"])
    else:
        prefix = visible_prefix(call.principal, wanted.get("prefix", ""))
        if prefix is None:
            return nothing
        wanted["prefix"] = prefix

    async def find() -> Any:
        return await ask(**wanted)

    found = await call.while_wanted(find)
    if found is None:
        raise AdmissionClosed("the server", reason="closed")
    return found


def _bound(name: str, what: str) -> Parameter:
    side = "from then on" if name.endswith("after_ns") else "before"
    return Parameter(name=name, schema=TIME_NS, description=f"Only {what} {side}.")


def _choice(name: str, choices: tuple[str, ...], description: str) -> Parameter:
    schema: Schema = {"type": "string", "enum": list(choices)}
    return Parameter(name=name, schema=schema, description=description)


def _flag(name: str, description: str) -> Parameter:
    return Parameter(name=name, schema={"type": "boolean"}, description=description)


def _text(where: str) -> Parameter:
    return Parameter(
        name="text",
        schema=text(maximum=TEXT_BYTES_MAX),
        description=f"Only with this in {where}, in upper or lower case.",
    )


_TAG = "search"
_PREFIX = Parameter(
    name="prefix", schema=text(minimum=0), description="Only sessions whose ids begin with this."
)
_SESSION = Parameter(
    name="session_id", schema=SESSION_ID, description="Only this session; without `prefix`."
)
_AGENT = Parameter(name="agent", schema=text(), description="Only runs that named this agent.")
_DESCENDING = _flag("descending", "Whether the last comes first.")
_PAGE = (
    Parameter(
        name="limit",
        schema=whole(minimum=1, maximum=PAGE_ITEMS_MAX),
        description="At most so many; 100 unless given.",
    ),
    Parameter(
        name="cursor",
        schema=text(maximum=4_096),
        description="The `next_cursor` of the page before, whose other parameters are the same.",
    ),
)
_WHERE = (_SESSION, _PREFIX, TAGS_WANTED)
_TIMES_OF_RUNS = (
    _bound("submitted_after_ns", "runs submitted"),
    _bound("submitted_before_ns", "runs submitted"),
    _bound("ended_after_ns", "runs that ended"),
    _bound("ended_before_ns", "runs that ended"),
)

SEARCH_OPERATIONS = (
    Operation(
        id="search_sessions",
        method="GET",
        path="/v1/search/sessions",
        summary="Sessions by tags, states, text and times, in an order; page by page.",
        tag=_TAG,
        scope="read",
        handler=search_sessions,
        parameters=(
            _PREFIX,
            TAGS_WANTED,
            states_wanted(SessionState, "sessions"),
            _text("the id or the summary"),
            _bound("created_after_ns", "sessions made"),
            _bound("created_before_ns", "sessions made"),
            _bound("modified_after_ns", "sessions that last changed"),
            _bound("modified_before_ns", "sessions that last changed"),
            _flag("include_deleted", "Those too that are softly deleted."),
            _choice("order", ("modified", "created", "id"), "By what; `modified` unless given."),
            _DESCENDING,
            *_PAGE,
        ),
        answers=answers({200: "SessionPage"}),
    ),
    Operation(
        id="search_runs",
        method="GET",
        path="/v1/search/runs",
        summary="Runs of a session or of all; what they used, how long they took; page by page.",
        tag=_TAG,
        scope="read",
        handler=search_runs,
        parameters=(
            *_WHERE,
            states_wanted(RunState, "runs"),
            _AGENT,
            Parameter(name="key", schema=text(), description="Only runs submitted with this key."),
            _text("the input"),
            *_TIMES_OF_RUNS,
            _choice("order", ("submitted", "session"), "By what; `submitted` unless given."),
            _DESCENDING,
            *_PAGE,
        ),
        answers=answers({200: "RunPage"}),
    ),
    Operation(
        id="search_events",
        method="GET",
        path="/v1/search/events",
        summary="Events of a session or of all, by session id and seq; page by page.",
        tag=_TAG,
        scope="read",
        handler=search_events,
        parameters=(
            *_WHERE,
            Parameter(
                name="types",
                schema=many(text_without_comma(), minimum=1),
                description="Only events of these types.",
                many=True,
            ),
            Parameter(name="run_id", schema=text(), description="Only events of this run."),
            _text("any text of the data"),
            _bound("after_ns", "events recorded"),
            _bound("before_ns", "events recorded"),
            _DESCENDING,
            *_PAGE,
        ),
        answers=answers({200: "EventsFound"}),
    ),
    Operation(
        id="get_usage",
        method="GET",
        path="/v1/usage",
        summary="Tokens, cost and time of runs, added up by session, agent, model, day or tag.",
        tag=_TAG,
        scope="read",
        handler=get_usage,
        parameters=(
            Parameter(
                name="by",
                schema=text(maximum=len("tag:") + NAME_BYTES_MAX),
                description="`session` (unless given), `agent`, `model`, `day` or `tag:NAME`.",
            ),
            *_WHERE,
            states_wanted(RunState, "runs"),
            _AGENT,
            *_TIMES_OF_RUNS,
        ),
        answers=answers({200: "UsageSummary"}),
    ),
)
