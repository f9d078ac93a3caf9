"""Named cursors: how far a reader has got, kept by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.adapters.gateways.webhooks.registry import CURSOR_PREFIX

from .call import reply
from .operations import Operation
from .problems import InvalidRequest, shown
from .responses import answers
from .schemas import record, whole

if TYPE_CHECKING:
    from starlette.responses import Response

    from .call import Call


async def get_cursor(call: Call) -> Response:
    name = _name(call)
    return reply({"name": name, "seq": await call.session.cursor(name)})


async def move_cursor(call: Call) -> Response:
    name = _name(call)
    return reply({"name": name, "seq": await call.session.acknowledge(name, call.body["seq"])})


def _name(call: Call) -> str:
    """The name in the path. Raises InvalidRequest for one of the server's own: moved by somebody
    else, its webhook would skip events."""
    name = call.path["name"]
    if name.startswith(CURSOR_PREFIX):
        expected = f"a name that does not begin with {CURSOR_PREFIX!r}, as those of webhooks do"
        raise InvalidRequest([{"field": "name", "value": shown(name), "expected": expected}])
    return name


_TAG = "events"
_PATH = "/v1/sessions/{session_id}/cursors/{name}"

CURSOR_OPERATIONS = (
    Operation(
        id="get_cursor",
        method="GET",
        path=_PATH,
        summary="The seq up to which who reads by this name has acknowledged; null: nothing yet.",
        tag=_TAG,
        scope="read",
        handler=get_cursor,
        answers=answers({200: "Cursor"}),
    ),
    Operation(
        id="move_cursor",
        method="PUT",
        path=_PATH,
        summary="Acknowledge everything up to a seq. It never goes back: the answer says where it "
        "is.",
        tag=_TAG,
        scope="write",
        handler=move_cursor,
        body=record({"seq": whole("At most the head.", minimum=1)}, required=("seq",)),
        answers=answers({200: "Cursor"}),
    ),
)
