from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime import InvalidArgument, RunState, RunSummary
from moorage.runtime import usage as module
from moorage.runtime.usage import SECOND_NS, UsageFold

RUN = RunSummary(
    session_id="s",
    run_id="r",
    seq=1,
    state=RunState.COMPLETED,
    agent="a",
    model="m",
    key=None,
    attempt=1,
    submitted_at_ns=86_399 * SECOND_NS,
    started_at_ns=86_400 * SECOND_NS,
    ended_at_ns=86_402 * SECOND_NS,
    usage={"input_tokens": 10, "output_tokens": 4, "cache_read_tokens": 3, "cost_usd": 0.5},
    error_code=None,
    error_message=None,
)


def summed(by, *runs, tags=None):
    fold = UsageFold(by)
    for run in runs:
        fold.add(run, tags or {})
    return fold.summary()


@pytest.mark.parametrize(
    ("by", "group"),
    [
        ("session", "s"),
        ("agent", "a"),
        ("model", "m"),
        ("day", "1970-01-01"),
        ("tag:tenant", "x"),
        ("tag:other", None),
    ],
)
def test_runs_are_grouped(by, group):
    (row,) = summed(by, RUN, tags={"tenant": "x"}).rows

    assert row.group == group
    assert (row.runs, row.runs_total, row.runs_started) == ({"completed": 1}, 1, 1)
    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens) == (10, 4, 3)
    assert (row.cost_usd, row.queue_seconds, row.run_seconds) == (0.5, 1.0, 2.0)
    assert (row.runs_without_usage, row.runs_without_cost) == (0, 0)


def test_rows_are_in_order_and_what_has_no_group_comes_last():
    runs = [attrs.evolve(RUN, model=model) for model in ("b", None, "a", "b")]

    assert [row.group for row in summed("model", *runs).rows] == ["a", "b", None]


def test_nothing_is_the_sum_of_nothing():
    usage = summed("day")

    assert (usage.rows, usage.total.runs_total, usage.total.cost_usd) == ([], 0, 0.0)


def test_what_recorded_nothing_is_counted_and_never_guessed():
    tokens_only = attrs.evolve(RUN, usage={"input_tokens": 1})
    nothing = attrs.evolve(RUN, usage=None)
    cost_only = attrs.evolve(RUN, usage={"cost_usd": 0.25})
    never_started = attrs.evolve(RUN, usage=None, started_at_ns=None, state=RunState.CANCELLED)

    total = summed("session", tokens_only, nothing, cost_only, never_started).total

    assert (total.runs_total, total.runs_started) == (4, 3)
    assert (total.runs_without_usage, total.runs_without_cost) == (2, 2)
    assert total.cost_usd == 0.25


@pytest.mark.parametrize("value", ["10", True, None, math.nan, math.inf, [1]])
def test_what_is_no_amount_is_left_out(value):
    total = summed("session", attrs.evolve(RUN, usage={"input_tokens": value})).total

    assert (total.input_tokens, total.runs_without_usage) == (0, 1)


def test_a_run_that_goes_on_has_no_run_time():
    total = summed("session", attrs.evolve(RUN, state=RunState.RUNNING, ended_at_ns=None)).total

    assert (total.queue_seconds, total.run_seconds) == (1.0, 0.0)


def test_a_clock_that_was_set_back_takes_no_time_away():
    total = summed("session", attrs.evolve(RUN, started_at_ns=0, ended_at_ns=-SECOND_NS)).total

    assert (total.queue_seconds, total.run_seconds) == (0.0, 0.0)


def test_more_groups_than_may_be_are_refused(monkeypatch):
    monkeypatch.setattr(module, "USAGE_ROWS_MAX", 2)

    with pytest.raises(InvalidArgument, match="more than 2 groups"):
        summed("agent", *(attrs.evolve(RUN, agent=agent) for agent in "aabc"))


@given(
    st.lists(
        st.builds(
            attrs.evolve,
            st.just(RUN),
            session_id=st.sampled_from("abc"),
            state=st.sampled_from(list(RunState)),
            usage=st.dictionaries(
                st.sampled_from(["input_tokens", "reasoning_tokens", "x"]), st.integers(0, 99)
            ),
        )
    )
)
def test_the_total_is_that_of_the_runs_however_they_are_grouped(runs):
    by_session, by_day = summed("session", *runs), summed("day", *runs)

    assert by_session.total == by_day.total
    assert by_session.total.runs_total == len(runs)
    assert by_session.total.input_tokens == sum(run.usage.get("input_tokens", 0) for run in runs)
