"""What ``failover.py`` calls a takeover in time, and an approval that was lost or counted twice."""

from __future__ import annotations

import itertools

from moorage.runtime import Event

from tests.acceptance.failover_checks import Kill, check_approvals, takeovers
from tests.acceptance.failover_clients import Books
from tests.acceptance.failover_watch import Watch

SECONDS_MAX = 6.0


def log_of(*facts, session_id="s"):
    """A log of (seconds, type, data) of one run."""
    numbers = itertools.count(1)
    return [
        Event(session_id, next(numbers), round(at * 1e9), type, "run", data)
        for at, type, *rest in facts
        for data in (rest or [{}])
    ]


def measured(*facts, until=100.0, stood_still=()):
    watch = Watch()
    for due, came in stood_still:
        watch.note(due, came)
    kills = [Kill(10.0, until, frozenset({"s"}))]
    return takeovers({"s": log_of(*facts)}, kills, watch, SECONDS_MAX)


def test_a_takeover_counts_from_the_death_of_the_owner():
    times, late = measured((9.0, "run_started"), (15.0, "session_recovered"))

    assert (times, late) == ([5.0], [])


def test_one_that_takes_longer_is_late_by_however_little():
    times, late = measured((9.0, "run_started"), (16.1, "session_recovered"))

    assert len(times) == 1
    assert late == ["s was taken over 6.1 s after its owner's death"]


def test_one_that_never_comes_is_late_if_nothing_disturbed_it_for_so_long():
    _, late = measured((9.0, "run_started"), until=17.0)
    disturbed = measured((9.0, "run_started"), until=15.0)

    assert late == ["s was not taken over 7.0 s after its owner's death"]
    assert disturbed == ([], [])


def test_seconds_for_which_the_machine_stood_still_do_not_count():
    facts = (9.0, "run_started"), (17.0, "session_recovered")
    ticks = (9.5, 11.0), (12.0, 13.5), (16.5, 18.0)

    times, late = measured(*facts, stood_still=ticks)

    assert (times, late) == ([4.0], [])


def test_what_had_ended_or_waited_for_an_answer_when_its_owner_died_is_no_takeover():
    ended = measured((8.0, "run_started"), (9.0, "run_completed"), (30.0, "session_recovered"))
    waiting = measured((8.0, "run_started"), (9.0, "run_waiting"), (30.0, "session_recovered"))

    assert ended == waiting == ([], [])


def answered(told, *values, output=None):
    """Problems with a run that was answered by these, of which those asked were ``told``."""
    books = Books(approvals={token: ("run", what) for token, what in told.items()})
    answers = [(1.0, "run_resumed", {"name": "approval:tool", "value": value}) for value in values]
    ended = [] if output is None else [(2.0, "run_completed", {"output": output})]
    return check_approvals({"s": log_of(*answers, *ended)}, books)


def test_an_approval_that_was_accepted_is_the_one_answer_of_its_run():
    first = {"approved": True, "by": "one"}
    told = {"one": "accepted", "two": "not accepted", "three": "unknown"}

    assert answered(told, first, output={"answer": "one"}) == []
    assert answered({"one": "unknown"}, first) == []
    assert answered({"one": "unknown"}, None, output={"answer": None}) == []


def test_approvals_that_were_lost_or_counted_twice_are_found():
    one, two = ({"approved": True, "by": name} for name in ("one", "two"))

    assert len(answered({"one": "accepted"})) == 1
    assert len(answered({"one": "not accepted"}, one)) == 1
    assert len(answered({"one": "accepted", "two": "unknown"}, one, two)) == 1
    assert len(answered({"one": "accepted", "two": "unknown"}, two)) == 1
    assert len(answered({"one": "accepted"}, one, output={"answer": None})) == 1
    assert len(answered({}, one)) == 1
