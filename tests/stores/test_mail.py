"""Every command and every kind of answer comes out over there as it went in here."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.runtime import commands, errors
from moorage.runtime.events import Event, NewEvent
from moorage.runtime.sessions import DrainReport, SessionState, SessionStatus
from moorage.stores.mail import (
    COMMANDS,
    decode_answer,
    decode_command,
    encode_answer,
    encode_command,
    encode_refusal,
)

EVERY_COMMAND = [
    commands.OpenSession(mode="create", tags={"a": "b"}, metadata={"x": [1, None]}),
    commands.OpenSession(expire_after_seconds=float("inf"), include_deleted=True),
    commands.Submit(run_id="r", input={"deep": [b"\x00", 1.5]}, size_bytes=9, timeout_seconds=2.0),
    commands.Cancel(run_id="r", reason="enough"),
    commands.AnswerRun(run_id="r", name="n", value={"approved": True}),
    commands.Steer(run_id="r", steer_id="s", message="left", size_bytes=4),
    commands.AppendEvents(
        events=(NewEvent("a", 1, None), NewEvent("b", [2], {"m": 3})), size_bytes=4
    ),
    commands.Pause(),
    commands.Resume(),
    commands.Close(outcome="failed", force=True),
    commands.Reopen(),
    commands.GetStatus(),
    commands.Drain(timeout_seconds=3, queued="finish"),
    commands.Trim(before=7),
    commands.LiftQuarantine(),
    commands.DeleteSession(),
    commands.DeleteUnchanged(expected_seq=7, idle=True),
    commands.SoftDelete(reason="asked for", expected_seq=7),
    commands.RestoreSession(),
]
STATUS = SessionStatus(
    session_id="a",
    state=SessionState.PAUSED,
    head_seq=3,
    slots=2,
    running=("r1",),
    queued=("r2", "r3"),
    waiting=(),
    runs_queued_max=10,
    draining=True,
)


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: type(command).__name__)
def test_a_command_round_trips(command: commands.Command) -> None:
    assert decode_command(*encode_command(command)) == command


def test_no_command_is_left_out_above() -> None:
    assert {type(command).__name__ for command in EVERY_COMMAND} == set(COMMANDS)


@pytest.mark.parametrize(
    "answer",
    [
        True,
        None,
        "run-1",
        {"a": [1, b"x"]},
        [],
        STATUS,
        DrainReport(completed=("a",), queued=("b", "c")),
        [Event("a", 1, 2, "t", None, {"x": 1}), Event("a", 2, 3, "t", "r", None, {"m": 1}, 4)],
    ],
)
def test_an_answer_round_trips(answer: Any) -> None:
    found = decode_answer(encode_answer(answer))

    assert found == answer
    assert type(found) is type(answer)


@pytest.mark.parametrize(
    "error",
    [
        errors.UnknownRun("a", "r1"),
        errors.QueueFull("a", queued=3, limit=3),
        errors.KeyConflict("a", key="k", run_id="r"),
        errors.StoreFailed("gone", written=False),
        errors.CorruptLog(file="f", offset=3, reason="r"),
        errors.SessionHeld("a", holder="me"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_is_raised_as_it_was(error: errors.MoorageError) -> None:
    with pytest.raises(type(error)) as caught:
        decode_answer(encode_refusal(error))

    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)


def test_a_refusal_of_a_later_release_is_a_failure_that_tells_it() -> None:
    class FromTheFuture(errors.MoorageError):
        pass

    with pytest.raises(errors.StoreFailed, match="FromTheFuture: no such thing") as caught:
        decode_answer(encode_refusal(FromTheFuture("no such thing")))

    assert (caught.value.written, caught.value.poisoned) == (None, False)


def test_facts_that_cannot_be_told_are_left_out() -> None:
    error = errors.UnknownRun("a", "r1")
    error.strange = object()

    with pytest.raises(errors.UnknownRun) as caught:
        decode_answer(encode_refusal(error))

    assert not hasattr(caught.value, "strange")


def test_what_is_no_command_is_refused_on_both_sides() -> None:
    with pytest.raises(errors.InvalidArgument, match="cannot be brought"):
        encode_command("delete everything")
    with pytest.raises(errors.InvalidArgument, match="Submit cannot be brought"):
        encode_command(commands.Submit(run_id="r", input=object(), size_bytes=1))
    with pytest.raises(ValueError, match="no command that this release knows"):
        decode_command("Explode", b"\x80")
    with pytest.raises(ValueError, match="not a Trim"):
        decode_command("Trim", b"\x80")
