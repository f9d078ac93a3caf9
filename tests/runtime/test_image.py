"""The image folds events into a session's state, the same for live handling and replay."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moorage.runtime.codec import decode_struct, encode_struct, pack, unpack
from moorage.runtime.events import Event
from moorage.runtime.image import SessionImage
from moorage.runtime.runs import RunState
from moorage.runtime.sessions import SessionState


class Log:
    """Writes events for an image, one nanosecond apart."""

    def __init__(self) -> None:
        self.image = SessionImage("s")
        self.events: list[Event] = []

    def add(self, type: str, run_id: str | None = None, /, **data: Any) -> Log:
        seq = len(self.events) + 1
        event = Event("s", seq, 100 + seq, type, run_id, data)
        self.events.append(event)
        self.image.apply(event)
        return self

    def submit(self, *run_ids: str, **spec: Any) -> Log:
        for run_id in run_ids:
            self.add("run_submitted", run_id, **{"input": run_id, "input_bytes": 3, **spec})
        return self

    def start(self, run_id: str, attempt: int = 1) -> Log:
        return self.add("run_started", run_id, attempt=attempt)


def opened(**data: Any) -> Log:
    return Log().add("session_opened", **data)


def test_an_opened_session_has_what_it_was_opened_with() -> None:
    image = opened(slots=3, tags={"a": "b"}, metadata={"c": 1}, summary="a talk").image

    assert (image.state, image.slots, image.summary) == (SessionState.OPEN, 3, "a talk")
    assert (image.tags, image.metadata) == ({"a": "b"}, {"c": 1})
    assert (image.created_at_ns, image.head_seq, image.last_time_ns) == (101, 1, 101)


def test_configuring_changes_what_it_names_and_keeps_the_rest() -> None:
    image = opened(slots=3, tags={"a": "b"}).add("session_configured", metadata={"c": 1}).image

    assert (image.slots, image.tags, image.metadata) == (3, {"a": "b"}, {"c": 1})


def test_a_close_keeps_its_outcome_and_reason_until_the_session_is_reopened() -> None:
    log = opened().add("session_closed", outcome="failed", reason="no money")
    closed = (log.image.state, log.image.outcome, log.image.reason)

    reopened = log.add("session_reopened").image

    assert closed == (SessionState.CLOSED, "failed", "no money")
    assert (reopened.state, reopened.outcome, reopened.reason) == (SessionState.OPEN, None, None)


def test_pausing_and_resuming_change_the_state_alone() -> None:
    log = opened().add("session_paused")

    assert log.image.state is SessionState.PAUSED
    assert log.add("session_resumed").image.state is SessionState.OPEN


def test_a_quarantine_remembers_how_the_session_was_closed() -> None:
    log = opened().add("session_closed", outcome="failed", reason="no money")

    image = log.add("session_quarantined", reason="crashed", state_before="closed").image

    assert (image.state, image.reason) == (SessionState.QUARANTINED, "crashed")
    assert (image.state_before, image.outcome) == (SessionState.CLOSED, "failed")
    assert image.reason_before == "no money"


def test_a_run_is_known_from_its_submission_to_its_end_and_counted_for_ever() -> None:
    log = opened().submit("A")
    assert log.image.queued() == ("A",)
    assert log.image.queue_bytes == 3

    log.start("A")
    assert log.image.in_state(RunState.RUNNING) == ("A",)
    assert log.image.queued() == ()

    log.add("run_completed", "A", attempt=1, output=None)
    assert (log.image.runs, log.image.queue_bytes) == ({}, 0)
    assert log.image.info().runs == {"completed": 1}


def test_a_run_that_comes_back_stands_where_its_acceptance_puts_it() -> None:
    log = opened(slots=3).submit("A", "B", "C", "D")
    log.start("A").start("B").start("C")

    log.add("run_requeued", "C", attempt=1)
    log.add("run_requeued", "A", attempt=1)
    log.add("run_requeued", "B", attempt=1)

    assert log.image.queued() == ("A", "B", "C", "D")


def test_a_run_can_leave_the_queue_from_any_place() -> None:
    log = opened().submit("A", "B", "C")

    log.add("run_cancelled", "B", attempt=0, error={})
    assert log.image.queued() == ("A", "C")

    log.add("run_timed_out", "A", attempt=0, error={})
    assert log.image.queued() == ("C",)


def test_parking_keeps_the_time_used_and_an_answer_goes_on_with_the_attempt() -> None:
    log = opened().submit("A").start("A")
    log.add("run_waiting", "A", name="approval", data=None, elapsed_ns=7)
    run = log.image.runs["A"]
    assert (run.state, run.parked_name, run.elapsed_ns) == (RunState.WAITING, "approval", 7)

    log.add("run_resumed", "A", name="approval", value="yes")
    assert (run.state, run.parked_name, run.answers) == (RunState.QUEUED, None, {"approval": "yes"})

    log.start("A")
    assert (run.attempt, run.starts, run.elapsed_ns, run.resumed) == (1, 2, 7, False)
    assert (run.started_at_ns, run.running_since_ns) == (103, 106)


def test_a_new_attempt_starts_its_time_anew_and_keeps_the_answers() -> None:
    log = opened().submit("A").start("A")
    log.add("run_waiting", "A", name="approval", data=None, elapsed_ns=7)
    log.add("run_resumed", "A", name="approval", value="yes").start("A")

    run = log.add("run_requeued", "A", attempt=1).start("A", attempt=2).image.runs["A"]

    assert (run.attempt, run.starts, run.elapsed_ns) == (2, 3, 0)
    assert (run.started_at_ns, run.answers) == (108, {"approval": "yes"})


def test_a_request_to_end_keeps_the_outcome_to_come() -> None:
    error = {"code": "run_timeout", "message": "too long"}

    log = opened().submit("A").start("A")
    run = log.add("run_cancel_requested", "A", cause="run_timed_out", error=error).image.runs["A"]

    assert (run.state, run.cause, run.problem) == (RunState.CANCELLING, "run_timed_out", error)


def test_events_of_agents_move_the_head_and_nothing_else() -> None:
    image = opened().image
    before = encode_struct(image)

    image.apply(Event("s", 2, 2**62, "message_streamed", "A", {"delta": "x"}))
    moved, image.head_seq = image.head_seq, 1

    assert moved == 2
    assert encode_struct(image) == before


def test_time_does_not_go_back_with_an_event() -> None:
    image = opened().image

    image.apply(Event("s", 2, 5, "session_paused", None, {}))

    assert image.last_time_ns == 101


def test_what_a_newer_version_writes_beside_the_known_is_passed_over() -> None:
    image = opened().submit("A", priority="high").image

    assert image.runs["A"].input == "A"


@pytest.mark.parametrize(
    ("type", "run_id"),
    [
        ("run_started", "unknown"),
        ("run_completed", "A"),
        ("run_submitted", "A"),
        ("session_opened", None),
        ("session_resumed", None),
    ],
)
def test_an_event_that_cannot_follow_raises(type: str, run_id: str | None) -> None:
    log = opened().submit("A")

    with pytest.raises(KeyError):
        log.add(type, run_id, input="again", input_bytes=6, attempt=1)


def test_a_session_that_does_not_exist_has_no_info() -> None:
    with pytest.raises(ValueError, match="'s' does not exist"):
        SessionImage("s").info()


def test_info_tells_what_listings_show() -> None:
    log = opened(slots=2, tags={"a": "b"}).submit("A", "B").start("A")

    info = log.image.info()

    assert (info.id, info.state, info.slots, info.tags) == ("s", SessionState.OPEN, 2, {"a": "b"})
    assert (info.runs, info.active) == ({"queued": 1, "running": 1}, 2)
    assert (info.head_seq, info.created_at_ns, info.modified_at_ns) == (4, 101, 104)
    assert info.summary == "A"


def test_the_first_words_stay_when_more_comes() -> None:
    assert opened().submit("A", "B").image.summary == "A"
    assert opened(summary="set").submit("A").image.summary == "set"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(plain=PLAIN, seconds=st.none() | st.floats(0, 1e6), state=st.sampled_from(RunState))
@settings(max_examples=50, derandomize=True, deadline=None, database=None)
def test_a_snapshot_gives_the_image_that_it_was_taken_of(
    plain: Any, seconds: float | None, state: RunState
) -> None:
    log = opened(slots=2, tags={"a": "b"}, metadata={"any": plain})
    log.submit("A", input=plain, key="k", metadata={"any": plain}, timeout_seconds=seconds)
    log.start("A").add("run_waiting", "A", name="n", data=plain, elapsed_ns=1)
    log.add("run_resumed", "A", name="n", value=plain).submit("B", on_interrupt="requeue")
    image = log.image
    image.state_before, image.outcome, image.reason_before = SessionState.CLOSED, "failed", "why"
    image.runs["A"].state = state
    image.runs["A"].problem = {"code": "c", "details": plain}

    assert decode_struct(encode_struct(image), SessionImage) == image


def test_a_snapshot_keeps_the_order_of_acceptance() -> None:
    image = opened(slots=2).submit("B", "A").start("B").image

    again = decode_struct(encode_struct(image), SessionImage)

    assert list(again.runs) == ["B", "A"]


def test_a_snapshot_of_a_newer_version_is_read_without_what_it_added() -> None:
    fields = unpack(encode_struct(opened().image))

    assert decode_struct(pack({**fields, "mood": "good"}), SessionImage) == opened().image


# ---- questions, messages, waits with a limit ----


def test_a_question_is_open_until_it_is_answered_or_its_run_parks() -> None:
    log = opened().submit("A").start("A").add("run_asked", "A", name="q", data=1, default="no")
    run = log.image.runs["A"]
    open_before = dict(run.asked)

    log.add("run_asked", "A", name="r", data=1).add("run_answered", "A", name="q", value=7)
    open_after, answers = dict(run.asked), run.answers
    log.add("run_requeued", "A", attempt=1)
    requeued = dict(run.asked)
    log.add("run_started", "A", attempt=2).add("run_waiting", "A", name="n", data=1, elapsed_ns=0)

    assert (open_before, open_after, answers) == ({"q": "no"}, {"r": None}, {"q": 7})
    assert requeued == {"r": None}
    assert (run.asked, run.asked_at, run.answers) == ({}, {}, {"q": 7})
    assert log.image.counts == {"queued": 0, "running": 0, "waiting": 1}


def test_messages_count_with_their_run_until_they_are_taken_or_it_ends() -> None:
    log = opened().submit("A").start("A")
    for steer_id in "MN":
        log.add("run_steered", "A", steer_id=steer_id, message="x", message_bytes=5)
    both = log.image.steers, log.image.queue_bytes

    log.add("run_steer_taken", "A", steer_id="M")
    one = log.image.steers, log.image.queue_bytes
    log.add("run_completed", "A", output=None)

    assert (both, one) == ((2, 13), (1, 8))
    assert (log.image.steers, log.image.queue_bytes) == (0, 0)


def test_a_wait_with_a_limit_is_counted_while_it_lasts() -> None:
    log = opened().submit("A", "B").start("A").start("B")
    log.add("run_waiting", "A", name="n", data=1, elapsed_ns=0, expires_at_ns=9, default="no")
    log.add("run_waiting", "B", name="n", data=1, elapsed_ns=0)
    waits = log.image.timed_waits, log.image.info().timed_waits

    log.add("run_resumed", "A", name="n", value=1).add("run_cancelled", "B", error={})

    assert waits == (1, 1)
    assert log.image.timed_waits == 0
    assert log.image.runs["A"].parked_until_ns is None


def test_what_a_run_used_before_it_parked_or_was_requeued_is_kept_with_it() -> None:
    log = opened().submit("A").start("A")
    log.add("run_waiting", "A", name="n", data=1, elapsed_ns=0, usage={"tokens": 5})
    log.add("run_resumed", "A", name="n", value=1).start("A")

    log.add("run_requeued", "A", attempt=1, usage={"tokens": 7})

    assert log.image.runs["A"].usage == {"tokens": 12}


def test_a_deletion_is_folded_in_and_undone() -> None:
    image = SessionImage("s")
    for seq, (type, data) in enumerate(
        [
            ("session_opened", {}),
            ("session_closed", {"outcome": "failed", "reason": "r"}),
            ("session_deleted", {"state_before": "closed"}),
        ],
        1,
    ):
        image.apply(Event("s", seq, 10 * seq, type, None, data))
    deleted = image.info()
    image.apply(Event("s", 4, 40, "session_undeleted", None, {}))

    assert (deleted.state, deleted.closed_at_ns, deleted.deleted_at_ns) == ("closed", 20, 30)
    assert (deleted.outcome, deleted.reason) == ("failed", "r")
    assert (image.state, image.outcome, image.closed_at_ns) == (SessionState.OPEN, None, None)
    assert (image.deleted_at_ns, image.deleted_from) == (None, None)
