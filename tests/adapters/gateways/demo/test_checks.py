from __future__ import annotations

import attrs
import pytest
from moorage.adapters.gateways.demo.checks import CHECKS, Evidence, check_all
from moorage.adapters.gateways.demo.record import Accepted, Delivery, Record, digest_of
from moorage.adapters.sinks import event_to_json
from moorage.runtime import Event

STORY = (
    ("session_opened", None, {}),
    ("run_submitted", "a", {"key": "1"}),
    ("run_started", "a", {"attempt": 1}),
    ("run_submitted", "b", {"key": "2"}),
    ("run_started", "b", {"attempt": 1}),
    ("run_submitted", "c", {"key": "3"}),
    ("run_submitted", "d", {"key": "4"}),
    ("message_streamed", "a", {"delta": "x"}),
    ("run_cancelled", "d", {}),
    ("session_recovered", None, {}),
    ("run_interrupted", "a", {}),
    ("run_requeued", "b", {"attempt": 1}),
    ("run_started", "b", {"attempt": 2}),
    ("run_started", "c", {"attempt": 1}),
    ("run_completed", "c", {}),
    ("run_completed", "b", {}),
)


def log_of(story=STORY):
    return [Event("s", seq, seq, type, run, data) for seq, (type, run, data) in enumerate(story, 1)]


def evidence(log=None):
    """What a good demo leaves: killed behind seq 9, of which 3 was acknowledged last."""
    log = log_of() if log is None else log
    record = Record(
        accepted=[
            Accepted(run_id, "s", str(number), "requeue" if run_id == "b" else "fail")
            for number, run_id in enumerate("abcd", 1)
        ],
        cancelled={"d": True},
        events={("s", event.seq): digest_of(event_to_json(event)) for event in log_of()},
    )
    record.deliveries["s"] = [
        Delivery({0}, list(range(1, 10))),
        Delivery({3, 9}, list(range(4, 17))),
    ]
    started = [("a", 1), ("b", 1), ("b", 2), ("c", 1)]
    return Evidence(record=record, logs={"s": log}, started=started, slots=2)


def broken(made):
    return {finding.claim: finding.problems for finding in check_all(made) if not finding.holds}


def test_a_good_demo_holds_in_every_point_and_counts_what_it_saw():
    findings = check_all(evidence())

    assert [finding.problems for finding in findings] == [[]] * len(CHECKS)
    counts = " | ".join(finding.counts for finding in findings)
    assert "4 accepted, 0 missing" in counts
    assert "16 seen, 0 missing, 0 different" in counts
    assert "1 cancelled while queued, 0 started" in counts
    assert "2 subscriptions, 0 with a gap or a repeat" in counts
    assert "6 events that were not acknowledged came again" in counts
    assert "4 starts, 1 requeued in front" in counts


def without(*seqs):
    return evidence([event for event in log_of() if event.seq not in seqs])


def with_log(edit):
    story = list(STORY)
    edit(story)
    return evidence(log_of(story))


def with_record(**changes):
    made = evidence()
    for name, value in changes.items():
        setattr(made.record, name, value)
    return made


def swap(first, second):
    def edit(story):
        story[first - 1], story[second - 1] = story[second - 1], story[first - 1]

    return edit


def put(seq, *event):
    def edit(story):
        story[seq - 1 : seq - 1] = [event]

    return edit


def change(seq, *event):
    def edit(story):
        story[seq - 1] = event

    return edit


def delivered(*deliveries):
    made = evidence()
    made.record.deliveries["s"] = [Delivery(set(cursors), seqs) for cursors, seqs in deliveries]
    return made


ACCEPTED = "every accepted run is in the log"
SEEN = "every event that was seen is in the log"
CONTIGUOUS = "seq is contiguous in every session"
OUTCOME = "every run has exactly one outcome"
ORDER = "runs start in the order of acceptance"
SLOTS = "never more at once than a session has slots"
INTERRUPTED = "runs that the kill hit were requeued or ended, as asked"
CANCELLED = "no run that was cancelled while queued ever started"
PROGRAMS = "every program that ran is a start in the log, once"
SUBSCRIBER = "the named subscriber went on behind what it acknowledged"

DEFECTS = {
    "an accepted run is missing": (ACCEPTED, lambda: without(6)),
    "an accepted run has another key": (
        ACCEPTED,
        lambda: with_log(change(6, "run_submitted", "c", {"key": "9"})),
    ),
    "a key has two runs": (
        ACCEPTED,
        lambda: with_log(change(6, "run_submitted", "c", {"key": "1"})),
    ),
    "a seen event is missing": (SEEN, lambda: without(16)),
    "a seen event is another one": (
        SEEN,
        lambda: with_log(change(8, "message_streamed", "a", {"delta": "y"})),
    ),
    "a seq is missing": (CONTIGUOUS, lambda: without(8)),
    "a seq comes twice": (CONTIGUOUS, lambda: evidence([*log_of(), log_of()[-1]])),
    "a run has no outcome": (OUTCOME, lambda: without(16)),
    "a run has two outcomes": (OUTCOME, lambda: with_log(put(16, "run_failed", "c", {}))),
    "a run goes on after its end": (
        OUTCOME,
        lambda: with_log(put(16, "message_streamed", "c", {})),
    ),
    "a later run starts first": (
        ORDER,
        lambda: with_log(lambda story: swap(13, 14)(story)),
    ),
    "a run starts that was not submitted": (
        ORDER,
        lambda: with_log(put(2, "run_started", "x", {"attempt": 1})),
    ),
    "the log has another order than the client": (
        ORDER,
        lambda: with_record(accepted=evidence().record.accepted[::-1]),
    ),
    "three run in two slots": (
        SLOTS,
        lambda: with_log(lambda story: put(7, "run_started", "c", {"attempt": 1})(story)),
    ),
    "a run that asked to be requeued was ended": (
        INTERRUPTED,
        lambda: with_log(change(12, "run_interrupted", "b", {})),
    ),
    "the kill hit nothing": (INTERRUPTED, lambda: without(11, 12)),
    "a cancelled run completed": (CANCELLED, lambda: with_log(change(9, "run_completed", "d", {}))),
    "a cancelled run reached the agent": (
        CANCELLED,
        lambda: attrs.evolve(evidence(), started=[("d", 1)]),
    ),
    "nothing was cancelled": (CANCELLED, lambda: with_record(cancelled={"d": False})),
    "a program ran that the log does not know": (
        PROGRAMS,
        lambda: attrs.evolve(evidence(), started=[("c", 2)]),
    ),
    "a program ran twice": (
        PROGRAMS,
        lambda: attrs.evolve(evidence(), started=[("a", 1), ("a", 1)]),
    ),
    "a delivery has a gap": (SUBSCRIBER, lambda: delivered(({0}, [1, 2, 4]), ({2}, range(3, 17)))),
    "a delivery repeats": (SUBSCRIBER, lambda: delivered(({0}, [1, 2, 2, *range(3, 17)]))),
    "it went on too late": (
        SUBSCRIBER,
        lambda: delivered(({0}, list(range(1, 10))), ({3}, list(range(10, 17)))),
    ),
    "it went on too early": (
        SUBSCRIBER,
        lambda: delivered(({0}, list(range(1, 10))), ({3}, list(range(2, 17)))),
    ),
    "it did not get to the last outcome": (
        SUBSCRIBER,
        lambda: delivered(({0}, list(range(1, 10)))),
    ),
    "nothing was delivered": (SUBSCRIBER, lambda: delivered(({0}, []))),
    "an event came again and was another": (SUBSCRIBER, lambda: with_record(changed=[("s", 4)])),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found(defect):
    claim, make = DEFECTS[defect]

    assert claim in broken(make())


def test_a_reason_gives_a_few_examples_and_counts_the_rest():
    made = with_record(accepted=[Accepted(f"x{n}", "s", str(n), "fail") for n in range(10)])

    (finding,) = (finding for finding in check_all(made) if finding.claim == ACCEPTED)

    assert "run x0 of s was accepted and is not in the log" in finding.reason()
    assert finding.reason().endswith("and 7 more")
