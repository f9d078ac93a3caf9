from __future__ import annotations

import pytest
from moorage.runtime import Event, RunState
from moorage.runtime.image import RunRecord
from moorage.runtime.query_pages import (
    ERROR_MESSAGE_CHARS_MAX,
    RunEnding,
    RunRequested,
    larger_usage,
    summary_of,
)

REQUESTED = RunRequested.of(
    Event("s", 2, 10, "run_submitted", "r", {"input": "large", "agent": "a", "key": "k"})
)


def ended(type: str, **data) -> RunEnding:
    return RunEnding.of(Event("s", 9, 30, type, "r", {"attempt": 1, "started_at_ns": 20, **data}))


def test_a_completed_run_is_told_without_what_it_took_and_gave():
    now = ended("run_completed", output={"model": "m", "content": "x"}, usage={"input_tokens": 3})
    run = summary_of(REQUESTED, now)

    assert (run.session_id, run.run_id, run.seq, run.agent, run.key) == ("s", "r", 2, "a", "k")
    assert (run.state, run.ended, run.model) == (RunState.COMPLETED, True, "m")
    assert (run.submitted_at_ns, run.started_at_ns, run.ended_at_ns) == (10, 20, 30)
    assert (run.usage, run.error_code, run.error_message) == ({"input_tokens": 3}, None, None)


def test_a_failed_run_is_told_with_the_beginning_of_its_message():
    now = ended("run_failed", error={"code": "c", "message": "x" * 999})

    assert (now.state, now.error_code) == (RunState.FAILED, "c")
    assert now.error_message == "x" * ERROR_MESSAGE_CHARS_MAX


@pytest.mark.parametrize("output", [None, "text", {"content": 1}, {"model": 7}])
def test_an_output_need_not_name_a_model(output):
    assert ended("run_completed", output=output).model is None


def test_an_unfinished_run_is_told_from_its_record():
    record = RunRecord("r", 2, 10, "x", 1, state=RunState.RUNNING, attempt=2, started_at_ns=15)
    run = summary_of(REQUESTED, RunEnding.so_far(record))

    assert (run.state, run.ended, run.attempt) == (RunState.RUNNING, False, 2)
    assert (run.started_at_ns, run.ended_at_ns) == (15, None)


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("run_completed", {}, False),
        ("run_failed", {}, False),
        ("run_completed", {"attempt": 2}, True),
        ("run_interrupted", {"usage": {"n": 1}}, True),
        ("run_cancelled", {}, True),
        ("run_cancelled", {"usage": {"n": 1}}, False),
        ("run_timed_out", {}, True),
    ],
)
def test_attempts_that_ended_with_their_process_may_have_used_more(type, data, expected):
    assert ended(type, **data).may_lack_usage is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (None, None, None),
        ({}, None, None),
        ({"a": 1}, None, {"a": 1}),
        (None, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 5}, {"a": 2, "b": 3, "c": 1}, {"a": 2, "b": 5, "c": 1}),
        ({"a": "text"}, {"a": 2}, {"a": 2}),
        ({"a": 2}, {"a": "text"}, {"a": 2}),
        ({"a": True}, {"a": 0}, {"a": 0}),
    ],
)
def test_of_two_incomplete_sums_the_larger_counts(one, other, expected):
    assert larger_usage(one, other) == expected
