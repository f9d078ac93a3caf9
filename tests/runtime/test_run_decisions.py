"""Decisions about single runs: starting, ending, limits of time, interruption, recovery."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.runtime.codec import decode_struct, encode_struct
from moorage.runtime.commands import (
    AnswerRun,
    Cancel,
    Close,
    LiftQuarantine,
    Pause,
    Steer,
)
from moorage.runtime.events import Event
from moorage.runtime.image import SessionImage
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.machine import SessionMachine
from moorage.runtime.run_decisions import FINISHED_KEYS_MAX
from moorage.runtime.runs import RunState
from moorage.runtime.steps import (
    ArmTimer,
    MachineFault,
    StartRun,
    Step,
    StopRun,
)
from moorage.runtime.talk_decisions import SECOND_NS
from moorage.runtime.transitions import RUN_DECIDE, Ruling, RunInput

from tests.runtime.bench import GRACE, Bench, types

PROBLEM = {"code": "agent_failed", "message": "boom"}


# ---- starting ----


def test_starting_records_the_attempt_and_asks_for_the_agent() -> None:
    bench = Bench()
    bench.submit()

    step = bench.start()

    assert [(event.type, event.run_id, event.data) for event in step.events] == [
        ("run_started", "A", {"attempt": 1})
    ]
    assert step.effects == [StartRun("A")]


def test_the_limits_of_a_start_are_armed_with_it() -> None:
    bench = Bench()
    bench.submit(timeout_seconds=60.0, silence_seconds_max=7.0)

    step = bench.start()

    assert step.effects == [
        StartRun("A"),
        ArmTimer("A", "attempt", 1, 60.0),
        ArmTimer("A", "silence", 1, 7.0),
    ]


@pytest.mark.promise(2)
def test_runs_start_in_order_of_acceptance_and_no_more_than_there_are_slots() -> None:
    bench = Bench(slots=2)
    for run_id in "ABC":
        bench.submit(run_id)

    started = []
    while bench.machine.startable():
        started.append(bench.machine.next_run().run_id)
        bench.start()

    assert started == ["A", "B"]
    bench.end("returned", "A")
    assert bench.machine.startable()
    assert bench.machine.next_run().run_id == "C"


@pytest.mark.promise(6)
def test_a_run_that_is_being_cancelled_holds_its_slot_until_its_task_has_ended() -> None:
    bench = Bench().running("A")
    bench.submit("B")

    bench.do(Cancel(run_id="A"))
    assert not bench.machine.startable()

    bench.end("stopped", "A")
    assert bench.machine.startable()


def test_nothing_starts_while_paused_draining_or_without_work() -> None:
    bench = Bench()
    assert not bench.machine.startable()

    bench.submit()
    bench.machine.draining = "keep"
    assert not bench.machine.startable()

    bench.machine.draining = "finish"
    assert bench.machine.startable()

    bench.do(Pause())
    assert not bench.machine.startable()


def test_a_run_without_an_agent_here_fails_and_never_starts() -> None:
    bench = Bench()
    bench.submit()
    problem = {"code": "agent_unknown", "message": "no agent named 'x'"}

    step = bench.keep(bench.machine.reject(problem, bench.now_ns))

    assert (types(step), step.effects) == (["run_failed"], [])
    assert step.events[0].data["error"] == problem
    assert "started_at_ns" not in step.events[0].data


def test_time_never_goes_back_within_a_session() -> None:
    bench = Bench()
    bench.submit()
    bench.now -= 500

    step = bench.start()

    assert step.events[0].time_ns == bench.log[-2].time_ns


def test_seqs_given_to_agents_events_are_not_given_again() -> None:
    bench = Bench().running("A")
    head_seq = bench.machine.image.head_seq

    bench.machine.pass_over(5)

    assert bench.end("returned").events[0].seq == head_seq + 6


# ---- ends of tasks ----


def test_a_returned_run_is_completed_with_all_that_its_outcome_tells() -> None:
    bench = Bench().running("A")
    bench.now += 3

    event = bench.end("returned", output={"a": 1}, usage={"tokens": 5}).events[0]

    assert event.type == "run_completed"
    assert event.data == {
        "attempt": 1,
        "submitted_at_ns": 1_000 * SECOND_NS,
        "started_at_ns": 1_000 * SECOND_NS,
        "output": {"a": 1},
        "usage": {"tokens": 5},
    }
    assert event.time_ns == 1_003 * SECOND_NS


def test_a_run_that_raised_is_failed_and_never_retried_by_the_core() -> None:
    bench = Bench().running("A", on_interrupt="requeue")

    event = bench.end("raised", problem=PROBLEM).events[0]

    assert (event.type, event.data["error"]) == ("run_failed", PROBLEM)
    assert not bench.machine.startable()


def test_a_task_that_was_stopped_by_nobody_we_know_counts_as_interrupted() -> None:
    assert types(Bench().running("A").end("stopped")) == ["run_interrupted"]
    assert types(Bench().running("A", on_interrupt="requeue").end("stopped")) == ["run_requeued"]


@pytest.mark.promise(6)
@pytest.mark.parametrize("how", ["returned", "raised", "parked", "stopped"])
def test_a_cancelled_run_ends_cancelled_whatever_its_task_did(how: str) -> None:
    bench = Bench().running("A", on_interrupt="requeue")
    bench.do(Cancel(run_id="A", reason="enough"))

    step = bench.end(how, output=1, problem=PROBLEM, name="n", usage={"tokens": 5})

    assert types(step) == ["run_cancelled"]
    assert step.events[0].data["error"] == {"code": "run_cancelled", "message": "enough"}
    assert step.events[0].data["usage"] == {"tokens": 5}


@pytest.mark.promise(6)
@pytest.mark.parametrize("how", ["returned", "raised", "parked", "stopped"])
def test_a_run_over_its_time_ends_timed_out_whatever_its_task_did(how: str) -> None:
    bench = Bench().running("A", timeout_seconds=60.0)
    bench.expire("attempt", 1)

    step = bench.end(how, output=1, problem=PROBLEM, name="n")

    assert types(step) == ["run_timed_out"]
    assert step.events[0].data["error"]["code"] == "run_timeout"


@pytest.mark.promise(3)
def test_the_end_of_a_task_that_is_told_late_or_twice_is_ignored() -> None:
    bench = Bench().running("A")
    bench.submit("B")

    assert types(bench.end("returned", "A", attempt=2)) == []
    assert types(bench.end("returned", "B", attempt=0)) == []
    assert types(bench.end("returned", "unknown")) == []
    assert types(bench.end("returned", "A")) == ["run_completed"]
    assert types(bench.end("raised", "A", problem=PROBLEM)) == []


# ---- parking ----


def test_a_parked_run_waits_without_a_slot_and_without_a_clock() -> None:
    bench = Bench().running("A", timeout_seconds=60.0)
    bench.submit("B")
    bench.now += 20

    step = bench.park()

    assert step.events[0].data == {"name": "n", "data": "ask", "elapsed_ns": 20 * SECOND_NS}
    assert bench.state() is RunState.WAITING
    assert bench.machine.startable()
    assert types(bench.expire("attempt", 1)) == []
    assert bench.state() is RunState.WAITING


def test_an_answered_run_goes_on_in_front_with_the_rest_of_its_time() -> None:
    bench = Bench().running("A", timeout_seconds=60.0)
    bench.now += 20
    bench.park()
    bench.submit("B")
    bench.now += 3_600

    bench.do(AnswerRun(run_id="A", name="n", value="yes"))
    step = bench.start()

    assert step.events[0].run_id == "A"
    assert step.events[0].data == {"attempt": 1}
    assert step.effects == [StartRun("A"), ArmTimer("A", "attempt", 2, 40.0)]


def test_time_used_up_over_several_starts_of_an_attempt_adds_up() -> None:
    bench = Bench().running("A", timeout_seconds=60.0)
    for _ in range(2):
        bench.now += 25
        bench.park()
        bench.do(AnswerRun(run_id="A", name="n", value="yes"))
        step = bench.start()

    assert step.effects[1] == ArmTimer("A", "attempt", 3, 10.0)

    bench.now += 25
    bench.park()
    bench.do(AnswerRun(run_id="A", name="n", value="yes"))
    assert bench.start().effects[1] == ArmTimer("A", "attempt", 4, 0.0)


def test_a_timer_from_before_a_run_parked_says_nothing_about_its_next_start() -> None:
    bench = Bench().running("A", timeout_seconds=10.0)
    bench.now += 2
    bench.park()
    bench.do(AnswerRun(run_id="A", name="n", value="yes"))
    bench.start()
    bench.now += 8

    assert types(bench.expire("attempt", 1)) == []
    assert types(bench.expire("attempt", 2)) == ["run_cancel_requested"]


def test_an_interrupted_run_that_parks_waits_all_the_same() -> None:
    bench = Bench().running("A")
    bench.machine.interrupt_running()

    assert types(bench.park()) == ["run_waiting"]
    assert bench.machine.interrupting == set()


# ---- limits of time ----


def test_a_run_that_queued_too_long_never_starts() -> None:
    bench = Bench()
    step = bench.submit(queue_seconds_max=9.0)
    assert step.effects == [ArmTimer("A", "queue", 0, 9.0)]

    step = bench.expire("queue", 0)

    assert types(step) == ["run_timed_out"]
    assert step.events[0].data["error"] == {
        "code": "queue_timeout",
        "message": "queue_seconds_max of 9.0 s is over",
    }
    assert bench.state() is None


def test_the_limit_of_the_queue_means_nothing_to_a_run_that_has_started() -> None:
    bench = Bench().running("A", queue_seconds_max=9.0)

    assert types(bench.expire("queue", 0)) == []
    assert types(bench.expire("queue", 1)) == []


@pytest.mark.parametrize(
    ("kind", "code", "name"),
    [
        ("attempt", "run_timeout", "timeout_seconds"),
        ("silence", "silence_timeout", "silence_seconds_max"),
    ],
)
def test_a_running_run_over_a_limit_is_stopped(kind: str, code: str, name: str) -> None:
    bench = Bench().running("A", timeout_seconds=8.0, silence_seconds_max=8.0)

    step = bench.expire(kind, 1)

    assert step.events[0].data == {
        "cause": "run_timed_out",
        "error": {"code": code, "message": f"{name} of 8.0 s is over"},
    }
    assert step.effects == [StopRun("A"), ArmTimer("A", "grace", 1, GRACE)]


def test_a_limit_that_runs_out_late_is_ignored() -> None:
    bench = Bench().running("A", timeout_seconds=8.0, on_interrupt="requeue")

    assert types(bench.expire("attempt", 1, "unknown")) == []
    bench.end("stopped")
    assert types(bench.expire("attempt", 1)) == []
    bench.start()
    assert types(bench.expire("attempt", 1)) == []
    bench.do(Cancel(run_id="A"))
    assert types(bench.expire("attempt", 2)) == []


# ---- unresponsive agents ----


@pytest.mark.promise(6)
def test_an_agent_that_ignores_its_cancellation_is_reported_and_keeps_its_slot() -> None:
    bench = Bench().running("A")
    bench.submit("B")
    bench.do(Cancel(run_id="A"))

    step = bench.keep(bench.machine.unresponsive("A", 1, bench.now_ns))

    assert step.answer is True
    assert (types(step), step.events[0].run_id) == (["error_occurred"], "A")
    assert step.events[0].data["code"] == "agent_unresponsive"
    assert bench.state() is RunState.CANCELLING
    assert not bench.machine.startable()


def test_an_interrupted_agent_is_reported_too() -> None:
    bench = Bench().running("A")
    bench.machine.interrupt_running()

    assert bench.machine.unresponsive("A", 1, bench.now_ns).answer is True


def test_nobody_is_reported_who_ended_in_time_or_was_not_asked_to() -> None:
    bench = Bench(slots=2).running("A").running("B", on_interrupt="requeue")
    bench.machine.interrupt_running()
    bench.end("stopped", "B")
    bench.start()

    for run_id, start in (("B", 1), ("B", 2), ("unknown", 1)):
        step = bench.machine.unresponsive(run_id, start, bench.now_ns)
        assert (step.answer, step.events) == (False, [])


# ---- interruption ----


def test_interrupting_asks_each_running_task_once() -> None:
    bench = Bench(slots=3).running("A").running("B").running("C")
    bench.do(Cancel(run_id="B"))

    step = bench.machine.interrupt_running()

    assert step.events == []
    assert [effect for effect in step.effects if isinstance(effect, StopRun)] == [
        StopRun("A"),
        StopRun("C"),
    ]
    assert ArmTimer("A", "grace", 1, GRACE) in step.effects
    assert bench.machine.interrupt_running().effects == []


@pytest.mark.promise(4)
@pytest.mark.parametrize("how", ["stopped", "raised"])
def test_a_run_that_gives_way_to_an_interruption_is_interrupted_or_requeued(how: str) -> None:
    bench = Bench(slots=2).running("A", on_interrupt="requeue").running("B")
    bench.machine.interrupt_running()

    requeued = bench.end(how, "A", problem=PROBLEM).events[0]
    interrupted = bench.end(how, "B", problem=PROBLEM, usage={"tokens": 1}).events[0]

    assert (requeued.type, requeued.data) == ("run_requeued", {"attempt": 1})
    assert interrupted.type == "run_interrupted"
    assert interrupted.data["error"]["retryable"] is True
    assert interrupted.data["usage"] == {"tokens": 1}


def test_a_run_that_finishes_while_it_is_being_interrupted_has_finished() -> None:
    bench = Bench().running("A")
    bench.machine.interrupt_running()

    assert types(bench.end("returned", output=1)) == ["run_completed"]


@pytest.mark.promise(6)
def test_cancelling_an_interrupted_run_decides_its_outcome() -> None:
    bench = Bench().running("A", on_interrupt="requeue")
    bench.machine.interrupt_running()

    assert bench.do(Cancel(run_id="A")).answer is True
    assert types(bench.end("stopped")) == ["run_cancelled"]


# ---- recovery ----


@pytest.mark.promise(4)
def test_what_ran_at_the_crash_is_interrupted_or_goes_back_to_the_front() -> None:
    bench = Bench(slots=3)
    bench.running("A").running("B", on_interrupt="requeue").running("C", on_interrupt="requeue")
    bench.submit("D")

    step = bench.crash()

    assert [(event.type, event.run_id) for event in step.events] == [
        ("session_recovered", None),
        ("run_interrupted", "A"),
        ("run_requeued", "B"),
        ("run_requeued", "C"),
    ]
    assert step.events[0].data == {"requeued": 2, "ended": 1}
    assert bench.machine.image.queued() == ("B", "C", "D")


@pytest.mark.promise(4)
def test_a_run_is_started_no_more_often_than_attempts_max() -> None:
    bench = Bench().running("A", on_interrupt="requeue", attempts_max=2)

    assert types(bench.crash()) == ["session_recovered", "run_requeued"]
    assert bench.start().events[0].data == {"attempt": 2}
    assert types(bench.crash()) == ["session_recovered", "run_interrupted"]


@pytest.mark.promise(6)
@pytest.mark.parametrize(("kind", "type"), [("cancel", "run_cancelled"), ("", "run_timed_out")])
def test_what_was_durably_asked_for_is_the_outcome_whatever_crashes(kind: str, type: str) -> None:
    bench = Bench().running("A", on_interrupt="requeue", timeout_seconds=9.0)
    if kind == "cancel":
        bench.do(Cancel(run_id="A", reason="enough"))
    else:
        bench.expire("attempt", 1)
    error = bench.log[-1].data["error"]

    step = bench.crash()

    assert types(step) == ["session_recovered", type]
    assert step.events[0].data == {"requeued": 0, "ended": 1}
    assert step.events[1].data["error"] == error


def test_a_crash_while_nothing_ran_leaves_no_trace() -> None:
    bench = Bench().running("A")
    bench.park()
    bench.submit("B")

    step = bench.crash()

    assert step == Step([], [])
    assert (bench.state("A"), bench.state("B")) == (RunState.WAITING, RunState.QUEUED)


@pytest.mark.parametrize("limit", [30.0, 0.0])
def test_the_rest_of_the_queues_limit_survives_a_restart(limit: float) -> None:
    bench = Bench()
    bench.submit("A", queue_seconds_max=limit)
    bench.submit("B")
    bench.now += 12

    step = bench.crash()

    assert step.effects == [ArmTimer("A", "queue", 0, max(limit - 12.0, 0.0))]


def test_a_requeued_run_is_no_longer_under_the_queues_limit() -> None:
    bench = Bench().running("A", on_interrupt="requeue", queue_seconds_max=30.0)

    assert bench.crash().effects == []


def test_a_quarantined_session_settles_what_ran_and_is_lifted_by_one_recovery() -> None:
    bench = Bench().running("A")
    image = bench.machine.image
    data = {"reason": "crashed", "state_before": "open"}
    event = Event("s", image.head_seq + 1, bench.now_ns, "session_quarantined", None, data)
    bench.log.append(event)

    step = bench.crash()

    assert types(step) == ["run_interrupted"]
    assert types(bench.do(LiftQuarantine())) == ["session_recovered"]


@pytest.mark.promise(4)
def test_recovering_from_a_snapshot_is_recovering_from_the_log() -> None:
    bench = Bench(slots=2).running("A", on_interrupt="requeue").running("B")
    bench.submit("C", queue_seconds_max=5.0)
    snapshot = decode_struct(encode_struct(bench.machine.image), SessionImage)
    other = SessionMachine(snapshot, SupervisorLimits())

    assert other.recover(bench.now_ns) == bench.crash()
    assert other.image == bench.machine.image


# ---- the tables ----


def bench_in(state: RunState) -> Bench:
    bench = Bench()
    if state is RunState.QUEUED:
        bench.submit(queue_seconds_max=9.0)
        return bench
    bench.running("A", timeout_seconds=9.0)
    if state is RunState.WAITING:
        bench.park()
    elif state is RunState.CANCELLING:
        bench.do(Cancel(run_id="A"))
    return bench


SIGNALS = {
    RunInput.SUCCEED: "returned",
    RunInput.FAIL: "raised",
    RunInput.PARK: "parked",
    RunInput.INTERRUPT: "stopped",
}


@pytest.mark.parametrize("input", [*SIGNALS, RunInput.EXPIRE_QUEUE, RunInput.EXPIRE_RUN])
@pytest.mark.parametrize(
    "state", [RunState.QUEUED, RunState.RUNNING, RunState.WAITING, RunState.CANCELLING]
)
def test_a_signal_does_what_the_table_says(state: RunState, input: RunInput) -> None:
    bench = bench_in(state)
    run = bench.machine.image.runs["A"]

    if input in SIGNALS:
        step = bench.end(SIGNALS[input], attempt=run.attempt, problem=PROBLEM, name="n")
    else:
        kind = "queue" if input is RunInput.EXPIRE_QUEUE else "attempt"
        step = bench.expire(kind, run.starts)

    ruling = RUN_DECIDE[state][input]
    if ruling is Ruling.BY_CAUSE:
        assert types(step) == ["run_cancelled"]
    else:
        assert types(step) == ([ruling] if isinstance(ruling, str) else [])


def test_a_ruling_that_the_shell_must_not_meet_is_a_defect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench().running("A")
    row: Any = RUN_DECIDE[RunState.RUNNING]
    monkeypatch.setitem(row, RunInput.INTERRUPT, Ruling.ILLEGAL)

    with pytest.raises(MachineFault, match="A in running cannot be interrupted"):
        bench.end("stopped")


def test_an_input_that_is_illegal_in_a_state_is_a_defect() -> None:
    bench = Bench().running("A")

    with pytest.raises(MachineFault, match="SUBMIT in state running"):
        bench.submit("A")


# ---- closing and keys ----


@pytest.mark.parametrize(("reason", "recorded"), [("no money", {"reason": "no money"}), (None, {})])
def test_a_forced_close_takes_effect_when_the_last_run_has_ended(
    reason: str | None, recorded: dict[str, str]
) -> None:
    bench = Bench(slots=2).running("A").running("B")
    bench.do(Close(force=True, outcome="failed", reason=reason))

    assert types(bench.end("stopped", "A")) == ["run_cancelled"]
    step = bench.end("stopped", "B")

    assert types(step) == ["run_cancelled", "session_closed"]
    assert step.events[1].data == {"outcome": "failed", **recorded}


@pytest.mark.promise(11)
def test_the_end_of_a_run_that_was_a_message_is_remembered_like_that_of_one_with_a_key() -> None:
    bench = Bench()
    message = Steer(
        run_id="A", steer_id="M", message="left", size_bytes=5, ended=True, checked_at=1
    )
    answers = [bench.do(message).answer]
    bench.start()
    bench.end("returned", "M")

    answers.append(bench.do(message).answer)

    assert answers == [False, None]


def test_keys_of_finished_runs_that_are_forgotten_are_looked_up_again() -> None:
    bench = Bench(slots=FINISHED_KEYS_MAX + 1)
    head_seq = bench.machine.image.head_seq
    for number in range(FINISHED_KEYS_MAX + 1):
        bench.submit(f"r{number}", key=f"k{number}")
        bench.start()
        bench.end("returned", f"r{number}")
    first_end = bench.log[3].seq

    def ask(key: str, checked_at: int) -> object:
        return bench.submit("new", key=key, key_checked_at=checked_at).answer

    assert ask("k0", head_seq) is None
    assert ask(f"k{FINISHED_KEYS_MAX}", head_seq) is None
    assert ask("never used", first_end - 1) is None
    assert ask("never used", first_end) == "new"


# ---- usage over parks and requeues ----


@pytest.mark.parametrize("crash", [False, True])
def test_a_run_has_used_what_all_its_starts_have_used(crash: bool) -> None:
    bench = Bench().running(on_interrupt="requeue")
    bench.end("parked", name="n", usage={"tokens": 5})
    bench.do(AnswerRun(run_id="A", name="n", value=1))
    bench.start()
    bench.end("stopped", usage={"tokens": 7})
    if crash:
        bench.crash()
    bench.start()

    ended = bench.end("returned", attempt=2, usage={"tokens": 11})

    assert ended.events[0].data["usage"] == {"tokens": 23}


def test_a_run_that_is_cancelled_while_it_waits_has_used_what_it_had() -> None:
    bench = Bench().running()
    bench.end("parked", name="n", usage={"tokens": 5})

    cancelled = bench.do(Cancel(run_id="A"))

    assert cancelled.events[0].data["usage"] == {"tokens": 5}
