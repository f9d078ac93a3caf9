"""Deleting sessions, at once or so that they can be restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .call import reply
from .operations import Operation, Parameter
from .responses import answers
from .schemas import text, whole

if TYPE_CHECKING:
    from starlette.responses import Response

    from .call import Call

REASON_BYTES_MAX = 4_096


async def delete(call: Call) -> Response:
    """Delete it; what is deleted softly already, and is to be again, is left as it is."""
    changed = await call.supervisor.delete_session(
        call.session_id,
        soft=call.query.get("soft", False),
        reason=call.query.get("reason"),
        expected_seq=call.query.get("expected_seq"),
    )
    if not changed:
        await call.session.info()  # raises UnknownSession if there is nothing
    return reply({"changed": changed})


async def restore(call: Call) -> Response:
    return reply({"changed": await call.supervisor.restore_session(call.session_id)})


_TAG = "sessions"
_PATH = "/v1/sessions/{session_id}"

REMOVAL_OPERATIONS = (
    Operation(
        id="delete_session",
        method="DELETE",
        path=_PATH,
        summary="Cancel what runs and forget all of it, or hide it (`soft`); an unknown one is "
        "404.",
        tag=_TAG,
        scope="admin",
        handler=delete,
        parameters=(
            Parameter(
                name="soft",
                schema={"type": "boolean"},
                description="Forget nothing: it is closed and hidden until it is restored.",
            ),
            Parameter(
                name="reason",
                schema=text(minimum=0, maximum=REASON_BYTES_MAX),
                description="Recorded with a soft deletion.",
            ),
            Parameter(
                name="expected_seq",
                schema=whole(),
                description="409 `session_changed`, and nothing done, if there is an event behind "
                "this.",
            ),
        ),
        answers=answers({200: "Changed"}),
    ),
    Operation(
        id="restore_session",
        method="POST",
        path=f"{_PATH}/restore",
        summary="Bring back a session that was deleted softly.",
        tag=_TAG,
        scope="admin",
        handler=restore,
        answers=answers({200: "Changed"}),
    ),
)
