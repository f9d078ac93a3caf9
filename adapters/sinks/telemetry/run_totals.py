"""What has happened to runs, added up: pure counting, for whatever shows it."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

from moorage.runtime.runs import RUN_TERMINAL_STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.runs import RunOutcome

OUTCOMES = tuple(sorted(state.value for state in RUN_TERMINAL_STATES))

TOKEN_KINDS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "reasoning_tokens": "reasoning",
}
"""Name in a usage map -> label. Agents may report whatever they like; labels are these."""

QUEUE_SECONDS_BOUNDS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0)
RUN_SECONDS_BOUNDS = (0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0)
APPEND_SECONDS_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)

_SECOND_NS = 1_000_000_000


class Histogram:
    """Counts by upper ``bounds``, each included, and one above them all; with the sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Counts up to each bound, the last being all: (bound, or "+Inf", and count)."""
        names = [str(bound) for bound in self.bounds] + ["+Inf"]
        total = 0
        found = []
        for name, count in zip(names, self.counts, strict=True):
            total += count
            found.append((name, total))
        return found


def queue_seconds(outcome: RunOutcome) -> float:
    """How long the run waited for its (last) start, or for its end if it never started."""
    until_ns = outcome.ended_at_ns if outcome.started_at_ns is None else outcome.started_at_ns
    return max(until_ns - outcome.submitted_at_ns, 0) / _SECOND_NS


def run_seconds(outcome: RunOutcome) -> float | None:
    """From its (last) start to its end; None for one that never started."""
    if outcome.started_at_ns is None:
        return None
    return max(outcome.ended_at_ns - outcome.started_at_ns, 0) / _SECOND_NS


def tokens(outcome: RunOutcome) -> dict[str, int]:
    """Tokens by kind. What is no count of tokens is left out: totals never fall."""
    usage = outcome.usage or {}
    return {
        kind: usage[name]
        for name, kind in TOKEN_KINDS.items()
        if type(usage.get(name)) is int and usage[name] > 0
    }


def cost_usd(outcome: RunOutcome) -> float:
    """What the run cost, as far as its agent said so."""
    cost = (outcome.usage or {}).get("cost_usd")
    if not isinstance(cost, (int, float)) or not math.isfinite(cost) or cost < 0:
        return 0.0
    return float(cost)


class RunTotals:
    """Totals of the runs that ended under one process, since it began."""

    def __init__(self) -> None:
        self.runs = dict.fromkeys(OUTCOMES, 0)
        self.queue_seconds = Histogram(QUEUE_SECONDS_BOUNDS)
        self.run_seconds = {outcome: Histogram(RUN_SECONDS_BOUNDS) for outcome in OUTCOMES}
        self.tokens = dict.fromkeys(TOKEN_KINDS.values(), 0)
        self.cost_usd = 0.0
        self.append_seconds = Histogram(APPEND_SECONDS_BOUNDS)

    def run_ended(self, outcome: RunOutcome) -> None:
        """A run has ended."""
        state = outcome.state.value
        self.runs[state] += 1
        self.queue_seconds.add(queue_seconds(outcome))
        ran = run_seconds(outcome)
        if ran is not None:
            self.run_seconds[state].add(ran)
        for kind, count in tokens(outcome).items():
            self.tokens[kind] += count
        self.cost_usd += cost_usd(outcome)

    def appended(self, seconds: float) -> None:
        """The store has made a batch of events durable."""
        self.append_seconds.add(seconds)
