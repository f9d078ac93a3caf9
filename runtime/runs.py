"""Runs as values: their states, what an agent is asked, how one ended."""

from __future__ import annotations

import enum
from typing import Any, Literal

import attrs

from .errors import (
    InvalidArgument,
    RunCancelled,
    RunError,
    RunFailed,
    RunInterrupted,
    RunTimedOut,
)
from .events import Data, Event


class RunState(str, enum.Enum):
    """Where a run is in its life; the last five are final."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"

    # Enum's own is a Python function, and states are looked up in tables for every event
    __hash__ = str.__hash__

    def __str__(self) -> str:
        return self.value


RUN_TERMINAL_STATES = frozenset(
    {
        RunState.COMPLETED,
        RunState.FAILED,
        RunState.CANCELLED,
        RunState.TIMED_OUT,
        RunState.INTERRUPTED,
    }
)

OnInterrupt = Literal["fail", "requeue"]


@attrs.frozen
class RunRequest:
    """What an agent is asked to do. ``attempt`` counts starts from 1.

    ``answers`` maps the names that the run parked or asked under to the values it was answered
    with, in earlier attempts too.
    """

    input: Data
    session_id: str
    run_id: str
    agent: str | None = None
    attempt: int = 1
    key: str | None = None
    answers: dict[str, Data] = attrs.field(factory=dict)
    metadata: dict[str, Any] | None = None
    submitted_at_ns: int = 0


@attrs.frozen
class RunProblem:
    """Why a run did not complete. ``code`` is machine-readable, ``type`` the exception's name."""

    code: str
    message: str
    type: str | None = None
    retryable: bool = False
    details: Data = None


@attrs.frozen
class SteerOutcome:
    """What became of a message to a running run when it was accepted.

    ``steered``: the run's agent is offered it. Otherwise it is a queued run. ``run_id`` is that of
    the run which has it. Should the steered run end before its agent takes the message, a run with
    the id ``steer_id`` is queued for it then.
    """

    steer_id: str
    run_id: str
    steered: bool


Usage = dict[str, Any]
_NUMBERS = (int, float)


def added_usage(before: Usage | None, more: Usage | None) -> Usage:
    """Both together: numbers are added up, of anything else the later value counts."""
    total: Usage = dict(before or {})
    for name, value in (more or {}).items():
        known = total.get(name, 0)
        if type(value) in _NUMBERS and type(known) in _NUMBERS:
            total[name] = known + value
        else:
            total[name] = value
    return total


APPROVAL_PREFIX = "approval:"


def approval_request(run_id: str, tool_call_id: str) -> tuple[str, str]:
    """The id under which a tool call is approved or denied, and the name that its run parks or
    asks under meanwhile."""
    return f"{run_id}:{tool_call_id}", APPROVAL_PREFIX + tool_call_id


def approval_of(request_id: str) -> tuple[str, str]:
    """The run of an approval's request id, and the name it waits under. Raises InvalidArgument."""
    run_id, colon, tool_call_id = str(request_id).partition(":")
    if not (run_id and colon and tool_call_id) or not isinstance(request_id, str):
        raise InvalidArgument(
            f"{request_id!r} is no request id: take the one of the tool_approval_requested event"
        )
    return run_id, APPROVAL_PREFIX + tool_call_id


_ERRORS: dict[RunState, type[RunError]] = {
    RunState.FAILED: RunFailed,
    RunState.CANCELLED: RunCancelled,
    RunState.TIMED_OUT: RunTimedOut,
    RunState.INTERRUPTED: RunInterrupted,
}


@attrs.frozen
class RunOutcome:
    """How a run ended. Times are nanoseconds since 1970; ``started_at_ns`` is None when the run
    never reached an agent.

    ``usage`` adds up the numbers of the run's ``token_usage_updated`` events. Of an attempt that
    ended with its process it has none: those are in the events only.
    """

    run_id: str
    session_id: str
    state: RunState
    output: Data
    error: RunProblem | None
    usage: dict[str, Any] | None
    attempt: int
    submitted_at_ns: int
    started_at_ns: int | None
    ended_at_ns: int

    def unwrap(self) -> Data:
        """The output of a completed run; raises RunFailed, RunCancelled, RunTimedOut or
        RunInterrupted (each with ``.outcome``) for the others."""
        if self.state is RunState.COMPLETED:
            return self.output
        raise _ERRORS[self.state](self)


def outcome_of(event: Event) -> RunOutcome:
    """Read a run's outcome from its terminal event, which carries all of it."""
    data: dict[str, Any] = event.data
    problem = data.get("error")
    return RunOutcome(
        run_id=event.run_id or "",
        session_id=event.session_id,
        state=RunState(event.type.removeprefix("run_")),
        output=data.get("output"),
        error=None
        if problem is None
        else RunProblem(
            code=problem["code"],
            message=problem["message"],
            type=problem.get("type"),
            retryable=problem.get("retryable", False),
            details=problem.get("details"),
        ),
        usage=data.get("usage"),
        attempt=data.get("attempt", 0),
        submitted_at_ns=data.get("submitted_at_ns", 0),
        started_at_ns=data.get("started_at_ns"),
        ended_at_ns=event.time_ns,
    )
