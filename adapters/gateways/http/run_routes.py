"""Runs: submit, wait, cancel, steer, answer, approve."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import trio
from moorage.runtime.errors import UnknownRun
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.identifiers import NAME_BYTES_MAX, check_name
from moorage.runtime.runs import APPROVAL_PREFIX, approval_of

from .authorisation import check_scope
from .call import reply
from .encoding import data_of, events_to_json, fields, run_to_json
from .operations import Operation, Parameter
from .responses import answers
from .schemas import ANY, RUN_OPTIONS, WAIT_SECONDS_MAX, record, seconds, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moorage.runtime import Event, Session
    from starlette.responses import Response

    from .call import Call

APPROVALS_MAX = 1_000
"""Open approvals that are listed of one run."""
_WAIT = re.compile(r"(?:^|[,;\s])wait=\"?(\d{1,9})\"?(?=$|[,;\s])", re.IGNORECASE)


async def submit(call: Call) -> Response:
    """Submit a run; wait for its end if the client prefers so."""
    body, session = call.body, call.session
    given = {name: body[name] for name in RUN_OPTIONS if name in body}
    if "metadata" in given:
        given["metadata"] = data_of(given["metadata"])
    run = await call.submit(data_of(body["input"]), key=_key(call), **given)
    wait_seconds = _preferred_wait(call)
    location = {"location": f"/v1/sessions/{_quoted(session.id)}/runs/{_quoted(run.id)}"}
    if wait_seconds is None:
        return await _run_reply(session, run.id, location, status=202)
    applied = {"preference-applied": f"wait={wait_seconds:g}"}
    return await _wait(call, run.id, wait_seconds, location | applied, status=202)


def _key(call: Call) -> str | None:
    """The idempotency key, which may stand in quotes, as the header's draft standard has it."""
    key = call.headers.get("idempotency-key")
    if key is None:
        return None
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    return check_name("Idempotency-Key", key)


def _preferred_wait(call: Call) -> float | None:
    """Seconds to wait: the query's, or what is left of the header's after our limit."""
    if "wait_seconds" in call.query:
        wait_seconds: float = call.query["wait_seconds"]
        return wait_seconds
    found = _WAIT.search(call.headers.get("prefer", ""))
    return None if found is None else min(float(found[1]), WAIT_SECONDS_MAX)


async def _wait(
    call: Call, run_id: str, wait_seconds: float, headers: Mapping[str, str], *, status: int
) -> Response:
    """The run when it has ended, or, with ``status``, as it is after that long."""
    session = call.session

    async def wait() -> Any:
        try:
            return await session.wait(run_id, timeout_seconds=wait_seconds)
        except trio.TooSlowError:
            return None

    outcome = await call.while_wanted(wait)
    if outcome is None:
        return await _run_reply(session, run_id, headers, status=status)
    return reply(run_to_json(session.id, run_id, outcome.state, outcome), 200, headers)


async def _run_reply(
    session: Session, run_id: str, headers: Mapping[str, str], *, status: int
) -> Response:
    """The run as it is now: 200 if it has ended, else ``status``."""
    try:
        state = await session.run_state(run_id)
    except UnknownRun:
        await session.info()  # raises UnknownSession if that is what is wrong
        raise
    if f"run_{state.value}" in RUN_TERMINAL_TYPES:
        outcome = await session.wait(run_id)
        return reply(run_to_json(session.id, run_id, state, outcome), 200, headers)
    return reply(run_to_json(session.id, run_id, state, None), status, headers)


async def get_run(call: Call) -> Response:
    run_id = check_name("run id", call.path["run_id"])
    wait_seconds = _preferred_wait(call)
    if not wait_seconds:
        return await _run_reply(call.session, run_id, {}, status=200)
    return await _wait(call, run_id, wait_seconds, {}, status=200)


async def cancel(call: Call) -> Response:
    cancelled = await call.session.cancel(call.path["run_id"], reason=call.body.get("reason"))
    return reply({"cancelled": cancelled})


async def steer(call: Call) -> Response:
    message = data_of(call.body["message"])
    steered = await call.session.steer(call.path["run_id"], message, key=_key(call))
    return reply(fields(steered), 202)


async def answer(call: Call) -> Response:
    """Answer what a run asks. A tool call waits under such a name, too: that is an approval."""
    name = call.path["name"]
    if name.startswith(APPROVAL_PREFIX):
        check_scope(call.principal, "approve")
    answered = await call.session.answer(call.path["run_id"], name, data_of(call.body["value"]))
    return reply({"answered": answered})


async def get_approvals(call: Call) -> Response:
    """The requests of unfinished runs that have no answer yet."""
    session = call.session
    status = await session.status()
    pending: list[Event] = []
    for run_id in (*status.running, *status.waiting):
        events = await session.events(run_id=run_id, types=_APPROVALS, limit=APPROVALS_MAX)
        requested = {e.data["request_id"]: e for e in events if e.type == _REQUESTED}
        answered = {event.data["name"] for event in events if event.type in _ANSWERS}
        pending += [
            event
            for request_id, event in requested.items()
            if approval_of(request_id)[1] not in answered
        ]
    return reply({"approvals": events_to_json(pending)})


_REQUESTED = "tool_approval_requested"
_ANSWERS = {"run_answered", "run_resumed"}
_APPROVALS = {_REQUESTED, *_ANSWERS}


async def approve(call: Call) -> Response:
    body = call.body
    answered = await call.session.approve(
        call.path["request_id"],
        tool_input=data_of(body.get("tool_input")),
        reason=body.get("reason"),
        by=_by(call),
    )
    return reply({"answered": answered})


async def deny(call: Call) -> Response:
    answered = await call.session.deny(
        call.path["request_id"], reason=call.body.get("reason"), by=_by(call)
    )
    return reply({"answered": answered})


def _by(call: Call) -> str | None:
    """Who decides: whose token it is, or, where there are none, who it says it is."""
    by: str | None = call.principal.name or call.body.get("by")
    return by


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _idempotency_key(description: str) -> Parameter:
    return Parameter(
        name="Idempotency-Key",
        place="header",
        schema=text(maximum=NAME_BYTES_MAX + 2),
        description=description,
    )


_TAG = "runs"
_PATH = "/v1/sessions/{session_id}/runs"
_REASON = text(minimum=0, maximum=4_096)
_BY = text("Who decides; a token's name beats it.")
_WAIT_PARAMETER = Parameter(
    name="wait_seconds",
    schema=seconds(maximum=WAIT_SECONDS_MAX),
    description="Answer when the run has ended, or after this long.",
)

RUN_OPERATIONS = (
    Operation(
        id="submit_run",
        method="POST",
        path=_PATH,
        summary="Submit a run; it is durable when this answers. 200: it has ended already.",
        tag=_TAG,
        scope="write",
        handler=submit,
        parameters=(
            _WAIT_PARAMETER,
            _idempotency_key("The same key in a session returns the same run."),
            Parameter(
                name="Prefer",
                place="header",
                schema={"type": "string"},
                description="`wait=30`: answer when the run has ended, or after 30 seconds.",
            ),
        ),
        body=record({"input": ANY, **RUN_OPTIONS}, required=("input",)),
        answers=answers({200: "Run", 202: "Run"}),
    ),
    Operation(
        id="get_run",
        method="GET",
        path=f"{_PATH}/{{run_id}}",
        summary="A run's state, and its outcome once it has ended.",
        tag=_TAG,
        scope="read",
        handler=get_run,
        parameters=(_WAIT_PARAMETER,),
        answers=answers({200: "Run"}),
    ),
    Operation(
        id="cancel_run",
        method="POST",
        path=f"{_PATH}/{{run_id}}/cancel",
        summary="End a run: a queued one never reaches the agent, a running one is cancelled.",
        tag=_TAG,
        scope="write",
        handler=cancel,
        body=record({"reason": _REASON}),
        body_required=False,
        answers=answers({200: "Cancelled"}),
    ),
    Operation(
        id="steer_run",
        method="POST",
        path=f"{_PATH}/{{run_id}}/steer",
        summary="Give a running run a message on its way.",
        tag=_TAG,
        scope="write",
        handler=steer,
        parameters=(
            _idempotency_key(
                "With the same key the run gets it once; another message is 422 `key_conflict`."
            ),
        ),
        body=record({"message": ANY}, required=("message",)),
        answers=answers({202: "SteerOutcome"}),
    ),
    Operation(
        id="answer_run",
        method="POST",
        path=f"{_PATH}/{{run_id}}/answers/{{name}}",
        summary="Answer a run that waits under a name; a tool call's needs the scope `approve`.",
        tag=_TAG,
        scope="write",
        handler=answer,
        body=record({"value": ANY}, required=("value",)),
        answers=answers({200: "Answered"}),
    ),
    Operation(
        id="list_approvals",
        method="GET",
        path="/v1/sessions/{session_id}/approvals",
        summary="Tool calls that wait for somebody to allow them.",
        tag="approvals",
        scope="read",
        handler=get_approvals,
        answers=answers({200: "ApprovalList"}),
    ),
    Operation(
        id="approve",
        method="POST",
        path="/v1/sessions/{session_id}/approvals/{request_id}/approve",
        summary="Let a tool call go on, with another input if one is given.",
        tag="approvals",
        scope="approve",
        handler=approve,
        body=record({"tool_input": {"type": "object"}, "reason": _REASON, "by": _BY}),
        body_required=False,
        answers=answers({200: "Answered"}),
    ),
    Operation(
        id="deny",
        method="POST",
        path="/v1/sessions/{session_id}/approvals/{request_id}/deny",
        summary="Refuse a tool call; the agent is told the reason.",
        tag="approvals",
        scope="approve",
        handler=deny,
        body=record({"reason": _REASON, "by": _BY}),
        body_required=False,
        answers=answers({200: "Answered"}),
    ),
)
