"""The server itself: is it alive, does it take work, what can it do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.reversible_json import to_json

from .authorisation import check_operator
from .call import reply
from .encoding import fields
from .operations import JSON, Answer, Operation
from .responses import answers

if TYPE_CHECKING:
    from starlette.responses import Response

    from .call import Call


async def healthz(call: Call) -> Response:
    """That this answers at all is what it says."""
    return reply({"status": "ok", "reason": None})


async def readyz(call: Call) -> Response:
    """Whether new work is taken: not while draining, and not on a store that failed."""
    state = call.state
    reason: str | None = None
    if state.draining or state.supervisor.left.is_set():
        reason = "draining"
    elif state.supervisor.failure is not None:
        reason = "store_failed"
    if reason is None:
        return reply({"status": "ready", "reason": None})
    retry = {"retry-after": str(state.limits.retry_after_seconds)}
    return reply({"status": "not ready", "reason": reason}, 503, retry)


async def get_statistics(call: Call) -> Response:
    """Counts of this process: of the supervisor, and of the gateway."""
    check_operator(call.principal)
    statistics = call.supervisor.statistics()
    told: dict[str, Any] = {
        "sessions_resident": statistics.sessions_resident,
        "sessions_idle": statistics.sessions_idle,
        "runs": fields(statistics.runs),
        "loop_blocked": statistics.loop_blocked,
        "draining": statistics.draining,
        "streams": call.state.streams,
    }
    return reply(to_json(told))


async def get_openapi(call: Call) -> Response:
    return reply(call.state.openapi)


_TAG = "server"

SERVER_OPERATIONS = (
    Operation(
        id="healthz",
        method="GET",
        path="/healthz",
        summary="Whether the process works.",
        tag=_TAG,
        scope=None,
        handler=healthz,
        answers=answers({200: "Health"}),
    ),
    Operation(
        id="readyz",
        method="GET",
        path="/readyz",
        summary="Whether it takes new work: 503 while draining, or when the store failed.",
        tag=_TAG,
        scope=None,
        handler=readyz,
        answers=answers({200: "Health", 503: "Health"}),
    ),
    Operation(
        id="get_openapi",
        method="GET",
        path="/v1/openapi.json",
        summary="This document.",
        tag=_TAG,
        scope=None,
        handler=get_openapi,
        answers={200: Answer(description="OpenAPI 3.1", content={JSON: {"type": "object"}})},
    ),
    Operation(
        id="get_statistics",
        method="GET",
        path="/v1/statistics",
        summary="Counts of this process.",
        tag=_TAG,
        scope="admin",
        handler=get_statistics,
        answers=answers({200: "Statistics"}),
    ),
)
