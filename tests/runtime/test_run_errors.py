from __future__ import annotations

import pytest
from moorage.runtime import errors
from moorage.runtime.run_errors import (
    KeyConflict,
    QueueFull,
    RunCancelled,
    RunEnded,
    RunError,
    RunFailed,
    RunInterrupted,
    RunTimedOut,
    UnknownRun,
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


@pytest.mark.parametrize("unit", ["runs", "bytes"])
def test_a_full_queue_says_of_what_and_which_limit_it_is(unit: str) -> None:
    error = QueueFull("s", queued=7, limit=6, unit=unit)

    assert (error.session_id, error.queued, error.limit, error.unit) == ("s", 7, 6, unit)
    assert {"runs": "runs_queued_max", "bytes": "queue_bytes_max"}[unit] in str(error)
    assert error.retryable


def test_what_is_refused_of_a_run_names_it() -> None:
    conflict, unknown, ended = (
        KeyConflict("s", key="k", run_id="r"),
        UnknownRun("s", "r"),
        RunEnded("r"),
    )

    assert (conflict.session_id, conflict.key, conflict.run_id) == ("s", "k", "r")
    assert (unknown.session_id, unknown.run_id) == ("s", "r")
    assert ended.run_id == "r"


@pytest.mark.parametrize("kind", [KeyConflict, QueueFull, RunEnded, RunError, UnknownRun])
def test_it_is_the_class_that_stands_among_all_errors(kind: type[Exception]) -> None:
    assert getattr(errors, kind.__name__) is kind
