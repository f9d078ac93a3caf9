"""What holds for a session as a whole: refusals, deletion, restoration, quarantine."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.runtime.commands import (
    AnswerRun,
    Cancel,
    Close,
    DeleteSession,
    DeleteUnchanged,
    LiftQuarantine,
    OpenSession,
    Pause,
    Reopen,
    RestoreSession,
    Resume,
    SoftDelete,
    Steer,
    Submit,
)
from moorage.runtime.errors import (
    SessionBusy,
    SessionChanged,
    SessionClosed,
    SessionDeleted,
    SessionQuarantined,
    UnknownSession,
)
from moorage.runtime.events import Event
from moorage.runtime.image import SessionImage
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.machine import SessionMachine
from moorage.runtime.runs import RunState
from moorage.runtime.sessions import SessionState

from tests.runtime.bench import Bench, types


@pytest.fixture
def bench() -> Bench:
    return Bench()


def quarantine(bench: Bench) -> None:
    image = bench.machine.image
    event = Event(
        "s",
        image.head_seq + 1,
        bench.now_ns,
        "session_quarantined",
        None,
        {"reason": "crashes", "state_before": str(image.state)},
    )
    image.apply(event)
    bench.log.append(event)


def test_a_deleted_session_is_closed_and_says_since_when(bench: Bench) -> None:
    step = bench.do(SoftDelete(reason="asked for"))

    assert step.answer is True
    assert types(step) == ["session_deleted"]
    assert step.events[0].data == {"state_before": "open", "reason": "asked for"}
    info = bench.machine.image.info()
    assert (info.state, info.deleted_at_ns) == (SessionState.CLOSED, bench.now_ns)


@pytest.mark.parametrize(
    "command",
    [
        OpenSession(),
        OpenSession(mode="resume"),
        OpenSession(mode="create"),
        OpenSession(include_deleted=True, slots=3),
        Submit(run_id="B", input="B", size_bytes=2),
        Pause(),
        Resume(),
        Reopen(),
    ],
    ids=lambda command: type(command).__name__,
)
def test_what_would_use_it_is_refused_until_it_is_restored(bench: Bench, command: Any) -> None:
    bench.do(SoftDelete())
    before = bench.machine.image.head_seq

    with pytest.raises(SessionDeleted, match="restore_session") as caught:
        bench.do(command)

    assert isinstance(caught.value, SessionClosed)
    assert caught.value.deleted_at_ns == bench.now_ns
    assert before == bench.machine.image.head_seq


def test_it_can_be_opened_to_be_read(bench: Bench) -> None:
    bench.do(SoftDelete())

    step = bench.do(OpenSession(include_deleted=True))

    assert (step.answer, step.events) == (False, [])


def test_including_the_deleted_opens_what_is_not_deleted_as_ever() -> None:
    machine = SessionMachine(SessionImage("s"), SupervisorLimits())

    assert machine.handle(OpenSession(include_deleted=True), 1).answer is True
    assert machine.handle(OpenSession(include_deleted=True), 1).answer is False


def test_deleting_closing_and_lifting_again_change_nothing(bench: Bench) -> None:
    bench.do(SoftDelete())

    for command in (SoftDelete(), Close(), LiftQuarantine()):
        assert bench.do(command).answer is False
        assert bench.log[-1].type == "session_deleted"


def test_what_does_not_exist_is_not_deleted_and_cannot_be_restored() -> None:
    machine = SessionMachine(SessionImage("s"), SupervisorLimits())

    assert machine.handle(SoftDelete(expected_seq=7), 1).answer is False
    with pytest.raises(UnknownSession):
        machine.handle(RestoreSession(), 1)


def test_a_session_that_is_not_deleted_is_not_restored(bench: Bench) -> None:
    assert bench.do(RestoreSession()).answer is False


def test_work_ends_with_the_deletion(bench: Bench) -> None:
    bench.running("A")
    bench.submit("B")
    step = bench.do(SoftDelete())

    assert types(step) == ["session_deleted", "run_cancel_requested", "run_cancelled"]
    assert bench.state("A") is RunState.CANCELLING
    assert not bench.machine.startable()
    assert types(bench.end("raised", "A")) == ["run_cancelled"]
    assert bench.machine.image.runs == {}


def test_messages_that_a_run_did_not_hear_end_with_it(bench: Bench) -> None:
    bench.running("A")
    bench.do(Steer(run_id="A", steer_id="T", message="m", size_bytes=1, steerable=True))
    bench.do(SoftDelete())

    step = bench.end("raised", "A")

    assert types(step) == ["run_cancelled", "run_submitted", "run_cancelled"]
    assert not bench.machine.image.runs


def test_a_waiting_run_ends_and_answers_come_too_late(bench: Bench) -> None:
    bench.running("A")
    bench.park("A")

    assert types(bench.do(SoftDelete())) == ["session_deleted", "run_cancelled"]
    assert "A" not in bench.machine.image.runs
    with pytest.raises(Exception, match="no run"):
        bench.do(AnswerRun(run_id="A", name="n", value=1))


def test_a_crash_while_agents_end_leaves_them_cancelled(bench: Bench) -> None:
    bench.running("A")
    bench.do(SoftDelete())

    assert types(bench.crash()) == ["run_cancelled"]
    assert bench.machine.image.info().deleted_at_ns is not None


def test_a_close_on_its_way_is_overtaken(bench: Bench) -> None:
    bench.running("A")
    bench.do(Close(force=True))
    bench.do(SoftDelete())

    assert types(bench.end("raised", "A")) == ["run_cancelled"]
    bench.do(RestoreSession())
    assert bench.machine.image.state is SessionState.OPEN


def test_cancelling_goes_on_to_be_idempotent(bench: Bench) -> None:
    bench.running("A")
    bench.do(SoftDelete())

    assert bench.do(Cancel(run_id="A")).answer is True


@pytest.mark.parametrize("before", ["open", "paused", "closed"])
def test_a_restored_session_is_what_it_was(bench: Bench, before: str) -> None:
    bench.do(OpenSession(tags={"a": "b"}))
    if before == "paused":
        bench.do(Pause())
    elif before == "closed":
        bench.do(Close(outcome="failed", reason="why"))
    bench.do(SoftDelete())
    bench.now += 5

    assert bench.do(RestoreSession()).answer is True
    assert bench.do(RestoreSession()).answer is False

    info = bench.machine.image.info()
    assert (info.state.value, info.deleted_at_ns, info.tags) == (before, None, {"a": "b"})
    closed = before == "closed"
    assert (info.outcome, info.reason) == (("failed", "why") if closed else (None, None))
    # what is brought back is young again, or retention would take it at once
    assert info.closed_at_ns == (bench.now_ns if closed else None)
    bench.crash()
    assert info == bench.machine.image.info()


def test_a_quarantine_keeps_a_session_deleted(bench: Bench) -> None:
    bench.do(SoftDelete())
    quarantine(bench)

    for command in (SoftDelete(), RestoreSession(), Submit(run_id="B", input=1, size_bytes=1)):
        with pytest.raises(SessionQuarantined):
            bench.do(command)
    assert bench.machine.image.info().deleted_at_ns is not None

    assert bench.do(LiftQuarantine()).answer is True
    with pytest.raises(SessionDeleted):
        bench.submit("B")
    bench.do(RestoreSession())
    assert bench.machine.image.state is SessionState.OPEN


@pytest.mark.parametrize("before", ["paused", "closed"])
def test_a_lifted_quarantine_brings_the_state_back(bench: Bench, before: str) -> None:
    bench.do(Pause() if before == "paused" else Close(outcome="cancelled", reason="r"))
    quarantine(bench)

    assert bench.do(LiftQuarantine()).answer is True
    assert bench.do(LiftQuarantine()).answer is False

    assert bench.machine.image.state is SessionState(before)


def test_closed_sessions_say_that_they_are(bench: Bench) -> None:
    bench.do(Close())

    with pytest.raises(SessionClosed, match="reopen"):
        bench.submit("A")


# ---- on condition ----


@pytest.mark.parametrize("make", [SoftDelete, DeleteUnchanged])
@pytest.mark.parametrize("left", ["queued", "running", "waiting"])
def test_unfinished_work_keeps_a_session(bench: Bench, make: Any, left: str) -> None:
    bench.submit("A")
    if left != "queued":
        bench.start()
    if left == "waiting":
        bench.park("A")

    with pytest.raises(SessionBusy) as caught:
        decide(bench, make(expected_seq=bench.machine.image.head_seq, idle=True))

    assert getattr(caught.value, left) == 1
    assert bench.machine.image.info().deleted_at_ns is None


@pytest.mark.parametrize("make", [SoftDelete, DeleteUnchanged])
def test_whatever_has_happened_since_keeps_a_session(bench: Bench, make: Any) -> None:
    seen = bench.machine.image.head_seq
    bench.do(OpenSession(tags={"a": "b"}))

    with pytest.raises(SessionChanged) as caught:
        decide(bench, make(expected_seq=seen))

    assert (caught.value.expected_seq, caught.value.head_seq) == (seen, seen + 1)
    decide(bench, make(expected_seq=seen + 1))


def decide(bench: Bench, command: Any) -> None:
    """The machine allows deletions and records soft ones."""
    if isinstance(command, SoftDelete):
        bench.do(command)
    else:
        bench.machine.require_deletable(command)


def test_whoever_asks_for_it_deletes_work_too(bench: Bench) -> None:
    bench.running("A")

    bench.machine.require_deletable(DeleteSession())
    bench.machine.require_deletable(DeleteUnchanged(expected_seq=bench.machine.image.head_seq))


def test_of_what_is_gone_nothing_is_required() -> None:
    machine = SessionMachine(SessionImage("s", head_seq=9), SupervisorLimits())

    machine.require_deletable(DeleteUnchanged(expected_seq=3))


# ---- expiry ----


def test_expiry_is_recorded_with_the_session_and_taken_back(bench: Bench) -> None:
    bench.do(OpenSession(expire_after_seconds=60.0))
    assert bench.machine.image.info().expire_after_seconds == 60.0
    assert bench.do(OpenSession(expire_after_seconds=60.0)).events == []

    bench.do(OpenSession(slots=2))
    assert bench.machine.image.info().expire_after_seconds == 60.0

    bench.do(OpenSession(expire_by_policy=True))
    assert bench.machine.image.info().expire_after_seconds is None
    assert bench.do(OpenSession(expire_by_policy=True)).events == []
