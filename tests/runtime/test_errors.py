from __future__ import annotations

import copy
import pickle

import pytest
from moorage.runtime import errors
from moorage.runtime.runs import RunOutcome, RunProblem, RunState

OUTCOME = RunOutcome(
    run_id="run_1",
    session_id="s",
    state=RunState.FAILED,
    output=None,
    error=RunProblem(code="agent_failed", message="no such model"),
    usage=None,
    attempt=1,
    submitted_at_ns=1,
    started_at_ns=2,
    ended_at_ns=3,
)

EXAMPLES: list[tuple[errors.MoorageError, list[str]]] = [
    (errors.MoorageError("text"), ["text"]),
    (errors.InvalidArgument("slots must be"), ["slots must be"]),
    (errors.RecordTooLarge("input", size=20, limit=10), ["input", "20", "10", "reference"]),
    (errors.InvalidCursor("damaged", "pass it on as it came"), ["cursor", "as it came"]),
    (errors.QueueFull("s", queued=7, limit=6), ["'s'", "7 runs", "runs_queued_max is 6"]),
    (errors.QueueFull("s", queued=7, limit=6, unit="bytes"), ["7 bytes", "queue_bytes_max is 6"]),
    (errors.BufferFull("n", used=3, limit=2, remedy="wait"), ["3", "n is 2", "wait"]),
    (errors.KeyConflict("s", key="k", run_id="run_1"), ["'k'", "run_1", "new key"]),
    (errors.AdmissionClosed("session 's'", reason="draining"), ["draining", "resume"]),
    (errors.SessionClosed("s"), ["'s'", "reopen"]),
    (errors.SessionDeleted("s", deleted_at_ns=5), ["'s'", "restore_session", "include_deleted"]),
    (
        errors.SessionChanged("s", expected_seq=4, head_seq=6),
        ["'s'", "was 4 and is 6", "look again"],
    ),
    (
        errors.SessionBusy("s", running=1, queued=2, waiting=3),
        ["1 running, 2 queued and 3", "force"],
    ),
    (errors.WrongProcess(42), ["process 42", "open another one here", "post_fork"]),
    (errors.SessionExists("s"), ["'s'", "another id", "resume"]),
    (errors.SessionHeld("the store", holder="pid 7"), ["the store", "pid 7", "open_reader"]),
    (errors.SessionQuarantined("s"), ["'s'", "crashed too often", "unquarantine"]),
    (errors.UnknownSession("s"), ["'s'"]),
    (errors.UnknownRun("s", "run_1"), ["'s'", "'run_1'", "trimmed"]),
    (errors.UnknownCheckpoint("s", "chk_1"), ["'s'", "'chk_1'", "checkpoints()"]),
    (
        errors.CheckpointMismatch("s", "chk_1", seq=9, expected="a" * 64, found="b" * 64),
        ["'s'", "'chk_1'", "seq 9", "trimmed", "branch(seq)"],
    ),
    (errors.RunEnded("run_1"), ["run_1", "not recorded"]),
    (errors.RunError(OUTCOME), ["run_1", "failed", "no such model"]),
    (errors.RunFailed(OUTCOME), ["run_1", "failed", "no such model"]),
    (errors.RunCancelled(OUTCOME), ["run_1"]),
    (errors.RunTimedOut(OUTCOME), ["run_1"]),
    (errors.RunInterrupted(OUTCOME), ["run_1"]),
    (errors.CursorExpired("s", after=3, oldest_seq=9), ["seq 9", "after=3", "after=8"]),
    (errors.CursorHeld("s", name="mail"), ["'mail'", "'s'", "another name"]),
    (errors.StaleOwner("s", epoch=3, current="it is 4"), ["epoch 3", "'s'", "it is 4"]),
    (errors.StoreFailed("disk full", written=False), ["disk full"]),
    (
        errors.MigrationRequired("schema 'm' of x", found=1, needed=2),
        ["'m'", "version 1", "needs 2", "moorage migrate"],
    ),
    (errors.CorruptLog(file="a.log", offset=12, reason="r"), ["a.log", "12", "r", "salvage"]),
]

every_example = pytest.mark.parametrize(
    ("error", "words"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES]
)


@every_example
def test_the_message_names_the_value_and_the_remedy(
    error: errors.MoorageError, words: list[str]
) -> None:
    assert [word for word in words if word not in str(error)] == []
    assert error.message == str(error)


@every_example
def test_an_error_survives_pickling_and_copying_with_its_facts(
    error: errors.MoorageError, words: list[str]
) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(error) is type(again)
        assert vars(error) == vars(again)
        assert str(error) == str(again)


def test_every_class_has_an_example_and_stands_in_the_tree() -> None:
    classes = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.MoorageError)
    }

    assert classes == {type(error) for error, _ in EXAMPLES}
    assert not [c.__name__ for c in classes if c.__name__ not in (errors.__doc__ or "")]


def test_the_facts_are_attributes() -> None:
    full = errors.QueueFull("s", queued=7, limit=6)
    expired = errors.CursorExpired("s", after=3, oldest_seq=9)
    corrupt = errors.CorruptLog(file="a.log", offset=12, reason="r")

    assert (full.session_id, full.queued, full.limit, full.unit) == ("s", 7, 6, "runs")
    assert (expired.session_id, expired.after, expired.oldest_seq) == ("s", 3, 9)
    assert (corrupt.file, corrupt.offset, corrupt.reason) == ("a.log", 12, "r")


def test_retryable_tells_whether_the_same_call_may_succeed_later() -> None:
    retryable = {type(error).__name__ for error, _ in EXAMPLES if error.retryable}

    assert {
        "QueueFull",
        "BufferFull",
        "AdmissionClosed",
        "SessionBusy",
        "SessionHeld",
        "CursorHeld",
        "StoreFailed",
    } == retryable


def test_an_error_of_a_run_without_a_problem_names_its_state() -> None:
    outcome = RunOutcome("run_1", "s", RunState.CANCELLED, None, None, None, 0, 1, None, 3)

    assert str(errors.RunCancelled(outcome)) == "run run_1 ended cancelled"
