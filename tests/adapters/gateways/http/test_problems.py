from __future__ import annotations

import inspect
import json
import re
from typing import Any

import attrs
import pytest
from moorage.adapters.gateways.http import problems
from moorage.adapters.gateways.http.problems import STATUS, problem_of, shown, unexpected_problem
from moorage.runtime import RunOutcome, RunState, errors


def errors_in(module: Any) -> list[type[errors.MoorageError]]:
    """The runtime's, or those that the gateway adds to them."""
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, errors.MoorageError)
        and (module is errors or kind.__module__ == module.__name__)
    ]


OUTCOME = RunOutcome("r", "s", RunState.FAILED, None, None, None, 1, 1, 1, 1)
EXAMPLES = [
    errors.InvalidArgument("wrong"),
    errors.RecordTooLarge("input", size=9, limit=5),
    errors.QueueFull("s", queued=1, limit=1),
    errors.BufferFull("inbox", used=1, limit=1, remedy="wait"),
    errors.KeyConflict("s", key="k", run_id="r"),
    errors.AdmissionClosed("it", reason="draining"),
    errors.SessionClosed("s"),
    errors.SessionBusy("s", running=1, queued=0, waiting=0),
    errors.SessionExists("s"),
    errors.SessionHeld("s", holder="pid 7 on machine"),
    errors.SessionQuarantined("s"),
    errors.UnknownSession("s"),
    errors.UnknownRun("s", "r"),
    errors.UnknownCheckpoint("s", "c"),
    errors.CheckpointMismatch("s", "c", seq=1, expected="a", found="b"),
    errors.RunEnded("r"),
    errors.RunFailed(OUTCOME),
    errors.RunCancelled(OUTCOME),
    errors.RunTimedOut(OUTCOME),
    errors.RunInterrupted(OUTCOME),
    errors.CursorExpired("s", after=1, oldest_seq=5),
    errors.CursorHeld("s", name="n"),
    errors.StaleOwner("s", epoch=1, current="epoch 2"),
    errors.StoreFailed("no space on /data/machine"),
    errors.MigrationRequired("postgres on machine", found=1, needed=2),
    errors.CorruptLog(file="/data/machine", offset=7, reason="checksum"),
    problems.InvalidRequest([{"field": "/x", "value": "1", "expected": "2"}] * 2),
    problems.Unauthenticated("no"),
    problems.ScopeMissing(needed="admin", granted=["read"]),
    problems.OutsideTenant(prefix="acme-"),
    problems.MethodNotAllowed("PUT", allowed=["GET"]),
    problems.BodyTooLarge(limit=5),
    problems.TooManyRequests("too often", limit=5, retry_after_seconds=1.2),
    problems.TooManyStreams("too many", limit=5, retry_after_seconds=1),
]


@pytest.mark.parametrize("kind", errors_in(errors) + errors_in(problems))
def test_every_error_has_a_status_and_a_title(kind):
    status, title = STATUS[kind]

    assert 400 <= status <= 504
    assert title[0].isupper()


def test_every_code_is_stable_and_says_what_it_is():
    kinds = errors_in(errors) + errors_in(problems)

    codes = [kind.code for kind in kinds]
    assert all(re.fullmatch("[a-z_]+", code) for code in codes)
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.code)
def test_the_document_has_what_the_error_knows(error):
    problem = problem_of(error)
    document = json.loads(problem.body())

    assert document["type"] == f"urn:moorage:problem:{error.code}"
    assert document["status"] == problem.status == STATUS[type(error)][0]
    assert document["detail"] == error.message
    assert document["retryable"] is error.retryable
    facts = set(vars(error)) - {"message", "headers", "outcome"}
    assert facts == set(document["facts"])


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.code)
def test_only_an_admin_is_told_of_files_and_machines(error):
    document = problem_of(error, disclose=False).body()

    assert b"machine" not in document


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.code)
def test_whoever_shall_come_back_is_told_when(error):
    problem = problem_of(error, retry_after_seconds=7)

    assert ("retry-after" in problem.headers) == (problem.status in (429, 503))


def test_an_error_that_is_not_listed_has_the_entry_of_its_base():
    class Special(errors.QueueFull):
        code = "special"

    assert problem_of(Special("s", queued=1, limit=1)).status == 429


def test_a_defect_tells_nothing_of_itself():
    problem = unexpected_problem()

    assert (problem.status, problem.code, problem.facts) == (500, "internal_error", {})


def test_whatever_is_refused_can_be_told():
    error = errors.InvalidArgument("lone surrogate \ud800")
    error.value = {"a": ["\ud800", b"x", object, float("nan")]}  # type: ignore[attr-defined]

    document = json.loads(problem_of(error).body())

    assert document["facts"]["value"]["a"][1:] == [
        {"$bytes": "eA=="},
        "<class 'object'>",
        {"$float": "nan"},
    ]


def test_a_value_is_shown_as_json_and_cut():
    assert shown({"a": [1]}) == '{"a": [1]}'
    assert len(shown("x" * 1_000)) == 203
    assert "object" in shown(object())


def test_problems_are_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        unexpected_problem().status = 200  # type: ignore[misc]
