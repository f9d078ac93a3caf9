"""What ``RunOutcome.unwrap()`` raises; errors.py has the whole tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .moorage_error import MoorageError

if TYPE_CHECKING:
    from .runs import RunOutcome


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
