from __future__ import annotations

import pytest
from moorage.adapters.sinks.telemetry.run_totals import (
    OUTCOMES,
    Histogram,
    RunTotals,
    cost_usd,
    queue_seconds,
    run_seconds,
    tokens,
)
from moorage.runtime import RunOutcome, RunState

S = 1_000_000_000


def outcome(**facts) -> RunOutcome:
    return RunOutcome(
        **{
            "run_id": "r",
            "session_id": "s",
            "state": RunState.COMPLETED,
            "output": None,
            "error": None,
            "usage": None,
            "attempt": 1,
            "submitted_at_ns": 10 * S,
            "started_at_ns": 12 * S,
            "ended_at_ns": 17 * S,
        }
        | facts
    )


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.add(value)

    assert histogram.cumulative() == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert histogram.sum == 12.0


def test_seconds_are_those_of_the_outcome() -> None:
    assert (queue_seconds(outcome()), run_seconds(outcome())) == (2, 5)
    never = outcome(started_at_ns=None)
    assert (queue_seconds(never), run_seconds(never)) == (7, None)
    backwards = outcome(started_at_ns=9 * S, ended_at_ns=8 * S)
    assert (queue_seconds(backwards), run_seconds(backwards)) == (0, 0)


@pytest.mark.parametrize("value", [-1, True, 1.5, "7", None, float("nan")])
def test_what_is_no_count_of_tokens_is_left_out(value) -> None:
    assert tokens(outcome(usage={"input_tokens": value, "own_tokens": 5})) == {}


@pytest.mark.parametrize("value", [-1, "7", None, float("nan"), float("inf")])
def test_what_is_no_cost_is_none(value) -> None:
    assert cost_usd(outcome(usage={"cost_usd": value})) == 0


def test_totals_add_up() -> None:
    totals = RunTotals()
    usage = {"input_tokens": 3, "reasoning_tokens": 1, "cost_usd": 0.25}
    totals.run_ended(outcome(usage=usage))
    totals.run_ended(outcome(usage=usage))
    totals.run_ended(outcome(state=RunState.CANCELLED, started_at_ns=None))
    totals.appended(0.5)

    assert totals.runs == dict.fromkeys(OUTCOMES, 0) | {"completed": 2, "cancelled": 1}
    assert totals.queue_seconds.sum == 11
    assert totals.run_seconds["completed"].sum == 10
    assert sum(totals.run_seconds["cancelled"].counts) == 0
    assert (totals.tokens["input"], totals.tokens["reasoning"], totals.tokens["output"]) == (
        6,
        2,
        0,
    )
    assert totals.cost_usd == 0.5
    assert totals.append_seconds.sum == 0.5
