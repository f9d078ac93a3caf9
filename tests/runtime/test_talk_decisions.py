"""Decisions about what is said to a run on its way: questions, answers with a time, messages."""

from __future__ import annotations

from typing import Any

import pytest
from moorage.runtime.codec import pack
from moorage.runtime.commands import (
    AnswerRun,
    Cancel,
    Close,
    Steer,
)
from moorage.runtime.errors import QueueFull, UnknownRun, UnknownSession
from moorage.runtime.events import TIME_NS_MAX
from moorage.runtime.image import SessionImage
from moorage.runtime.limits import SupervisorLimits
from moorage.runtime.machine import SessionMachine
from moorage.runtime.runs import RunState
from moorage.runtime.steps import (
    ArmTimer,
    AskSignal,
    GiveAnswer,
    MachineFault,
    OfferSteer,
    Step,
)
from moorage.runtime.talk_decisions import SECOND_NS, run_event
from moorage.runtime.transitions import RunInput

from tests.runtime.bench import Bench, types

# ---- questions in the slot, answers with a time ----


def ask(bench: Bench, name: str = "q", run_id: str = "A", attempt: int = 1, **facts: Any) -> Step:
    signal = AskSignal(run_id, attempt, name, {"why": name}, **facts)
    return bench.keep(bench.machine.asked(signal, bench.now_ns))


def timer(step: Step) -> ArmTimer:
    (effect,) = step.effects
    assert isinstance(effect, ArmTimer)
    return effect


def expire_answer(bench: Bench, kind: str, start: int = 1) -> Step:
    return bench.keep(bench.machine.answer_expired("A", kind, start, bench.now_ns))


def test_a_question_leaves_the_run_running_and_its_answer_goes_to_the_task() -> None:
    bench = Bench().running()

    asked = ask(bench)
    answered = bench.do(AnswerRun(run_id="A", name="q", value=7))
    again = bench.do(AnswerRun(run_id="A", name="q", value=8))

    assert [(event.type, event.data) for event in asked.events] == [
        ("run_asked", {"name": "q", "data": {"why": "q"}})
    ]
    assert bench.state() is RunState.RUNNING
    assert answered.answer is True
    assert answered.effects == [GiveAnswer("A", "q", 7)]
    assert again == Step([], [], False)
    assert bench.machine.image.runs["A"].answers == {"q": 7}


def test_a_question_is_answered_by_its_time_unless_somebody_was_faster() -> None:
    bench = Bench().running()
    asked = ask(bench, "slow", timeout_seconds=30.0, default="no")
    quick = ask(bench, "fast", timeout_seconds=30.0, default="no")
    bench.do(AnswerRun(run_id="A", name="fast", value="yes"))

    slow = expire_answer(bench, timer(asked).kind)
    fast = expire_answer(bench, timer(quick).kind)

    assert asked.effects == [ArmTimer("A", f"ask {asked.events[0].seq} slow", 1, 30.0)]
    assert asked.events[0].data["expires_at_ns"] == 1_030 * SECOND_NS
    assert [event.data for event in slow.events] == [
        {"name": "slow", "value": "no", "expired": True}
    ]
    assert slow.effects == [GiveAnswer("A", "slow", "no")]
    assert fast == Step([], [])


def test_who_gave_up_and_asks_again_has_the_whole_time_again() -> None:
    bench = Bench().running()
    first = ask(bench, "a name", timeout_seconds=30.0, default="first")
    second = ask(bench, "a name", timeout_seconds=30.0, default="second")

    early = expire_answer(bench, timer(first).kind)
    due = expire_answer(bench, timer(second).kind)

    assert early == Step([], [])
    assert due.effects == [GiveAnswer("A", "a name", "second")]


def test_a_question_of_a_run_that_ended_or_was_started_again_is_none() -> None:
    bench = Bench().running(on_interrupt="requeue")
    asked = ask(bench, timeout_seconds=1.0)
    bench.end("stopped")
    bench.start()

    late = ask(bench, attempt=1)
    unknown = ask(bench, run_id="B")
    expired = expire_answer(bench, timer(asked).kind, start=1)

    assert (late, unknown, expired) == (Step([], []), Step([], []), Step([], []))


def test_a_question_s_time_ends_nothing_while_its_run_is_queued_again() -> None:
    bench = Bench().running(on_interrupt="requeue")
    asked = ask(bench, timeout_seconds=1.0)
    bench.end("stopped")

    assert expire_answer(bench, timer(asked).kind) == Step([], [])


@pytest.mark.promise(4)
@pytest.mark.parametrize("started", [False, True])
def test_what_a_requeued_run_had_asked_can_be_answered_before_it_asks_again(started: bool) -> None:
    bench = Bench().running(on_interrupt="requeue")
    ask(bench)
    bench.crash()
    if started:
        bench.start()

    wrong = bench.do(AnswerRun(run_id="A", name="other", value=1))
    answered = bench.do(AnswerRun(run_id="A", name="q", value=7))
    again = bench.do(AnswerRun(run_id="A", name="q", value=8))

    assert [step.answer for step in (wrong, answered, again)] == [False, True, False]
    assert types(answered) == ["run_answered"]
    assert bench.machine.image.runs["A"].answers == {"q": 7}
    assert bench.state() is (RunState.RUNNING if started else RunState.QUEUED)


def test_nobody_asks_while_being_cancelled() -> None:
    bench = Bench().running()
    bench.do(Cancel(run_id="A"))

    assert ask(bench) == Step([], [])


@pytest.mark.parametrize("seconds", [1e11, 1e300])
def test_a_limit_of_time_beyond_all_times_is_the_last_time_there_is(seconds: float) -> None:
    bench = Bench().running("A")
    asked = ask(bench, timeout_seconds=seconds)
    parked = bench.end("parked", name="n", timeout_seconds=seconds)

    for step in (asked, parked):
        assert step.events[0].data["expires_at_ns"] == TIME_NS_MAX
        assert pack(step.events[0].data)


def test_a_parked_run_is_answered_by_its_time_also_after_a_crash() -> None:
    bench = Bench().running()
    parked = bench.end("parked", name="n", output=1, timeout_seconds=60.0, default="no")
    waits = bench.machine.image.timed_waits
    bench.now += 45

    recovered = bench.crash()
    bench.now += 15
    resumed = expire_answer(bench, "answer")

    assert parked.effects == [ArmTimer("A", "answer", 1, 60.0)]
    assert waits == 1
    assert recovered.effects == [ArmTimer("A", "answer", 1, 15.0)]
    assert [(event.type, event.data) for event in resumed.events] == [
        ("run_resumed", {"name": "n", "value": "no", "expired": True})
    ]
    assert bench.machine.image.timed_waits == 0
    assert bench.state() is RunState.QUEUED


def test_a_parked_run_is_answered_under_its_own_name() -> None:
    bench = Bench().running()
    bench.park()

    wrong = bench.do(AnswerRun(run_id="A", name="other", value=1))
    right = bench.do(AnswerRun(run_id="A", name="n", value=7))

    assert (wrong.answer, right.answer, types(right)) == (False, True, ["run_resumed"])


def test_a_parked_run_without_a_limit_arms_nothing_and_waits_for_ever() -> None:
    bench = Bench().running()

    parked = bench.park()

    assert (parked.effects, bench.crash().effects) == ([], [])
    assert bench.machine.image.timed_waits == 0


# ---- messages to a running run ----


def steer(bench: Bench, steer_id: str = "M", *, steerable: bool = True, run_id: str = "A") -> Step:
    message = f"say {steer_id}"
    return bench.do(
        Steer(run_id=run_id, steer_id=steer_id, message=message, size_bytes=5, steerable=steerable)
    )


def take(bench: Bench, steer_id: str = "M") -> Step:
    return bench.keep(bench.machine.taken("A", steer_id, bench.now_ns))


def test_a_message_is_offered_to_the_run_and_counted_until_it_is_taken() -> None:
    bench = Bench().running()
    image = bench.machine.image

    steered = steer(bench)
    counted = image.steers, image.queue_bytes
    taken = take(bench)
    again = take(bench)

    assert steered.answer is True
    assert steered.effects == [OfferSteer("A", "M", "say M")]
    assert counted == (1, 2 + 5)
    assert types(taken) == ["run_steer_taken"]
    assert again == Step([], [])
    assert (image.steers, image.queue_bytes) == (0, 2)
    assert types(bench.end("returned")) == ["run_completed"]


@pytest.mark.parametrize("how", ["returned", "raised", "stopped"])
def test_a_message_that_nobody_took_becomes_a_run_when_its_run_ends(how: str) -> None:
    bench = Bench().running(agent="coder")
    steer(bench, "M")
    steer(bench, "N")
    take(bench, "M")

    ended = bench.end(how, problem={"code": "x", "message": "y"})

    assert types(ended)[1:] == ["run_submitted"]
    queued = bench.machine.image.runs["N"]
    assert (queued.input, queued.agent, queued.metadata) == (
        "say N",
        "coder",
        {"steer_of": "A"},
    )
    assert bench.machine.image.queued() == ("N",)
    assert (bench.machine.image.steers, bench.machine.image.queue_bytes) == (0, 5)


@pytest.mark.promise(4)
@pytest.mark.parametrize("how", ["raised", "stopped"])
def test_a_message_that_was_taken_and_not_told_becomes_a_run_too(how: str) -> None:
    bench = Bench().running()
    steer(bench)

    ended = bench.end(how, problem={"code": "x", "message": "y"}, untold=("M",))

    assert types(ended)[1:] == ["run_submitted"]


@pytest.mark.parametrize("how", ["parked", "stopped"])
def test_a_message_that_was_taken_and_not_told_is_offered_to_the_next_start(how: str) -> None:
    bench = Bench().running(on_interrupt="requeue")
    steer(bench)

    bench.end(how, name="n", untold=("M",))

    assert bench.machine.image.runs["A"].steers == {"M": "say M"}


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_message_is_over_with_the_agent_that_took_it_and_returned_or_was_cancelled(
    cancelled: bool,
) -> None:
    bench = Bench().running()
    steer(bench)
    if cancelled:
        bench.do(Cancel(run_id="A"))

    ended = bench.end("stopped" if cancelled else "returned", untold=("M", "unknown"))

    assert types(ended) == ["run_steer_taken", "run_cancelled" if cancelled else "run_completed"]
    assert bench.machine.image.runs == {}


def test_what_a_run_that_is_over_tells_changes_nothing() -> None:
    bench = Bench().running()
    steer(bench)
    bench.end("raised", problem={"code": "x", "message": "y"})

    assert take(bench) == Step([], [])


def test_a_message_for_an_id_that_is_a_run_already_is_a_defect() -> None:
    with pytest.raises(MachineFault, match="SUBMIT in state running"):
        run_event(RunState.RUNNING, RunInput.SUBMIT)


def test_a_message_to_an_agent_that_takes_none_is_queued_at_once() -> None:
    bench = Bench().running(agent="coder")

    step = steer(bench, steerable=False)

    assert step.answer is False
    assert types(step) == ["run_submitted"]
    assert bench.machine.image.runs["M"].agent == "coder"


def test_a_message_waits_for_the_next_attempt_of_a_run_that_is_requeued() -> None:
    bench = Bench().running(on_interrupt="requeue")
    steer(bench)

    bench.crash()
    late = take(bench)
    bench.start()

    assert late == Step([], [])
    assert bench.machine.image.runs["A"].steers == {"M": "say M"}


def test_a_message_that_was_taken_as_the_run_was_cancelled_is_not_queued_too() -> None:
    bench = Bench().running()
    steer(bench)
    bench.do(Cancel(run_id="A"))

    take(bench)

    assert types(bench.end("stopped")) == ["run_cancelled"]


def test_a_message_nobody_took_ends_with_its_session() -> None:
    bench = Bench().running()
    steer(bench)
    bench.do(Close(force=True))

    ended = bench.end("stopped")

    assert types(ended) == ["run_cancelled", "run_submitted", "run_cancelled", "session_closed"]


def test_several_messages_nobody_took_end_with_their_session_and_none_behind_it() -> None:
    bench = Bench().running()
    steer(bench, "M")
    steer(bench, "N")
    bench.do(Close(force=True))

    ended = bench.end("stopped")

    assert types(ended)[-1] == "session_closed"
    assert types(ended).count("session_closed") == 1
    assert bench.machine.image.runs == {}
    assert bench.machine.image.counts["cancelled"] == 3


def test_messages_need_the_room_that_they_would_take_as_runs() -> None:
    bench = Bench()
    bench.machine = SessionMachine(bench.machine.image, SupervisorLimits(runs_queued_max=2))
    bench.running()
    bench.submit("B")
    steer(bench)

    with pytest.raises(QueueFull) as refused:
        steer(bench, "N")
    with pytest.raises(QueueFull):
        bench.submit("C")

    assert (refused.value.queued, refused.value.limit) == (2, 2)


def test_steering_needs_a_run_that_exists_in_a_session_that_is_open() -> None:
    bench = Bench().running()

    with pytest.raises(UnknownRun):
        steer(bench, run_id="B")
    with pytest.raises(UnknownSession):
        SessionMachine(SessionImage("x"), SupervisorLimits()).handle(
            Steer(run_id="A", steer_id="M", message=1, size_bytes=1), 1
        )
