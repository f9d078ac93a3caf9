"""What a retention policy takes, trims and spares."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime import InvalidArgument
from moorage.runtime.retention import (
    SECOND_NS,
    RetentionPlan,
    RetentionPolicy,
    RetentionRule,
    plan,
    span,
)
from moorage.runtime.sessions import SessionInfo, SessionState

DAY = 86_400
NOW = 1_000 * DAY
NOW_NS = NOW * SECOND_NS


def info(id: str = "a", *, age: float = 0, **changes: Any) -> SessionInfo:
    """A session that last changed ``age`` days ago."""
    changed = NOW_NS - int(age * DAY) * SECOND_NS
    values: dict[str, Any] = {
        "id": id,
        "state": SessionState.OPEN,
        "tags": {},
        "metadata": {},
        "created_at_ns": changed - SECOND_NS,
        "modified_at_ns": changed,
        "head_seq": 10,
        "runs": {"completed": 1},
    }
    return SessionInfo(**{**values, **changes})


def closed(id: str, *, age: float, outcome: str = "completed", **changes: Any) -> SessionInfo:
    at = NOW_NS - int(age * DAY) * SECOND_NS
    return info(id, age=age, state=SessionState.CLOSED, outcome=outcome, closed_at_ns=at, **changes)


def planned(
    rule: RetentionRule | RetentionPolicy, *sessions: SessionInfo, **options: Any
) -> RetentionPlan:
    policy = RetentionPolicy(rules=[rule]) if isinstance(rule, RetentionRule) else rule
    return plan(policy, sessions, NOW_NS, **options)


def ids(result: RetentionPlan, action: str = "delete") -> set[str]:
    return {one.session_id for one in result.actions if one.action == action}


def test_age_is_counted_from_the_last_change() -> None:
    rule = RetentionRule(name="old", older_than_seconds=30 * DAY)

    result = planned(rule, info("young", age=29), info("old", age=30), info("older", age=90))

    assert ids(result) == {"old", "older"}
    assert result.sessions == 3
    reason = next(one.reason for one in result.actions if one.session_id == "old")
    assert reason == "old: last changed 30.0 days ago"


def test_a_plan_names_the_head_that_it_was_made_for() -> None:
    (one,) = planned(RetentionRule(older_than_seconds=0), info(head_seq=41)).actions

    assert (one.head_seq, one.reason) == (41, "rule 1: last changed 0 seconds ago")


def test_age_since_closing_is_about_closed_sessions() -> None:
    rule = RetentionRule(closed_for_seconds=7 * DAY)
    # of older logs it is not known when they were closed
    unknown = closed("unknown", age=8)
    unknown = attrs.evolve(unknown, closed_at_ns=None)
    tagged_since = attrs.evolve(closed("tagged", age=8), modified_at_ns=NOW_NS)

    result = planned(
        rule,
        closed("old", age=8),
        closed("new", age=6),
        info("open", age=99),
        unknown,
        tagged_since,
    )

    assert ids(result) == {"old", "unknown", "tagged"}


@pytest.mark.parametrize(
    ("covers", "expected"),
    [
        ({"prefix": "job-"}, {"job-1", "job-2"}),
        ({"tags": {"tenant": "x"}}, {"job-1", "chat"}),
        ({"tags": {"tenant": "x", "more": "1"}}, set()),
        ({"states": ["open"]}, {"job-1"}),
        ({"states": ["closed"]}, {"chat", "job-2"}),
        ({"states": ["failed"]}, {"job-2"}),
        ({"states": ["completed", "paused"]}, {"chat", "break"}),
    ],
)
def test_a_rule_is_about_what_it_covers(covers: dict[str, Any], expected: set[str]) -> None:
    sessions = [
        info("job-1", age=1, tags={"tenant": "x"}),
        closed("job-2", age=1, outcome="failed"),
        closed("chat", age=1, tags={"tenant": "x"}),
        info("break", age=1, state=SessionState.PAUSED, outcome="completed"),
    ]

    assert ids(planned(RetentionRule(older_than_seconds=0, **covers), *sessions)) == expected


def test_all_conditions_of_a_rule_must_hold() -> None:
    rule = RetentionRule(older_than_seconds=10 * DAY, keep_newest=2)

    result = planned(rule, *(info(f"s{age}", age=age) for age in (1, 11, 12, 13)))

    assert ids(result) == {"s12", "s13"}  # s11 is old, too, but among the newest


def test_the_newest_are_kept_in_each_group() -> None:
    rule = RetentionRule(keep_newest=1, group_by_tag="tenant", group_by_prefix_until=":")
    sessions = [
        info("chat:1", age=1, tags={"tenant": "x"}),
        info("chat:2", age=2, tags={"tenant": "x"}),
        info("chat:3", age=3, tags={"tenant": "y"}),
        info("job:4", age=4, tags={"tenant": "x"}),
        info("job:5", age=5, tags={"tenant": "x"}),
        info("job:6", age=6),
    ]

    assert ids(planned(rule, *sessions)) == {"chat:2", "job:5"}


def test_the_oldest_go_until_the_rest_is_small_enough() -> None:
    rule = RetentionRule(bytes_max=250)
    sizes = {"a": 100, "b": 100, "c": 100, "d": 100}
    sessions = [info(id, age=age) for age, id in enumerate("abcd")]

    result = planned(rule, *sessions, sizes=sizes)

    assert ids(result) == {"c", "d"}
    assert [one.bytes for one in result.actions] == [100, 100]
    assert "400 bytes are over 250" in result.actions[0].reason


def test_what_was_not_measured_is_left_alone_by_size() -> None:
    sessions = [info(id, age=age) for age, id in enumerate("abc")]

    assert ids(planned(RetentionRule(bytes_max=50), *sessions, sizes={"a": 100})) == {"a"}
    assert ids(planned(RetentionRule(bytes_max=50), *sessions)) == set()


def test_only_what_a_size_may_decide_on_is_measured() -> None:
    policy = RetentionPolicy(
        rules=[RetentionRule(keep_newest=1), RetentionRule(prefix="big-", bytes_max=1)]
    )

    assert policy.measured(info("big-1"))
    assert not policy.measured(info("small"))
    assert not policy.measured(info("big-2", deleted_at_ns=1))


def test_what_an_earlier_rule_takes_does_not_count_for_a_later_one() -> None:
    policy = RetentionPolicy(
        rules=[
            RetentionRule(name="old", older_than_seconds=10 * DAY, tags={"t": "1"}),
            RetentionRule(name="size", bytes_max=100, action="soft_delete"),
        ]
    )
    sessions = [info("a"), info("b", age=20), info("c", age=11, tags={"t": "1"})]

    result = planned(policy, *sessions, sizes={"a": 50, "b": 50, "c": 50})

    assert (ids(result), ids(result, "soft_delete")) == ({"c"}, set())


# ---- what is spared ----


@pytest.mark.parametrize("state", ["queued", "running", "cancelling", "waiting"])
def test_unfinished_runs_keep_a_session(state: str) -> None:
    result = planned(RetentionRule(older_than_seconds=0), info(runs={state: 2, "failed": 1}))

    assert result.actions == ()
    assert f"2 {state}" in result.spared[0].reason


@pytest.mark.parametrize(
    ("exempt", "is_exempt"),
    [("hold", True), ("hold=yes", True), ("hold=no", False), ("other", False), ("a=b", True)],
)
def test_exempt_tags_keep_a_session(exempt: str, is_exempt: bool) -> None:
    policy = RetentionPolicy(rules=[RetentionRule(older_than_seconds=0)], exempt_tags=[exempt])

    result = planned(policy, info(tags={"hold": "yes", "a=b": "c"}))

    assert is_exempt is (result.actions == ())
    assert is_exempt is (len(result.spared) == 1)


def test_what_never_expires_stays_whatever_rules_say() -> None:
    result = planned(RetentionRule(older_than_seconds=0), info(expire_after_seconds=math.inf))

    assert result.actions == ()
    assert "never expires" in result.spared[0].reason


def test_what_is_quarantined_is_only_deleted_for_good() -> None:
    broken = info(state=SessionState.QUARANTINED)

    soft = planned(RetentionRule(older_than_seconds=0, action="soft_delete"), broken)

    assert soft.actions == ()
    assert "quarantined" in soft.spared[0].reason
    assert ids(planned(RetentionRule(older_than_seconds=0), broken)) == {"a"}


def test_what_one_rule_spares_another_may_take() -> None:
    policy = RetentionPolicy(
        rules=[
            RetentionRule(older_than_seconds=0, action="soft_delete"),
            RetentionRule(older_than_seconds=0),
        ]
    )

    result = planned(policy, info(state=SessionState.QUARANTINED))

    assert (ids(result), result.spared) == ({"a"}, ())


# ---- expiry and purging ----


@pytest.mark.parametrize(
    ("on_expiry", "expected"), [("delete", "delete"), ("soft_delete", "soft_delete"), ("keep", "")]
)
def test_a_sessions_own_time_is_over(on_expiry: Any, expected: str) -> None:
    policy = RetentionPolicy(on_expiry=on_expiry)
    sessions = [
        info("over", age=2, expire_after_seconds=2.0 * DAY),
        info("not yet", age=1, expire_after_seconds=2.0 * DAY),
        info("by policy", age=99),
    ]

    result = planned(policy, *sessions)

    assert [one.action for one in result.actions] == ([expected] if expected else [])
    assert all(one.session_id == "over" for one in result.actions)


def test_what_is_softly_deleted_is_purged_later_and_no_matter_of_rules() -> None:
    rules = [RetentionRule(keep_newest=1), RetentionRule(action="trim", events_keep_last=1)]
    policy = RetentionPolicy(rules=rules, purge_after_seconds=7 * DAY)
    sessions = [
        info("kept", head_seq=1),
        closed("gone", age=0, deleted_at_ns=NOW_NS - 7 * DAY * SECOND_NS),
        closed("hidden", age=0, deleted_at_ns=NOW_NS - 6 * DAY * SECOND_NS),
    ]

    assert ids(planned(policy, *sessions)) == {"gone"}
    assert ids(planned(attrs.evolve(policy, purge_after_seconds=None), *sessions)) == set()


# ---- trimming ----


def test_trims_say_what_may_go() -> None:
    rule = RetentionRule(
        action="trim", events_older_than_seconds=5 * DAY, events_keep_last=10, prefix="t"
    )
    sessions = [
        info("t-long", age=1, head_seq=11, created_at_ns=0),
        info("t-short", head_seq=10, created_at_ns=0),
        info("t-young", age=1, head_seq=99),
        info("t-busy", head_seq=99, created_at_ns=0, runs={"running": 1}),
        info("other", head_seq=99, created_at_ns=0),
    ]

    result = planned(rule, *sessions)

    (one,) = result.actions
    assert (one.session_id, one.action, one.events_keep_last) == ("t-long", "trim", 10)
    assert one.events_before_ns == NOW_NS - 5 * DAY * SECOND_NS
    assert one.reason == "rule 1: events older than 5.0 days and events before the last 10"
    assert [spared.session_id for spared in result.spared] == ["t-busy"]


def test_a_trim_of_old_sessions_leaves_the_others() -> None:
    rule = RetentionRule(action="trim", events_keep_last=1, older_than_seconds=3 * DAY)

    assert ids(planned(rule, info("a", age=1), info("b", age=4)), "trim") == {"b"}


def test_by_age_alone_all_events_may_go() -> None:
    rule = RetentionRule(action="trim", events_older_than_seconds=DAY)

    (one,) = planned(rule, info(age=3)).actions

    assert (one.events_keep_last, one.reason) == (None, "rule 1: events older than 24.0 hours")


def test_the_first_trim_counts_and_no_deleted_session_is_trimmed() -> None:
    policy = RetentionPolicy(
        rules=[
            RetentionRule(action="trim", events_keep_last=5),
            RetentionRule(action="trim", events_keep_last=1),
            RetentionRule(older_than_seconds=5 * DAY),
        ]
    )

    result = planned(policy, info("a"), info("b", age=9))

    assert [(one.session_id, one.action, one.events_keep_last) for one in result.actions] == [
        ("b", "delete", None),
        ("a", "trim", 5),
    ]


# ---- what makes no sense ----


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "older_than_seconds=0"),
        ({"states": ["closed"]}, "older_than_seconds=0"),
        ({"action": "archive", "keep_newest": 1}, "archive"),
        ({"keep_newest": 1, "states": ["dead"]}, "dead"),
        ({"keep_newest": 1, "states": "open"}, "list of texts"),
        ({"keep_newest": 1, "tags": ["a"]}, "map of texts"),
        ({"keep_newest": -1}, "keep_newest"),
        ({"keep_newest": 1.5}, "whole number"),
        ({"keep_newest": True}, "keep_newest"),
        ({"older_than_seconds": "30d"}, "older_than_seconds"),
        ({"older_than_seconds": math.inf}, "older_than_seconds"),
        ({"older_than_seconds": math.nan}, "older_than_seconds"),
        ({"action": "trim"}, "need one of them"),
        ({"events_keep_last": 5}, "action='trim'"),
        ({"action": "trim", "events_keep_last": 5, "keep_newest": 1}, "rules that delete"),
        ({"older_than_seconds": 1, "group_by_tag": "t"}, "groups"),
    ],
)
def test_rules_that_make_no_sense_are_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        RetentionRule(**fields)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"rules": [1]}, "RetentionRules"),
        ({"rules": [RetentionRule(keep_newest=1)] * 101}, "100"),
        ({"on_expiry": "archive"}, "archive"),
        ({"exempt_tags": "hold"}, "list of texts"),
        ({"purge_after_seconds": -1}, "purge_after_seconds"),
    ],
)
def test_policies_that_make_no_sense_are_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        RetentionPolicy(**fields)


def test_spans_are_for_people() -> None:
    spans = [span(seconds * SECOND_NS) for seconds in (0, 90, 120, 7_200, 3 * DAY)]

    assert spans == ["0 seconds", "90 seconds", "2.0 minutes", "2.0 hours", "3.0 days"]


# ---- whatever comes ----

STATES = st.sampled_from(list(SessionState))
UNFINISHED = ("queued", "running", "cancelling", "waiting")
SESSIONS = st.lists(
    st.builds(
        info,
        st.text("ab:", min_size=1, max_size=4),
        age=st.floats(0, 100),
        state=STATES,
        outcome=st.sampled_from([None, "completed", "failed"]),
        tags=st.dictionaries(st.sampled_from(["hold", "t"]), st.sampled_from("xy"), max_size=2),
        runs=st.dictionaries(
            st.sampled_from([*UNFINISHED, "completed"]), st.integers(0, 2), max_size=2
        ),
        expire_after_seconds=st.sampled_from([None, None, 10.0, math.inf]),
        deleted_at_ns=st.sampled_from([None, None, NOW_NS - 9 * DAY * SECOND_NS]),
        head_seq=st.integers(1, 30),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)
AGES = st.none() | st.floats(0, 120 * DAY)
DELETING = st.builds(
    RetentionRule,
    action=st.sampled_from(["delete", "soft_delete"]),
    prefix=st.sampled_from(["", "a", "b:"]),
    states=st.sets(st.sampled_from(["open", "closed", "failed"])),
    older_than_seconds=AGES,
    closed_for_seconds=AGES,
    keep_newest=st.integers(0, 4),
    bytes_max=st.none() | st.integers(0, 500),
    group_by_tag=st.none() | st.just("t"),
    group_by_prefix_until=st.none() | st.just(":"),
)
TRIMMING = st.builds(
    RetentionRule,
    action=st.just("trim"),
    events_older_than_seconds=AGES,
    events_keep_last=st.integers(0, 20),
)
POLICIES = st.builds(
    RetentionPolicy,
    rules=st.lists(DELETING | TRIMMING, max_size=4),
    exempt_tags=st.sampled_from([(), ("hold",), ("t=x", "hold=y")]),
    on_expiry=st.sampled_from(["delete", "soft_delete", "keep"]),
    purge_after_seconds=AGES,
)


@given(POLICIES, SESSIONS)
def test_no_plan_touches_what_must_stay(
    policy: RetentionPolicy, sessions: list[SessionInfo]
) -> None:
    sizes = {one.id: 100 for one in sessions}

    result = plan(policy, sessions, NOW_NS, sizes=sizes)

    by_id = {one.id: one for one in sessions}
    touched = [one.session_id for one in result.actions]
    assert len(touched) == len(set(touched))
    assert not {spared.session_id for spared in result.spared} & set(ids(result))
    for one in result.actions:
        session = by_id[one.session_id]
        assert not any(session.runs.get(state) for state in UNFINISHED)
        assert session.expire_after_seconds != math.inf
        for word in policy.exempt_tags:
            name, _, value = word.partition("=")
            assert session.tags.get(name) not in ({value} if value else {"x", "y"})
        if session.deleted_at_ns is not None:
            assert (one.action, one.reason[:6]) == ("delete", "softly")
        if one.action == "soft_delete":
            assert session.state is not SessionState.QUARANTINED


@given(
    st.builds(RetentionRule, older_than_seconds=st.floats(0, 120 * DAY), closed_for_seconds=AGES),
    SESSIONS,
    st.floats(0, 50 * DAY),
)
def test_by_age_what_goes_now_goes_later_too(
    rule: RetentionRule, sessions: list[SessionInfo], later: float
) -> None:
    policy = RetentionPolicy(rules=[rule], purge_after_seconds=DAY)

    now = plan(policy, sessions, NOW_NS)
    then = plan(policy, sessions, NOW_NS + int(later * SECOND_NS))

    assert ids(now) <= ids(then)


@given(SESSIONS, st.integers(0, 15))
def test_exactly_the_newest_and_what_must_stay_are_kept(
    sessions: list[SessionInfo], keep: int
) -> None:
    policy = RetentionPolicy(rules=[RetentionRule(keep_newest=keep)], on_expiry="keep")
    counted = [one for one in sessions if one.deleted_at_ns is None]
    counted.sort(key=lambda one: (one.modified_at_ns, one.id), reverse=True)

    gone = ids(plan(policy, sessions, NOW_NS))

    assert gone == {one.id for one in counted[keep:] if policy.spares(one) is None}
    if not any(policy.spares(one) for one in counted):
        assert len(counted) - len(gone) == min(keep, len(counted))


@given(SESSIONS, st.integers(0, 1_500), st.randoms(use_true_random=False))
def test_by_size_no_more_goes_than_has_to(
    sessions: list[SessionInfo], bytes_max: int, random: Any
) -> None:
    policy = RetentionPolicy(rules=[RetentionRule(bytes_max=bytes_max)], on_expiry="keep")
    sizes = {one.id: random.randint(0, 300) for one in sessions}
    counted = [one for one in sessions if one.deleted_at_ns is None]

    gone = plan(policy, sessions, NOW_NS, sizes=sizes).actions

    left = sum(sizes[one.id] for one in counted) - sum(sizes[one.session_id] for one in gone)
    if gone:
        assert left + sizes[gone[-1].session_id] > bytes_max
    free = [one for one in counted if policy.spares(one) is None]
    assert left <= bytes_max or len(gone) == len(free)


@given(POLICIES, SESSIONS, st.randoms(use_true_random=False))
def test_the_order_of_a_listing_decides_nothing(
    policy: RetentionPolicy, sessions: list[SessionInfo], random: Any
) -> None:
    sizes = {one.id: 100 for one in sessions}
    shuffled = random.sample(sessions, len(sessions))

    assert plan(policy, sessions, NOW_NS, sizes=sizes) == plan(
        policy, shuffled, NOW_NS, sizes=sizes
    )
