"""Runs as values: their states, what an agent is asked, how one ended."""

from __future__ import annotations

import enum
from typing import Any, Literal

import attrs

from .errors import RunCancelled, RunError, RunFailed, RunInterrupted, RunTimedOut
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

    ``answers`` maps the names that the run parked under to the values it was answered with.
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


_ERRORS: dict[RunState, type[RunError]] = {
    RunState.FAILED: RunFailed,
    RunState.CANCELLED: RunCancelled,
    RunState.TIMED_OUT: RunTimedOut,
    RunState.INTERRUPTED: RunInterrupted,
}


@attrs.frozen
class RunOutcome:
    """How a run ended. Times are nanoseconds since 1970; ``started_at_ns`` is None when the run
    never reached an agent."""

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
