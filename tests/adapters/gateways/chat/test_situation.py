from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.gateways.chat.situation import Phase, Press, Question, Situation
from moorage.runtime import Event, SessionState, SessionStatus


def event(type: str, run_id: str | None = "r", **data: Any) -> Event:
    return Event("s", 1, 0, type, run_id, data)


def after(*events: Event) -> Situation:
    situation = Situation()
    for one in events:
        situation.apply(one)
    return situation


SUBMITTED = event("run_submitted", input="x")
STARTED = event("run_started", attempt=1)
ASKED = event("run_asked", name="approval:c", data={"tool_name": "t"})
WAITING = event("run_waiting", name="approval:c", data={"tool_name": "t"})
RUNNING = (SUBMITTED, STARTED)


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        ([], Phase.IDLE),
        ([SUBMITTED], Phase.BUSY),
        ([*RUNNING], Phase.BUSY),
        ([*RUNNING, ASKED], Phase.ASKING),
        ([*RUNNING, ASKED, event("run_answered", name="approval:c", value=1)], Phase.BUSY),
        ([*RUNNING, WAITING], Phase.ASKING),
        ([*RUNNING, WAITING, event("run_resumed", name="approval:c", value=1)], Phase.BUSY),
        ([*RUNNING, WAITING, event("run_cancelled")], Phase.IDLE),
        ([*RUNNING, ASKED, event("run_requeued", attempt=1)], Phase.BUSY),
        ([*RUNNING, event("run_cancel_requested")], Phase.BUSY),
        ([*RUNNING, ASKED, event("run_cancel_requested")], Phase.BUSY),
        ([*RUNNING, event("run_completed")], Phase.IDLE),
        ([event("message_sent", run_id=None)], Phase.IDLE),
    ],
)
def test_what_can_be_done_follows_from_what_has_happened(events, phase):
    assert phase is after(*events).phase


def test_a_question_says_what_to_answer_it_with():
    situation = after(*RUNNING, ASKED)

    assert situation.question == Question("r", "approval:c", {"tool_name": "t"})
    assert situation.question.request_id == "r:c"
    assert situation.question.is_approval


@pytest.mark.parametrize(
    ("name", "is_approval"), [("approval", True), ("approvals", False), ("color", False)]
)
def test_what_is_no_tools_request_has_no_request_id(name, is_approval):
    question = Question("r", name, None)

    assert question.request_id is None
    assert is_approval is question.is_approval


def test_questions_are_asked_in_the_order_in_which_they_came():
    situation = after(*RUNNING, ASKED, event("run_asked", name="approval:d", data=None))

    first = situation.question
    situation.answered(first, accepted=True)

    assert [first.name, situation.question.name] == ["approval:c", "approval:d"]


def test_an_answered_run_counts_as_under_way_until_the_log_says_so():
    situation = after(*RUNNING, WAITING)

    situation.answered(situation.question, accepted=True)

    assert situation.phase is Phase.BUSY
    for type in ("run_resumed", "run_started", "run_completed"):
        situation.apply(event(type, name="approval:c"))
    assert situation.phase is Phase.IDLE


def test_an_answer_that_was_not_accepted_changes_nothing_but_that_it_is_not_asked_again():
    situation = after(*RUNNING, WAITING)

    situation.answered(situation.question, accepted=False)

    assert situation.phase is Phase.IDLE


def test_an_answer_that_the_log_has_already_waits_for_nothing():
    situation = after(*RUNNING, WAITING)
    question = situation.question
    for type in ("run_resumed", "run_started", "run_completed"):
        situation.apply(event(type, name="approval:c"))

    situation.answered(question, accepted=True)

    assert situation.phase is Phase.IDLE


def test_it_begins_with_what_was_left():
    status = SessionStatus(
        "s", SessionState.OPEN, 9, 1, ("a",), ("b",), ("c",), 1_000, cancelling=("a",)
    )
    asked = [
        event("run_waiting", "c", name="approval:1", data={}),
        event("run_resumed", "c", name="approval:1", value=True),
        event("run_started", "c"),
        event("run_waiting", "c", name="approval:2", data={}),
        event("run_waiting", "elsewhere", name="approval:3", data={}),
    ]

    situation = Situation()
    situation.begin(status, asked)

    assert [question.name for question in situation.questions] == ["approval:2"]
    assert (list(situation.running), list(situation.queued)) == (["a"], ["b"])
    assert situation.steerable is None
    assert situation.known == {"a", "b", "c"}


def test_what_is_typed_is_for_the_run_that_started_last():
    situation = after(*RUNNING, event("run_submitted", "q"), event("run_started", "q"))

    assert situation.steerable == "q"
    situation.apply(event("run_cancel_requested", "q"))
    assert situation.steerable == "r"


def test_the_ends_of_runs_are_counted():
    situation = after(*RUNNING, event("run_failed"), event("run_completed", "q"))

    assert situation.ended == {"failed": 1, "completed": 1}


@pytest.mark.parametrize(
    ("events", "press"),
    [([], Press.WARN), (RUNNING, Press.CANCEL), ((*RUNNING, WAITING), Press.CANCEL)],
)
def test_ctrl_c_cancels_what_is_under_way_and_a_second_one_soon_after_leaves(events, press):
    situation = after(*events)

    assert [situation.press(10.0), situation.press(11.9)] == [press, Press.LEAVE]


def test_ctrl_c_much_later_is_a_first_one_again():
    situation = after(*RUNNING)

    assert [situation.press(10.0), situation.press(12.5)] == [Press.CANCEL, Press.CANCEL]


def test_ctrl_c_is_a_first_one_again_once_something_was_typed():
    situation = after()
    situation.press(10.0)

    situation.typed()

    assert situation.press(10.5) is Press.WARN


def test_ctrl_c_leaves_however_late_it_is_while_the_cancelled_run_does_not_end():
    situation = after(*RUNNING)
    situation.press(10.0)

    situation.apply(event("run_cancel_requested"))

    assert situation.press(60.0) is Press.LEAVE


def test_what_runs_is_cancelled_and_else_what_asks():
    assert after(*RUNNING).cancellable() == ["r"]
    assert after(*RUNNING, WAITING).cancellable() == ["r"]
    assert after(*RUNNING, WAITING, event("run_started", "q")).cancellable() == ["q"]
    assert after().cancellable() == []
