"""Usage and cost, added up over runs. Pure.

Only what was recorded counts: nothing is estimated, and no price is known here. How many runs say
nothing of their tokens, or of their cost, is told beside the sums.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

import attrs

from .errors import InvalidArgument
from .query_pages import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .query_pages import RunSummary

USAGE_ROWS_MAX = 10_000
SECOND_NS = 1_000_000_000
GROUPINGS = ("session", "agent", "model", "day")
TAG_PREFIX = "tag:"
TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


@attrs.frozen
class UsageRow:
    """One group of runs. ``group`` is the session's id, the agent's or the model's name, the day
    (``2026-01-31``, UTC, of the submission) or the tag's value; None for runs that have none.

    ``runs`` counts them by state. Tokens and ``cost_usd`` are sums of what was recorded:
    ``runs_without_usage`` and ``runs_without_cost`` are how many of the runs that were started
    recorded no tokens and no cost. ``queue_seconds`` is the time between submission and the start
    of the last attempt, ``run_seconds`` from there to the end, of runs that have these.
    """

    group: str | None
    runs: dict[str, int] = attrs.field(factory=dict)
    runs_started: int = 0
    runs_without_usage: int = 0
    runs_without_cost: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0
    queue_seconds: float = 0.0
    run_seconds: float = 0.0

    @property
    def runs_total(self) -> int:
        return sum(self.runs.values())


@attrs.frozen
class UsageSummary:
    """``rows`` are in the order of their groups (what has no group comes last), ``total`` is the
    sum of them, ``by`` what they are grouped by."""

    by: str
    rows: list[UsageRow]
    total: UsageRow


class UsageFold:
    """Adds runs up, one by one. Raises InvalidArgument beyond ``USAGE_ROWS_MAX`` groups."""

    def __init__(self, by: str) -> None:
        self.by = by
        self._groups: dict[str | None, dict[str, Any]] = {}

    def add(self, run: RunSummary, tags: Mapping[str, str]) -> None:
        group = self._group_of(run, tags)
        sums = self._groups.get(group)
        if sums is None:
            if len(self._groups) >= USAGE_ROWS_MAX:
                raise InvalidArgument(
                    f"by={self.by!r} makes more than {USAGE_ROWS_MAX} groups: narrow the runs "
                    "down, by prefix, tags or time, or group by something else"
                )
            sums = self._groups[group] = {"runs": {}}
        runs = sums["runs"]
        runs[run.state.value] = runs.get(run.state.value, 0) + 1
        for name, value in _amounts(run).items():
            sums[name] = sums.get(name, 0) + value

    def _group_of(self, run: RunSummary, tags: Mapping[str, str]) -> str | None:
        if self.by == "session":
            return run.session_id
        if self.by == "agent":
            return run.agent
        if self.by == "model":
            return run.model
        if self.by == "day":
            seconds = run.submitted_at_ns // SECOND_NS
            return datetime.fromtimestamp(seconds, UTC).date().isoformat()
        return tags.get(self.by.removeprefix(TAG_PREFIX))

    def summary(self) -> UsageSummary:
        groups = self._groups
        order = sorted(groups, key=lambda group: (group is None, group or ""))
        rows = [UsageRow(group=group, **groups[group]) for group in order]
        total: dict[str, Any] = {"runs": {}}
        for row in rows:
            for state, count in row.runs.items():
                total["runs"][state] = total["runs"].get(state, 0) + count
            for name in _SUMS:
                total[name] = total.get(name, 0) + getattr(row, name)
        return UsageSummary(self.by, rows, UsageRow(group=None, **total))


_SUMS = (
    "runs_started",
    "runs_without_usage",
    "runs_without_cost",
    *TOKENS,
    "cost_usd",
    "queue_seconds",
    "run_seconds",
)


def _amounts(run: RunSummary) -> dict[str, float]:
    amounts: dict[str, float] = {}
    usage = run.usage or {}
    for name in TOKENS:
        if _is_amount(usage.get(name)):
            amounts[name] = usage[name]
    has_tokens = bool(amounts)
    has_cost = _is_amount(usage.get("cost_usd"))
    if has_cost:
        amounts["cost_usd"] = usage["cost_usd"]
    if run.started_at_ns is None:
        return amounts
    amounts["runs_started"] = 1
    amounts["runs_without_usage"] = int(not has_tokens)
    amounts["runs_without_cost"] = int(not has_cost)
    amounts["queue_seconds"] = _seconds(run.submitted_at_ns, run.started_at_ns)
    if run.ended_at_ns is not None:
        amounts["run_seconds"] = _seconds(run.started_at_ns, run.ended_at_ns)
    return amounts


def _seconds(start_ns: int, end_ns: int) -> float:
    """Never below 0: clocks are set back now and then."""
    return max(end_ns - start_ns, 0) / SECOND_NS


def _is_amount(value: Any) -> bool:
    return is_number(value) and isfinite(value)
