"""Sessions: open, list, read, configure, pause, close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.sessions import SessionState

from .authorisation import visible_prefix
from .call import reply
from .durable_streams.reserved import check_settings
from .encoding import data_of, fields, session_to_json
from .listing import TAGS_WANTED, list_sessions, states_wanted, wanted_tags
from .operations import Operation, Parameter
from .responses import answers
from .schemas import (
    METADATA,
    NEW_EXPIRY,
    NODE_TAGS,
    PAGE_ITEMS_MAX,
    SESSION_ID,
    SLOTS,
    SUMMARY,
    TAGS,
    WAIT_SECONDS_MAX,
    nullable,
    record,
    seconds,
    text,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime import Session
    from starlette.responses import Response

    from .call import Call

LISTED_DEFAULT = 50


async def open_session(call: Call) -> Response:
    """Open or create a session."""
    body = call.body
    session_id = call.new_session_id(body.get("id"))
    mode = body.get("mode", "open_or_create")
    if mode != "resume":
        call.state.check_admission()
    tags, metadata = body.get("tags"), data_of(body.get("metadata"))
    await check_settings(call.supervisor.handle(session_id), tags=tags, metadata=metadata)
    session = await call.supervisor.session(
        session_id,
        mode=mode,
        slots=body.get("slots"),
        tags=tags,
        metadata=metadata,
        summary=body.get("summary"),
        node_tags=body.get("node_tags"),
        expire_after_seconds=body.get("expire_after_seconds"),
        include_deleted=body.get("include_deleted", False),
    )
    created = mode == "create" or "id" not in body
    return await session_reply(session, 201 if created else 200)


async def session_reply(session: Session, status: int = 200) -> Response:
    """A session as it is now."""
    return reply(session_to_json(await session.info()), status)


async def get_sessions(call: Call) -> Response:
    """A page of the sessions that the client may see and wants to."""
    prefix = visible_prefix(call.principal, call.query.get("prefix", ""))
    page = await list_sessions(
        call.supervisor,
        prefix=prefix,
        tags=wanted_tags(call.query.get("tags", ())),
        states=call.query.get("states"),
        limit=call.query.get("limit", LISTED_DEFAULT),
        cursor=call.query.get("cursor"),
        include_deleted=call.query.get("include_deleted", False),
    )
    found = [session_to_json(info) for info in page.items]
    return reply({"sessions": found, "next_cursor": page.next_cursor})


async def get_session(call: Call) -> Response:
    return await session_reply(call.session)


async def get_status(call: Call) -> Response:
    return reply(fields(await call.session.status()))


async def configure(call: Call) -> Response:
    """Change what is given."""
    body, session = call.body, call.session
    settings: dict[str, Any] = {
        "tags": body.get("tags"),
        "metadata": data_of(body.get("metadata")),
        "metadata_update": data_of(body.get("metadata_update")),
    }
    await check_settings(session, **settings)
    await session.configure(
        slots=body.get("slots"),
        **settings,
        summary=body.get("summary"),
        node_tags=body.get("node_tags"),
        expire_after_seconds=body.get("expire_after_seconds"),
    )
    return await session_reply(session)


def changing(change: Callable[[Session], Awaitable[bool]]) -> Callable[[Call], Awaitable[Response]]:
    """A handler of what takes nothing, and tells whether that changed anything."""

    async def handler(call: Call) -> Response:
        return reply({"changed": await change(call.session)})

    return handler


async def close(call: Call) -> Response:
    body = call.body
    changed = await call.session.close(
        outcome=body.get("outcome", "completed"),
        reason=body.get("reason"),
        force=body.get("force", False),
    )
    return reply({"changed": changed})


async def drain(call: Call) -> Response:
    report = await call.session.drain(
        timeout_seconds=call.body.get("timeout_seconds"), queued=call.body.get("queued", "keep")
    )
    return reply(fields(report))


async def unquarantine(call: Call) -> Response:
    await call.session.info()
    return reply({"changed": await call.supervisor.unquarantine(call.session_id)})


async def trim(call: Call) -> Response:
    return reply({"oldest_seq": await call.session.trim(before=call.body["before"])})


SESSION_FIELDS: dict[str, Any] = {
    "slots": SLOTS,
    "tags": TAGS,
    "metadata": METADATA,
    "summary": SUMMARY,
    "node_tags": NODE_TAGS,
    "expire_after_seconds": NEW_EXPIRY,
}
_TAG = "sessions"
_PATH = "/v1/sessions/{session_id}"
_CHANGED = answers({200: "Changed"})

SESSION_OPERATIONS = (
    Operation(
        id="open_session",
        method="POST",
        path="/v1/sessions",
        summary="Open or create a session; without an id it gets a new, time-sortable one.",
        tag=_TAG,
        scope="write",
        handler=open_session,
        body=record(
            {
                "id": SESSION_ID,
                "mode": {"type": "string", "enum": ["open_or_create", "create", "resume"]},
                **SESSION_FIELDS,
                "include_deleted": {
                    "type": "boolean",
                    "description": "One that was softly deleted, too: for reading.",
                },
            }
        ),
        body_required=False,
        answers=answers({200: "Session", 201: "Session"}),
    ),
    Operation(
        id="list_sessions",
        method="GET",
        path="/v1/sessions",
        summary="Sessions, the newest change first.",
        tag=_TAG,
        scope="read",
        handler=get_sessions,
        parameters=(
            Parameter(
                name="prefix", schema=text(minimum=0), description="Only ids that begin with this."
            ),
            TAGS_WANTED,
            states_wanted(SessionState, "sessions"),
            Parameter(
                name="include_deleted",
                schema={"type": "boolean"},
                description="Those too that are softly deleted.",
            ),
            Parameter(
                name="limit",
                schema=whole(minimum=1, maximum=PAGE_ITEMS_MAX),
                description="At most so many.",
            ),
            Parameter(
                name="cursor",
                schema=text(maximum=4_096),
                description="The `next_cursor` of the page before.",
            ),
        ),
        answers=answers({200: "SessionPage"}),
    ),
    Operation(
        id="get_session",
        method="GET",
        path=_PATH,
        summary="The facts that listings show.",
        tag=_TAG,
        scope="read",
        handler=get_session,
        answers=answers({200: "Session"}),
    ),
    Operation(
        id="get_session_status",
        method="GET",
        path=f"{_PATH}/status",
        summary="State, slots, and which runs are running, queued or waiting.",
        tag=_TAG,
        scope="read",
        handler=get_status,
        answers=answers({200: "SessionStatus"}),
    ),
    Operation(
        id="configure_session",
        method="PATCH",
        path=_PATH,
        summary="Change slots, tags, metadata, summary, node tags or expiry; what is omitted "
        "stays.",
        tag=_TAG,
        scope="write",
        handler=configure,
        body=record(
            SESSION_FIELDS
            | {
                "metadata_update": {
                    "type": "object",
                    "description": "Changes single entries of the metadata, removes null ones.",
                }
            }
        ),
        answers=answers({200: "Session"}),
    ),
    Operation(
        id="pause_session",
        method="POST",
        path=f"{_PATH}/pause",
        summary="Go on admitting runs, start none.",
        tag=_TAG,
        scope="write",
        handler=changing(lambda session: session.pause()),
        answers=_CHANGED,
    ),
    Operation(
        id="resume_session",
        method="POST",
        path=f"{_PATH}/resume",
        summary="Start runs again; after a drain, admit again.",
        tag=_TAG,
        scope="write",
        handler=changing(lambda session: session.resume()),
        answers=_CHANGED,
    ),
    Operation(
        id="close_session",
        method="POST",
        path=f"{_PATH}/close",
        summary="Close it; with `force` whatever is left is cancelled.",
        tag=_TAG,
        scope="write",
        handler=close,
        body=record(
            {
                "outcome": {"type": "string", "enum": ["completed", "failed", "cancelled"]},
                "reason": nullable(text(minimum=0, maximum=4_096)),
                "force": {"type": "boolean"},
            }
        ),
        body_required=False,
        answers=_CHANGED,
    ),
    Operation(
        id="reopen_session",
        method="POST",
        path=f"{_PATH}/reopen",
        summary="Open a closed session again.",
        tag=_TAG,
        scope="write",
        handler=changing(lambda session: session.reopen()),
        answers=_CHANGED,
    ),
    Operation(
        id="drain_session",
        method="POST",
        path=f"{_PATH}/drain",
        summary="Admit nothing more, let running work end until the deadline, interrupt the rest.",
        tag=_TAG,
        scope="admin",
        handler=drain,
        body=record(
            {
                "timeout_seconds": seconds(maximum=WAIT_SECONDS_MAX),
                "queued": {"type": "string", "enum": ["keep", "finish"]},
            }
        ),
        body_required=False,
        answers=answers({200: "DrainReport"}),
    ),
    Operation(
        id="unquarantine_session",
        method="POST",
        path=f"{_PATH}/unquarantine",
        summary="Try a quarantined session again.",
        tag=_TAG,
        scope="admin",
        handler=unquarantine,
        answers=_CHANGED,
    ),
    Operation(
        id="trim_session",
        method="POST",
        path=f"{_PATH}/trim",
        summary="Forget events below a seq.",
        tag=_TAG,
        scope="admin",
        handler=trim,
        body=record({"before": whole(minimum=1)}, required=("before",)),
        answers=answers({200: "Trimmed"}),
    ),
)
