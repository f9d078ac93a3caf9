"""The proof: a record of what was acknowledged, held against the log. Pure functions.

None of them asks Moorage what it thinks of itself: they replay the log's events with a queue model
of their own, and compare with what the client and the agent wrote down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.sinks import event_to_json
from moorage.runtime import Event
from moorage.runtime.events import RUN_TERMINAL_TYPES

from .record import Record, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES_MAX = 3


@attrs.frozen
class Evidence:
    """What there is to compare. ``logs`` are all events of each session; ``started`` are the run
    ids and attempts that reached the agent, as the agent wrote them down."""

    record: Record
    logs: Mapping[str, Sequence[Event]]
    started: Sequence[tuple[str, int]]
    slots: int


@attrs.frozen
class Finding:
    """One line of the proof. ``problems`` is empty if it holds."""

    claim: str
    counts: str
    problems: list[str]

    @property
    def holds(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def reason(self) -> str:
        """What is wrong, with a few examples."""
        rest = len(self.problems) - EXAMPLES_MAX
        more = f" and {rest} more" if rest > 0 else ""
        return f"{self.claim}: {'; '.join(self.problems[:EXAMPLES_MAX])}{more}"


def check_all(evidence: Evidence) -> list[Finding]:
    return [check(evidence) for check in CHECKS]


def accepted_runs(evidence: Evidence) -> Finding:
    """Promises 1 and 11."""
    submitted = {
        event.run_id: (session_id, event.data.get("key"))
        for session_id, events in evidence.logs.items()
        for event in events
        if event.type == "run_submitted"
    }
    keys = Counter(submitted.values())
    problems = [
        f"run {run.run_id} of {run.session_id} was accepted and is not in the log"
        for run in evidence.record.accepted
        if submitted.get(run.run_id) != (run.session_id, run.key)
    ]
    missing = len(problems)
    problems += [f"key {key} has {count} runs" for (_, key), count in keys.items() if count > 1]
    return Finding(
        "every accepted run is in the log",
        f"{len(evidence.record.accepted)} accepted, {missing} missing",
        problems,
    )


def acknowledged_events(evidence: Evidence) -> Finding:
    """Promise 8: what was seen stays, and stays the same."""
    known = {
        (session_id, event.seq): event
        for session_id, events in evidence.logs.items()
        for event in events
    }
    problems = []
    missing = 0
    for (session_id, seq), digest in evidence.record.events.items():
        event = known.get((session_id, seq))
        if event is None:
            missing += 1
            problems.append(f"event {seq} of {session_id} was seen and is not in the log")
        elif digest_of(event_to_json(event)) != digest:
            problems.append(f"event {seq} of {session_id} is not what was seen")
    return Finding(
        "every event that was seen is in the log",
        f"{len(evidence.record.events)} seen, {missing} missing, "
        f"{len(problems) - missing} different",
        problems,
    )


def contiguous(evidence: Evidence) -> Finding:
    """1, 2, 3, ... in each session."""
    problems = []
    for session_id, events in evidence.logs.items():
        for expected, event in enumerate(events, 1):
            if event.seq != expected:
                problems.append(f"{session_id} has seq {event.seq} where {expected} belongs")
                break
    return Finding(
        "seq is contiguous in every session",
        f"{sum(map(len, evidence.logs.values()))} events in {len(evidence.logs)} sessions",
        problems,
    )


def one_outcome(evidence: Evidence) -> Finding:
    """Promise 3."""
    ends: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    problems = []
    for events in evidence.logs.values():
        for event in events:
            run_id = event.run_id
            if run_id is None:
                continue
            if event.type in RUN_TERMINAL_TYPES:
                ends[run_id] += 1
                outcomes[event.type.removeprefix("run_")] += 1
            elif ends[run_id]:
                problems.append(f"run {run_id} has {event.type} behind its end")
    runs = {e.run_id for events in evidence.logs.values() for e in events if e.run_id is not None}
    runs |= {run.run_id for run in evidence.record.accepted}
    problems += [f"run {run_id} has {ends[run_id]} ends" for run_id in runs if ends[run_id] != 1]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return Finding("every run has exactly one outcome", counts or "no runs", problems)


def in_order(evidence: Evidence) -> Finding:
    """Promises 2 and 4: a queue of our own, fed by the log, must agree with each start."""
    problems: list[str] = []
    starts = requeued = 0
    accepted: dict[str, list[str]] = {session_id: [] for session_id in evidence.logs}
    for session_id, events in evidence.logs.items():
        order: dict[str, int] = {}
        queue: list[str] = []
        for event in events:
            run_id = event.run_id or ""
            if event.type == "run_submitted":
                order[run_id] = len(order)
                queue.append(run_id)
                accepted[session_id].append(run_id)
            elif event.type == "run_requeued":
                requeued += 1
                queue = sorted([*queue, run_id], key=order.__getitem__)
            elif event.type == "run_started":
                starts += 1
                if not queue or queue[0] != run_id:
                    problems.append(f"{session_id} started {run_id} when {queue[:1]} was first")
                queue = [other for other in queue if other != run_id]
            elif event.type in RUN_TERMINAL_TYPES:
                queue = [other for other in queue if other != run_id]
    by_client: dict[str, list[str]] = {}
    for run in evidence.record.accepted:
        by_client.setdefault(run.session_id, []).append(run.run_id)
    for session_id, run_ids in by_client.items():
        known = set(run_ids)
        if [run_id for run_id in accepted.get(session_id, []) if run_id in known] != run_ids:
            problems.append(f"{session_id} has another order than the client was answered in")
    return Finding(
        "runs start in the order of acceptance",
        f"{starts} starts, {requeued} requeued in front",
        problems,
    )


def slots_kept(evidence: Evidence) -> Finding:
    """Promise 2: what runs at once, counted from the log."""
    problems = []
    most = 0
    for session_id, events in evidence.logs.items():
        running: set[str] = set()
        for event in events:
            run_id = event.run_id or ""
            if event.type == "run_started":
                running.add(run_id)
            elif event.type in RUN_TERMINAL_TYPES or event.type == "run_requeued":
                running.discard(run_id)
            most = max(most, len(running))
            if len(running) > evidence.slots:
                problems.append(f"{session_id} has {len(running)} running at seq {event.seq}")
                break
    return Finding(
        "never more at once than a session has slots",
        f"at most {most} of {evidence.slots}",
        problems,
    )


def cancelled_runs(evidence: Evidence) -> Finding:
    """Promise 6: by the log and by the agent's own list of what reached it."""
    reached = {run_id for run_id, _ in evidence.started}
    ends: dict[str, str] = {}
    started: set[str] = set()
    for events in evidence.logs.values():
        for event in events:
            if event.type == "run_started":
                started.add(event.run_id or "")
            elif event.type in RUN_TERMINAL_TYPES:
                ends[event.run_id or ""] = event.type
    taken = [run_id for run_id, took in evidence.record.cancelled.items() if took]
    problems = [
        f"run {run_id} was cancelled and ended as {ends.get(run_id)}"
        for run_id in taken
        if ends.get(run_id) != "run_cancelled"
    ]
    queued = [run_id for run_id in taken if run_id not in started]
    problems += [
        f"run {run_id} was cancelled while queued and reached the agent"
        for run_id in queued
        if run_id in reached
    ]
    if not queued:
        problems.append("no run was cancelled while queued, so nothing was shown")
    return Finding(
        "no run that was cancelled while queued ever started",
        f"{len(queued)} cancelled while queued, "
        f"{sum(run_id in reached for run_id in queued)} started",
        problems,
    )


def started_is_durable_first(evidence: Evidence) -> Finding:
    """What reached the agent was in the log before, the kill notwithstanding."""
    known = {
        (event.run_id, event.data["attempt"])
        for events in evidence.logs.values()
        for event in events
        if event.type == "run_started"
    }
    problems = [
        f"attempt {attempt} of run {run_id} ran and the log does not know"
        for run_id, attempt in evidence.started
        if (run_id, attempt) not in known
    ]
    twice = [start for start, count in Counter(evidence.started).items() if count > 1]
    problems += [f"attempt {attempt} of run {run_id} ran twice" for run_id, attempt in twice]
    return Finding(
        "every program that ran is a start in the log, once",
        f"{len(evidence.started)} programs",
        problems,
    )


def interrupted_runs(evidence: Evidence) -> Finding:
    """Promise 4: each got what it was submitted with."""
    wanted = {run.run_id: run.on_interrupt for run in evidence.record.accepted}
    seen: Counter[str] = Counter()
    problems = []
    for events in evidence.logs.values():
        for event in events:
            if event.type not in ("run_requeued", "run_interrupted"):
                continue
            seen[event.type] += 1
            expected = {"requeue": "run_requeued", "fail": "run_interrupted"}
            policy = wanted.get(event.run_id or "", "")
            if policy and expected[policy] != event.type:
                problems.append(f"run {event.run_id} with {policy!r} got {event.type}")
    if not seen:
        problems.append("the kill hit no running run, so nothing was shown")
    return Finding(
        "runs that the kill hit were requeued or ended, as asked",
        f"{seen['run_requeued']} requeued, {seen['run_interrupted']} ended interrupted",
        problems,
    )


def named_subscriber(evidence: Evidence) -> Finding:
    """Promises 7 and 10: no gap, no repeat, and after the kill on from the stored cursor."""
    record = evidence.record
    problems = [f"event {seq} of {session_id} changed" for session_id, seq in record.changed]
    redelivered = connections = broken = 0
    for session_id, deliveries in record.deliveries.items():
        reached = 0
        for delivery in deliveries:
            if not delivery.seqs:
                continue
            connections += 1
            first, last = delivery.seqs[0], delivery.seqs[-1]
            if first - 1 not in delivery.cursors:
                known = sorted(delivery.cursors)
                problems.append(f"{session_id} went on at {first}, acknowledged were {known}")
            if delivery.seqs != list(range(first, first + len(delivery.seqs))):
                broken += 1
                problems.append(f"{session_id} had a gap or a repeat between {first} and {last}")
            redelivered += max(reached - first + 1, 0)
            reached = max(reached, last)
        head = max((event.seq for event in evidence.logs.get(session_id, ())), default=0)
        ends = [e.seq for e in evidence.logs.get(session_id, ()) if e.type in RUN_TERMINAL_TYPES]
        if ends and not ends[-1] <= reached <= head:
            problems.append(
                f"{session_id} was delivered to {reached}, its last run ended {ends[-1]}"
            )
    if not connections:
        problems.append("nothing was delivered, so nothing was shown")
    return Finding(
        "the named subscriber went on behind what it acknowledged",
        f"{connections} subscriptions, {broken} with a gap or a repeat; "
        f"{redelivered} events that were not acknowledged came again",
        problems,
    )


CHECKS: tuple[Callable[[Evidence], Finding], ...] = (
    accepted_runs,
    acknowledged_events,
    contiguous,
    one_outcome,
    in_order,
    slots_kept,
    interrupted_runs,
    cancelled_runs,
    started_is_durable_first,
    named_subscriber,
)
