"""What is refused of runs, and what ``RunOutcome.unwrap()`` raises; errors.py has the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .moorage_error import MoorageError

if TYPE_CHECKING:
    from .runs import RunOutcome


class QueueFull(MoorageError):
    """The session's queue is at ``limit``; ``unit`` says of what (runs or bytes)."""

    code = "queue_full"
    retryable = True

    def __init__(self, session_id: str, *, queued: int, limit: int, unit: str = "runs") -> None:
        name = "runs_queued_max" if unit == "runs" else "queue_bytes_max"
        super().__init__(
            f"session {session_id!r} has {queued} {unit} queued and {name} is {limit}: "
            "submit again when runs have finished, or raise the limit"
        )
        self.session_id = session_id
        self.queued = queued
        self.limit = limit
        self.unit = unit


class KeyConflict(MoorageError):
    """The key was used before, in this session, with another input."""

    code = "key_conflict"

    def __init__(self, session_id: str, *, key: str, run_id: str) -> None:
        super().__init__(
            f"key {key!r} in session {session_id!r} belongs to run {run_id} with another input: "
            "use a new key for new work"
        )
        self.session_id = session_id
        self.key = key
        self.run_id = run_id


class UnknownRun(MoorageError):
    """The session has none of that id, or it was trimmed."""

    code = "unknown_run"

    def __init__(self, session_id: str, run_id: str) -> None:
        super().__init__(f"session {session_id!r} has no run {run_id!r}, or it was trimmed")
        self.session_id = session_id
        self.run_id = run_id


class RunEnded(MoorageError):
    """The context's run has ended; nothing was appended."""

    code = "run_ended"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} has ended: events after its end are not recorded")
        self.run_id = run_id


class RunError(MoorageError):
    """What ``RunOutcome.unwrap()`` raises; ``outcome`` has the whole story."""

    code = "run_error"

    def __init__(self, outcome: RunOutcome) -> None:
        detail = f": {outcome.error.message}" if outcome.error else ""
        super().__init__(f"run {outcome.run_id} ended {outcome.state.value}{detail}")
        self.outcome = outcome


class RunFailed(RunError):
    """The agent failed, or there was none."""

    code = "run_failed"


class RunCancelled(RunError):
    """Somebody asked for its end."""

    code = "run_cancelled"


class RunTimedOut(RunError):
    """A limit of time was over."""

    code = "run_timed_out"


class RunInterrupted(RunError):
    """Its process ended before it did."""

    code = "run_interrupted"
