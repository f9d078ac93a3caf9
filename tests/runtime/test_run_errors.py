from __future__ import annotations

import pytest
from moorage.runtime.run_errors import (
    RunCancelled,
    RunError,
    RunFailed,
    RunInterrupted,
    RunTimedOut,
)
from moorage.runtime.runs import RunOutcome, RunProblem, RunState

OUTCOME = RunOutcome("run_1", "s", RunState.FAILED, None, None, None, 1, 1, 2, 3)


@pytest.mark.parametrize("kind", [RunFailed, RunCancelled, RunTimedOut, RunInterrupted])
def test_what_unwrap_raises_has_the_whole_outcome(kind: type[RunError]) -> None:
    error = kind(OUTCOME)

    assert isinstance(error, RunError)
    assert error.outcome is OUTCOME
    assert str(error) == "run run_1 ended failed"


def test_it_says_what_went_wrong() -> None:
    outcome = RunOutcome(
        "run_1", "s", RunState.FAILED, None, RunProblem("code", "no model"), None, 1, 1, 2, 3
    )

    assert str(RunFailed(outcome)) == "run run_1 ended failed: no model"
