from __future__ import annotations

import asyncio

import pytest
import trio
from moorage.adapters.gateways.http import problems
from moorage.adapters.gateways.http.problems import problem_of
from moorage.adapters.gateways.http_client import InvalidRequest, RequestRefused, WaitTimedOut
from moorage.adapters.gateways.http_client.errors import KINDS, UNTOLD, error_of
from moorage.runtime import errors as of_runtime
from moorage.runtime.errors import InvalidArgument, MoorageError, RunError

EXAMPLES = (
    of_runtime.MoorageError("something"),
    of_runtime.InvalidArgument("slots must be more"),
    of_runtime.InvalidCursor("order", "it is of another order"),
    of_runtime.RecordTooLarge("input", size=2, limit=1),
    of_runtime.QueueFull("a", queued=2, limit=1),
    of_runtime.BufferFull("name_max", used=2, limit=1, remedy="less"),
    of_runtime.KeyConflict("a", key="k", run_id="r"),
    of_runtime.AdmissionClosed("the server", reason="draining"),
    of_runtime.SessionClosed("a"),
    of_runtime.SessionDeleted("a", deleted_at_ns=5),
    of_runtime.SessionChanged("a", expected_seq=1, head_seq=2),
    of_runtime.SessionBusy("a", running=1, queued=2, waiting=3),
    of_runtime.SessionExists("a"),
    of_runtime.SessionHeld("a", holder="process 1"),
    of_runtime.SessionQuarantined("a", reason="why"),
    of_runtime.UnknownSession("a"),
    of_runtime.UnknownRun("a", "r"),
    of_runtime.UnknownCheckpoint("a", "c"),
    of_runtime.CheckpointMismatch("a", "c", seq=1, expected="x", found="y"),
    of_runtime.RunEnded("r"),
    of_runtime.CursorExpired("a", after=1, oldest_seq=5),
    of_runtime.CursorHeld("a", name="n"),
    of_runtime.WrongProcess(7),
    of_runtime.StaleOwner("a", epoch=1, current="2"),
    of_runtime.StoreFailed("broken", written=False, poisoned=True),
    of_runtime.MigrationRequired("db", found=1, needed=2),
    of_runtime.CorruptLog(file="f", offset=1, reason="why"),
)


def test_there_is_an_example_of_every_error_of_the_runtime():
    all_of_them = {
        kind
        for kind in vars(of_runtime).values()
        if isinstance(kind, type)
        and issubclass(kind, MoorageError)
        and not issubclass(kind, RunError)
    }

    assert {type(example) for example in EXAMPLES} == all_of_them
    assert all_of_them == set(KINDS.values()) - {InvalidRequest}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.code)
def test_an_error_comes_out_as_it_went_in(error):
    problem = problem_of(error)

    again = error_of(problem.document(), problem.status)

    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
    assert (again.code, again.retryable) == (error.code, error.retryable)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: error.code)
def test_what_is_not_told_to_everybody_is_there_all_the_same(error):
    again = error_of(problem_of(error, disclose=False).document())

    assert type(again) is type(error)
    assert vars(again).keys() == vars(error).keys()


def test_facts_that_are_hidden_have_a_value_here():
    assert {kind for kind in KINDS.values() if issubclass(kind, problems.INTERNAL)} == set(UNTOLD)


def test_what_only_http_refuses_has_its_code():
    missing = error_of(
        problem_of(problems.ScopeMissing(needed="admin", granted=[])).document(), 403
    )
    many = problems.TooManyRequests("you ask too much", limit=1, retry_after_seconds=2)
    rated = error_of(problem_of(many).document(), 429)

    assert type(missing) is type(rated) is RequestRefused
    assert (missing.code, missing.status, missing.needed) == ("scope_missing", 403, "admin")
    assert (rated.code, rated.retryable, missing.retryable) == ("too_many_requests", True, False)


def test_a_value_of_the_wrong_kind_is_an_invalid_argument():
    wrong = [{"field": "/slots", "value": "0", "expected": "at least 1"}]
    error = error_of(problem_of(problems.InvalidRequest(wrong)).document(), 422)

    assert isinstance(error, InvalidArgument)
    assert (error.code, error.errors) == ("invalid_request", wrong)


def test_facts_cannot_be_what_an_error_does():
    error = error_of({"code": "queue_full", "facts": {"with_traceback": 1, "code": "x", "a b": 1}})

    assert error.code == "queue_full"
    assert callable(error.with_traceback)
    assert vars(error) == {"message": "queue_full"}


def test_who_waited_in_vain_is_told_in_the_words_of_both_loops():
    for kind in (trio.TooSlowError, TimeoutError, asyncio.TimeoutError):
        with pytest.raises(kind):
            raise WaitTimedOut
