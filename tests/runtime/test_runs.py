from __future__ import annotations

import attrs
import pytest
from moorage.runtime.errors import (
    InvalidArgument,
    RunCancelled,
    RunFailed,
    RunInterrupted,
    RunTimedOut,
)
from moorage.runtime.events import RUN_TERMINAL_TYPES, Event
from moorage.runtime.runs import (
    RUN_TERMINAL_STATES,
    RunOutcome,
    RunProblem,
    RunRequest,
    RunState,
    added_usage,
    approval_of,
    approval_request,
    outcome_of,
)

OUTCOME = RunOutcome(
    run_id="run_1",
    session_id="s",
    state=RunState.COMPLETED,
    output={"content": "Hello"},
    error=None,
    usage={"tokens": 3},
    attempt=2,
    submitted_at_ns=10,
    started_at_ns=20,
    ended_at_ns=30,
)


def test_a_state_prints_and_compares_as_its_word() -> None:
    assert "timed_out" == str(RunState.TIMED_OUT) == f"{RunState.TIMED_OUT}"
    assert {RunState.QUEUED: 1} == {"queued": 1}
    assert RunState("waiting") is RunState.WAITING


def test_a_completed_run_unwraps_to_its_output() -> None:
    assert OUTCOME.unwrap() == {"content": "Hello"}


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (RunState.FAILED, RunFailed),
        (RunState.CANCELLED, RunCancelled),
        (RunState.TIMED_OUT, RunTimedOut),
        (RunState.INTERRUPTED, RunInterrupted),
    ],
)
def test_every_other_end_unwraps_to_an_error_with_the_outcome(
    state: RunState, error: type[Exception]
) -> None:
    outcome = attrs.evolve(OUTCOME, state=state, output=None)

    with pytest.raises(error) as caught:
        outcome.unwrap()

    assert outcome is caught.value.outcome  # type: ignore[attr-defined]


def test_the_terminal_event_tells_the_whole_outcome() -> None:
    event = Event(
        "s",
        9,
        30,
        "run_failed",
        "run_1",
        {
            "error": {
                "code": "agent_failed",
                "message": "boom",
                "type": "ValueError",
                "retryable": True,
                "details": {"line": 3},
            },
            "usage": {"tokens": 3},
            "attempt": 2,
            "submitted_at_ns": 10,
            "started_at_ns": 20,
        },
    )

    expected = attrs.evolve(
        OUTCOME,
        state=RunState.FAILED,
        output=None,
        error=RunProblem("agent_failed", "boom", "ValueError", True, {"line": 3}),
    )
    assert expected == outcome_of(event)


@pytest.mark.parametrize("type", sorted(RUN_TERMINAL_TYPES))
def test_every_terminal_event_reads_as_a_final_state(type: str) -> None:
    problem = {"code": "c", "message": "m"}
    event = Event("s", 9, 30, type, "run_1", {"error": problem, "later": "field"})

    outcome = outcome_of(event)

    assert outcome.state in RUN_TERMINAL_STATES
    assert type == f"run_{outcome.state}"
    assert RunProblem("c", "m") == outcome.error
    assert (outcome.attempt, outcome.started_at_ns, outcome.ended_at_ns) == (0, None, 30)


def test_an_outcome_without_an_error_has_none() -> None:
    outcome = outcome_of(Event("s", 9, 30, "run_completed", "run_1", {"output": b"\x00"}))

    assert (outcome.output, outcome.error) == (b"\x00", None)


def test_requests_do_not_share_their_answers() -> None:
    first, second = (RunRequest(None, "s", run_id) for run_id in ("run_1", "run_2"))

    first.answers["ok"] = True

    assert second.answers == {}
    assert first.attempt == 1


def test_a_request_id_leads_to_the_run_and_the_name_it_waits_under() -> None:
    request_id, name = approval_request("run_1", "call:7")

    assert approval_of(request_id) == ("run_1", name)


@pytest.mark.parametrize("request_id", ["", "run_1", ":call", "run_1:", 5])
def test_what_is_no_request_id_is_refused_by_value(request_id: object) -> None:
    with pytest.raises(InvalidArgument, match="request id"):
        approval_of(request_id)  # type: ignore[arg-type]


def test_usages_add_up_and_what_is_no_number_is_replaced() -> None:
    total = added_usage({"input": 1, "cost": 0.5, "model": "a", "cached": True}, None)

    assert added_usage(total, {"input": 2, "model": "b", "output": 3, "cached": True}) == {
        "input": 3,
        "cost": 0.5,
        "model": "b",
        "output": 3,
        "cached": True,
    }
    assert added_usage(None, None) == {}
