"""Events: pages, long polls, streams, and what the host appends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime import NewEvent
from moorage.runtime.sessions import SessionState
from starlette.responses import Response

from .call import reply
from .durable_streams.reserved import check_event_types
from .encoding import data_of, events_to_json, page_to_json
from .operations import EVENT_STREAM, JSON, NDJSON, Answer, Operation, Parameter
from .problems import InvalidRequest, shown
from .responses import answers
from .schemas import (
    APPEND_EVENTS_MAX,
    PAGE_LIMIT,
    RUN_ID,
    SEQ_MAX,
    WAIT_SECONDS_MAX,
    many,
    record,
    ref,
    seconds,
    text_without_comma,
    whole,
)
from .streaming import FRAMINGS, EventStream

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .call import Call

PAGE_DEFAULT = 100
_OF_PAGES = ("before", "limit", "wait_seconds")


async def get_events(call: Call) -> ASGIApp:
    """A page, or, if the client asks for such a type, a stream."""
    media_type = _accepted(call.headers.get("accept", ""))
    if media_type == JSON:
        return await _page(call)
    query = call.query
    for name in _OF_PAGES:
        if name in query:
            raise InvalidRequest(
                [
                    {
                        "field": name,
                        "value": shown(query[name]),
                        "expected": f"nothing: a stream has none, pages are Accept: {JSON}",
                    }
                ]
            )
    after = query.get("after", 0)
    resumed = _last_event_id(call)
    if resumed is not None:
        after = resumed
        info = await call.session.info()
        if info.state is SessionState.CLOSED and info.head_seq == after:
            # a browser that gets this does not come back
            return Response(status_code=204)
    return EventStream(
        call,
        FRAMINGS[media_type],
        after=after,
        types=_types(call),
        run_id=query.get("run_id"),
    )


def _accepted(accept: str) -> str:
    """The first type in the header that we have; JSON if there is none."""
    for part in accept.split(","):
        media_type = part.partition(";")[0].strip().lower()
        if media_type in FRAMINGS or media_type == JSON:
            return media_type
    return JSON


def _last_event_id(call: Call) -> int | None:
    """Where the client was. Raises InvalidRequest for what is no seq."""
    text = call.headers.get("last-event-id")
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= SEQ_MAX:
        return int(text)
    raise InvalidRequest(
        [{"field": "Last-Event-ID", "value": shown(text), "expected": "a seq, as in id: of events"}]
    )


def _types(call: Call) -> set[str] | None:
    types = call.query.get("types")
    return None if types is None else set(types)


async def _page(call: Call) -> Response:
    query, session = call.query, call.session
    after = query.get("after", 0)
    if after == "head":
        after = (await session.info()).head_seq
    filters: dict[str, Any] = {
        "after": after,
        "before": query.get("before"),
        "limit": query.get("limit", PAGE_DEFAULT),
        "types": _types(call),
        "run_id": query.get("run_id"),
    }
    forward = filters["before"] is None
    scanned_to = after
    if forward and (filters["types"] is not None or filters["run_id"] is not None):
        # before reading: what is recorded meanwhile may be behind what was read
        scanned_to = max(after, (await session.info()).head_seq)
    events = await session.events(**filters)
    wait_seconds = query.get("wait_seconds", 0)
    if not events:
        head_seq = (await session.info()).head_seq  # unknown sessions have no events, either
        if after > head_seq:
            async with session.subscribe(after=after):
                pass  # refused, in the words that a stream is refused in
    if not events and wait_seconds and forward:
        found = await call.while_wanted(
            lambda: session.events(**filters, wait_seconds=wait_seconds)
        )
        if found is not None:
            events, scanned_to = found, max(after, head_seq)
        if not events:
            await session.info()  # it may have been deleted meanwhile
    return reply(page_to_json(events, scanned_to))


async def append_events(call: Call) -> Response:
    new = [
        NewEvent(event["type"], data_of(event["data"]), data_of(event.get("metadata")))
        for event in call.body["events"]
    ]
    check_event_types(event.type for event in new)
    expected_seq = call.body.get("expected_seq")
    appended = await call.session.append_many(new, expected_seq=expected_seq)
    return reply({"events": events_to_json(appended), "next_after": appended[-1].seq}, 201)


_TAG = "events"
_PATH = "/v1/sessions/{session_id}/events"

EVENT_OPERATIONS = (
    Operation(
        id="get_events",
        method="GET",
        path=_PATH,
        summary="A page of events, a long poll, or a stream, by what is accepted.",
        tag=_TAG,
        scope="read",
        handler=get_events,
        parameters=(
            Parameter(
                name="after",
                schema={
                    "type": ["integer", "string"],
                    "minimum": 0,
                    "maximum": SEQ_MAX,
                    "pattern": "^head$",
                    "description": "a seq or head",
                },
                description="Begin behind this seq, which is not beyond the head; `head`: with "
                "what comes from now on.",
            ),
            Parameter(
                name="before",
                schema=whole(minimum=1),
                description="The last `limit` events below this seq.",
            ),
            Parameter(name="limit", schema=PAGE_LIMIT, description="At most so many."),
            Parameter(
                name="types",
                schema=many(text_without_comma(), minimum=1, maximum=100),
                description="Only events of these types.",
                many=True,
            ),
            Parameter(
                name="run_id",
                schema=RUN_ID,
                description="Only this run; a stream ends with it.",
            ),
            Parameter(
                name="wait_seconds",
                schema=seconds(maximum=WAIT_SECONDS_MAX),
                description="If there are none, wait for some for so long.",
            ),
            Parameter(
                name="Last-Event-ID",
                place="header",
                schema={"type": "string"},
                description="Where a stream goes on; beats `after`.",
            ),
        ),
        answers={
            200: Answer(
                description="Events, ascending.",
                content={
                    JSON: ref("EventPage"),
                    EVENT_STREAM: {"type": "string"},
                    NDJSON: {"type": "string"},
                },
            ),
            204: Answer(description="The session is closed and nothing is left behind the id."),
        },
    ),
    Operation(
        id="append_events",
        method="POST",
        path=_PATH,
        summary="Record what happened outside any run: all of these events or none.",
        tag=_TAG,
        scope="write",
        handler=append_events,
        body=record(
            {
                "events": many(ref("NewEvent"), minimum=1, maximum=APPEND_EVENTS_MAX),
                "expected_seq": whole("Append only behind this head, or fail with 409."),
            },
            required=("events",),
        ),
        answers=answers({201: "EventPage"}),
    ),
)
