"""Retention: which sessions go, which are trimmed, and why. Nothing is read or changed here.

A policy has rules. A rule takes the sessions that it ``covers`` and that meet all of its
conditions; a session that several rules would take is taken by the first. What goes by an earlier
rule does not count for a later one's ``keep_newest`` and ``bytes_max``. Whatever rules say, a plan
never touches a session with runs that are queued, running or waiting, one with an exempt tag, or
one that never expires.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from .errors import InvalidArgument
from .sessions import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .sessions import SessionInfo

RetentionAction = Literal["delete", "soft_delete", "trim"]
ACTIONS = ("delete", "soft_delete", "trim")
ON_EXPIRY = ("delete", "soft_delete", "keep")
OUTCOMES = ("completed", "failed", "cancelled")
RULES_MAX = 100
SECOND_NS = 1_000_000_000


def _optional_number(whole: bool) -> Any:
    kinds: tuple[type, ...] = (int,) if whole else (int, float)

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and (type(value) not in kinds or not 0 <= value < math.inf):
            raise InvalidArgument(
                f"{attribute.name} must be None or a {'whole ' * whole}number of at least 0, "
                f"not {value!r}"
            )

    return attrs.field(default=None, validator=check)


def _words(value: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise InvalidArgument(f"it takes a list of texts, not {value!r}")
    return tuple(sorted(value))


def _tags(value: Mapping[str, str]) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"tags must be a map of texts, not {value!r}")
    return dict(value)


def _rules(value: Iterable[RetentionRule]) -> tuple[RetentionRule, ...]:
    rules = tuple(value)
    for rule in rules:
        if not isinstance(rule, RetentionRule):
            raise InvalidArgument(f"rules must be RetentionRules, not {rule!r}")
    if len(rules) > RULES_MAX:
        raise InvalidArgument(f"there are {len(rules)} rules, and {RULES_MAX} are the limit")
    return rules


@attrs.frozen(kw_only=True)
class RetentionRule:
    """One rule; every condition that is given must hold.

    It covers ids that begin with ``prefix``, sessions with all of ``tags``, and ``states``:
    ``open paused closed quarantined``, or ``completed failed cancelled`` for how a closed one was
    closed; none means all. Conditions: no change for ``older_than_seconds``, closed for
    ``closed_for_seconds``, not among the ``keep_newest`` of its group, and oldest first until the
    group has no more than ``bytes_max`` bytes of events. A group is all that is covered, or, with
    ``group_by_tag`` and ``group_by_prefix_until``, what has the same value of that tag and the
    same id up to that text.

    ``trim`` forgets events that are older than ``events_older_than_seconds`` and not among the
    last ``events_keep_last``. Raises InvalidArgument for what makes no sense.
    """

    action: RetentionAction = "delete"
    name: str = ""
    prefix: str = ""
    tags: Mapping[str, str] = attrs.field(factory=dict, converter=_tags)
    states: tuple[str, ...] = attrs.field(default=(), converter=_words)
    older_than_seconds: float | None = _optional_number(whole=False)
    closed_for_seconds: float | None = _optional_number(whole=False)
    keep_newest: int | None = _optional_number(whole=True)
    bytes_max: int | None = _optional_number(whole=True)
    group_by_tag: str | None = None
    group_by_prefix_until: str | None = None
    events_older_than_seconds: float | None = _optional_number(whole=False)
    events_keep_last: int | None = _optional_number(whole=True)

    def __attrs_post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise InvalidArgument(f"action must be one of {', '.join(ACTIONS)}: {self.action!r}")
        known = (*SessionState, *OUTCOMES)
        for word in self.states:
            if word not in known:
                raise InvalidArgument(f"states must be of {', '.join(known)}, not {word!r}")
        trims = self.events_older_than_seconds is not None or self.events_keep_last is not None
        if trims is not (self.action == "trim"):
            raise InvalidArgument(
                "events_older_than_seconds and events_keep_last are of rules with action='trim', "
                "which need one of them"
            )
        counts = self.keep_newest is not None or self.bytes_max is not None
        if counts and trims:
            raise InvalidArgument("keep_newest and bytes_max are of rules that delete sessions")
        if not counts and (self.group_by_tag or self.group_by_prefix_until):
            raise InvalidArgument("groups are for keep_newest and bytes_max: give one of them")
        aged = self.older_than_seconds is not None or self.closed_for_seconds is not None
        if not (counts or trims or aged):
            raise InvalidArgument(
                "a rule that deletes needs older_than_seconds, closed_for_seconds, keep_newest or "
                "bytes_max; older_than_seconds=0 deletes all that it covers"
            )

    def covers(self, info: SessionInfo) -> bool:
        """Whether the rule is about this session."""
        if not info.id.startswith(self.prefix) or not self.tags.items() <= info.tags.items():
            return False
        if not self.states or info.state.value in self.states:
            return True
        return info.state is SessionState.CLOSED and info.outcome in self.states

    def is_aged(self, info: SessionInfo, now_ns: int) -> str | None:
        """What the session's age meets of the conditions, None if not all of them."""
        met = []
        if (limit := self.older_than_seconds) is not None:
            if (age := now_ns - info.modified_at_ns) < limit * SECOND_NS:
                return None
            met.append(f"last changed {span(age)} ago")
        if (limit := self.closed_for_seconds) is not None:
            age = now_ns - (info.closed_at_ns or info.modified_at_ns)
            if info.state is not SessionState.CLOSED or age < limit * SECOND_NS:
                return None
            met.append(f"closed {span(age)} ago")
        return ", ".join(met)

    def group_of(self, info: SessionInfo) -> tuple[str | None, str | None]:
        """What the session shares with the others of its group."""
        tag = None if self.group_by_tag is None else info.tags.get(self.group_by_tag)
        until = self.group_by_prefix_until
        return tag, info.id.partition(until)[0] if until else None


@attrs.frozen(kw_only=True)
class RetentionPolicy:
    """Rules, and what holds beside them.

    ``exempt_tags`` are names of tags, or NAME=VALUE, of sessions that no rule touches.
    ``on_expiry`` is done with sessions whose own ``expire_after_seconds`` are over. What is softly
    deleted is deleted for good after ``purge_after_seconds``; None keeps it.
    """

    rules: tuple[RetentionRule, ...] = attrs.field(default=(), converter=_rules)
    exempt_tags: tuple[str, ...] = attrs.field(default=(), converter=_words)
    on_expiry: Literal["delete", "soft_delete", "keep"] = "delete"
    purge_after_seconds: float | None = _optional_number(whole=False)

    def __attrs_post_init__(self) -> None:
        if self.on_expiry not in ON_EXPIRY:
            raise InvalidArgument(
                f"on_expiry must be one of {', '.join(ON_EXPIRY)}, not {self.on_expiry!r}"
            )

    def measured(self, info: SessionInfo) -> bool:
        """Whether a plan depends on how many bytes of events the session has."""
        if info.deleted_at_ns is not None:
            return False
        return any(rule.bytes_max is not None and rule.covers(info) for rule in self.rules)

    def spares(self, info: SessionInfo) -> str | None:
        """Why no rule may touch the session, None if it may."""
        unfinished = [
            f"{count} {state}"
            for state in ("running", "cancelling", "queued", "waiting")
            if (count := info.runs.get(state, 0))
        ]
        if unfinished:
            return f"its runs are unfinished: {', '.join(unfinished)}"
        for word in self.exempt_tags:
            name, _, value = word.partition("=")
            if word in info.tags or (name in info.tags and info.tags[name] == value):
                return f"exempt by its tag {word}"
        return "it never expires" if info.expire_after_seconds == math.inf else None


@attrs.frozen
class Planned:
    """What is to be done with a session whose head is ``head_seq``, and why. ``bytes`` are those
    that the plan was made with. A trim forgets events from before ``events_before_ns`` and not
    among the last ``events_keep_last``."""

    session_id: str
    action: RetentionAction
    reason: str
    head_seq: int
    bytes: int | None = None
    events_before_ns: int | None = None
    events_keep_last: int | None = None


@attrs.frozen
class Spared:
    """A session that a rule would have taken, and why it stays."""

    session_id: str
    reason: str


@attrs.frozen
class RetentionPlan:
    """What to do, deletions first, and what is spared, of so many ``sessions``; those that are in
    neither are met by no rule."""

    actions: tuple[Planned, ...]
    spared: tuple[Spared, ...]
    sessions: int


def plan(
    policy: RetentionPolicy,
    sessions: Iterable[SessionInfo],
    now_ns: int,
    *,
    sizes: Mapping[str, int] | None = None,
) -> RetentionPlan:
    """What the policy says at ``now_ns`` of these sessions.

    ``sizes`` are bytes of events by session id, for rules with ``bytes_max``, which leave alone
    what is not among them.
    """
    planner = _Planner(policy, sessions, now_ns, sizes or {})
    planner.see_expired()
    for number, rule in enumerate(policy.rules, 1):
        planner.apply(rule, rule.name or f"rule {number}")
    gone = planner.gone
    trims = [one for one in planner.trims.values() if one.session_id not in gone]
    return RetentionPlan(
        actions=(*gone.values(), *trims),
        spared=tuple(Spared(*item) for item in planner.spared.items() if item[0] not in gone),
        sessions=len(planner.infos),
    )


class _Planner:
    def __init__(
        self,
        policy: RetentionPolicy,
        sessions: Iterable[SessionInfo],
        now_ns: int,
        sizes: Mapping[str, int],
    ) -> None:
        self._policy = policy
        self._now = now_ns
        self._sizes = sizes
        self.infos = sorted(sessions, key=lambda info: (info.modified_at_ns, info.id), reverse=True)
        self.gone: dict[str, Planned] = {}
        self.trims: dict[str, Planned] = {}
        self.spared: dict[str, str] = {}

    def _take(self, info: SessionInfo, action: RetentionAction, reason: str) -> bool:
        """Plan a deletion; False if the session is spared."""
        why = self._policy.spares(info)
        if why is None and action == "soft_delete" and info.state is SessionState.QUARANTINED:
            why = "it is quarantined, and can only be deleted for good"
        if why is not None:
            self.spared.setdefault(info.id, f"{reason}, but {why}")
            return False
        size = self._sizes.get(info.id)
        self.gone[info.id] = Planned(info.id, action, reason, info.head_seq, size)
        return True

    def see_expired(self) -> None:
        """Sessions whose own time is over, and those deleted for long enough."""
        purge, on_expiry = self._policy.purge_after_seconds, self._policy.on_expiry
        for info in self.infos:
            if info.deleted_at_ns is not None:
                age = self._now - info.deleted_at_ns
                if purge is not None and age >= purge * SECOND_NS:
                    self._take(info, "delete", f"softly deleted {span(age)} ago")
            elif (limit := info.expire_after_seconds) is not None and on_expiry != "keep":
                age = self._now - info.modified_at_ns
                if age >= limit * SECOND_NS:
                    self._take(info, on_expiry, f"expired: last changed {span(age)} ago")

    def apply(self, rule: RetentionRule, name: str) -> None:
        groups: dict[object, list[SessionInfo]] = {}
        for info in self.infos:
            if info.deleted_at_ns is None and info.id not in self.gone and rule.covers(info):
                groups.setdefault(rule.group_of(info), []).append(info)
        for group in groups.values():
            if rule.action == "trim":
                self._trim(rule, name, group)
            else:
                self._delete(rule, name, group)

    def _delete(self, rule: RetentionRule, name: str, group: list[SessionInfo]) -> None:
        """``group`` has the newest change first."""
        keep = rule.keep_newest or 0
        total = sum(self._sizes.get(info.id, 0) for info in group)
        for info in reversed(group[keep:]):
            aged = rule.is_aged(info, self._now)
            if aged is None:
                continue
            met = [aged] if aged else []
            if rule.keep_newest is not None:
                met.append(f"not among the newest {keep}")
            if rule.bytes_max is not None:
                if total <= rule.bytes_max:
                    return
                if info.id not in self._sizes:
                    continue
                met.append(f"{total} bytes are over {rule.bytes_max}")
            if self._take(info, rule.action, f"{name}: {', '.join(met)}"):
                total -= self._sizes.get(info.id, 0)

    def _trim(self, rule: RetentionRule, name: str, group: list[SessionInfo]) -> None:
        limit, keep = rule.events_older_than_seconds, rule.events_keep_last
        before_ns = None if limit is None else self._now - int(limit * SECOND_NS)
        for info in group:
            if info.id in self.trims or rule.is_aged(info, self._now) is None:
                continue
            if before_ns is not None and info.created_at_ns >= before_ns:
                continue
            if info.head_seq <= (keep or 0):
                continue
            reason = f"{name}: " + " and ".join(
                ([] if limit is None else [f"events older than {span(limit * SECOND_NS)}"])
                + ([] if keep is None else [f"events before the last {keep}"])
            )
            why = self._policy.spares(info)
            if why is not None:
                self.spared.setdefault(info.id, f"{reason}, but {why}")
                continue
            self.trims[info.id] = Planned(
                info.id, "trim", reason, info.head_seq, None, before_ns, keep
            )


_UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))


def span(nanoseconds: float) -> str:
    """``3.5 days``, for people."""
    seconds = nanoseconds / SECOND_NS
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
