"""What ``failover.py`` holds against the logs when it is over."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import Event, open_reader
from moorage.runtime.testing import assert_fifo, assert_history, assert_slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.acceptance.failover_clients import Books
    from tests.acceptance.failover_cluster import Cluster
    from tests.acceptance.failover_watch import Watch

SLOTS = 2
PAGE_EVENTS = 5_000


@attrs.frozen
class Kill:
    """A node's death that nothing else disturbed: what it was working on, and when it was. The
    times are seconds since 1970."""

    at: float
    until: float
    sessions: frozenset[str]


async def read_logs(cluster: Cluster) -> dict[str, list[Event]]:
    logs: dict[str, list[Event]] = {}
    async with open_reader(cluster.schema.store()) as reader:
        infos = [info async for info in reader.sessions()]
        for info in infos:
            events: list[Event] = []
            while len(events) < info.head_seq:
                session = reader.session(info.id)
                page = await session.events(after=len(events), limit=PAGE_EVENTS)
                if not page:
                    break
                events += page
            logs[info.id] = events
    return logs


def check_logs(logs: dict[str, list[Event]], books: Books) -> list[str]:
    """Everything acknowledged is there, once, and everything is in order."""
    problems = [f"session {session_id} is gone" for session_id in books.sessions - logs.keys()]
    for session_id, log in sorted(logs.items()):
        problems += _check_order(session_id, log)
        problems += _check_runs(session_id, log, books)
        seen = [[event.seq, event.type, event.run_id] for event in log]
        if books.seen[session_id] != seen:
            count = len(books.seen[session_id])
            problems.append(f"{session_id}: its follower has {count} events of {len(seen)}")
    return problems + _check_commands(logs, books) + check_approvals(logs, books)


def _check_order(session_id: str, log: list[Event]) -> list[str]:
    problems = []
    if [event.seq for event in log] != list(range(1, len(log) + 1)):
        problems.append(f"{session_id}: its seqs are not contiguous")
    for rule in (assert_history, assert_fifo, lambda log: assert_slots(log, SLOTS)):
        try:
            rule(log)
        except AssertionError as error:
            problems.append(f"{session_id}: {error}")
    return problems


def _check_runs(session_id: str, log: list[Event], books: Books) -> list[str]:
    """What was said of runs is what the log says; that each has one end is shown already."""
    problems = []
    # what becomes of a steer is not
    requeued = {
        event.run_id for event in log if event.data.get("on_interrupt", "fail") == "requeue"
    }
    ends = {event.run_id: event.type.removeprefix("run_") for event in log if _is_end(event)}
    for run_id, end in ends.items():
        assert run_id is not None
        if books.outcomes[run_id] - {end}:
            problems.append(f"{run_id} ended {end}, and {books.outcomes[run_id]} was seen")
        if True in books.cancels[run_id] and end != "cancelled":
            problems.append(f"the cancel of {run_id} was acknowledged, and it ended {end}")
        if end == "interrupted" and run_id in requeued:
            problems.append(f"{run_id} of {session_id} ended interrupted, and was to be requeued")
    return problems


def _is_end(event: Event) -> bool:
    return event.type in (
        "run_completed",
        "run_failed",
        "run_cancelled",
        "run_timed_out",
        "run_interrupted",
    )


def _check_commands(logs: dict[str, list[Event]], books: Books) -> list[str]:
    """None is lost, and none is done twice."""
    runs: dict[str, list[str | None]] = defaultdict(list)
    notes: Counter[str] = Counter()
    steers: dict[str, set[str]] = defaultdict(set)
    times: Counter[str] = Counter()
    for event in (event for log in logs.values() for event in log):
        if event.type == "note":
            notes[event.data["token"]] += 1
        elif event.type == "run_submitted" and isinstance(event.data["input"], dict):
            runs[event.data["input"]["key"]].append(event.run_id)
        elif event.type == "run_submitted":
            steers[event.data["input"]].add(str(event.run_id))
        elif event.type == "run_steered":
            times[event.data["message"]] += 1
            steers[event.data["message"]].add(event.data["steer_id"])
    problems = [
        f"key {key}: acknowledged as {sorted(ids)}, and the log has {runs[key]}"
        for key, ids in books.submits.items()
        if len(runs[key]) > 1 or len(ids) > 1 or not ids <= set(runs[key])
    ]
    allowed = {"kept": (1, 1), "refused": (0, 0), "unknown": (0, 1)}
    for token, what in books.appends.items():
        low, high = allowed[what]
        if not low <= notes[token] <= high:
            problems.append(f"append {token}: {what}, and {notes[token]} times in the log")
    problems += [
        f"steer {token}: acknowledged as {sorted(ids)}, and the log has {sorted(steers[token])}"
        for token, ids in books.steers.items()
        if len(steers[token]) > 1 or not ids <= steers[token]
    ]
    problems += [f"steer {token} was given {n} times" for token, n in times.items() if n > 1]
    strange = runs.keys() - books.submits.keys() | notes.keys() - books.appends.keys()
    return problems + [f"nobody asked for {name}" for name in sorted(strange)]


def check_approvals(logs: dict[str, list[Event]], books: Books) -> list[str]:
    """A run has one answer: that which was accepted, and its agent was given it."""
    answers: dict[str, list[str | None]] = defaultdict(list)
    given: dict[str, str | None] = {}
    for event in (event for log in logs.values() for event in log):
        run_id = str(event.run_id)
        if event.type == "run_resumed":
            value = event.data["value"]
            answers[run_id].append(None if value is None else value["by"])
        elif event.type == "run_completed" and "answer" in event.data["output"]:
            given[run_id] = event.data["output"]["answer"]
    problems = [
        f"{run_id} was answered {len(tokens)} times: {tokens}"
        for run_id, tokens in answers.items()
        if len(tokens) > 1
    ]
    problems += [
        f"approval {token} of {run_id}: {what}, and the log has {answers[run_id]}"
        for token, (run_id, what) in books.approvals.items()
        if what != "unknown" and (what == "accepted") != (token in answers[run_id])
    ]
    problems += [
        f"{run_id} was given {token}, and the log has {answers[run_id]}"
        for run_id, token in given.items()
        if token not in answers[run_id]
    ]
    told = {token for tokens in answers.values() for token in tokens} - {None}
    return problems + [f"nobody asked for {name}" for name in sorted(told - books.approvals.keys())]


def takeovers(
    logs: dict[str, list[Event]], kills: Iterable[Kill], watch: Watch, seconds_max: float
) -> tuple[list[float], list[str]]:
    """For what a killed node was running: (seconds from its death to the first event of the next
    owner, what took longer than it may). What was disturbed meanwhile does not count, nor does the
    time for which the machine stood still."""
    found: list[float] = []
    late: list[str] = []
    for kill in kills:
        for session_id in sorted(kill.sessions):
            log = logs.get(session_id, [])
            if not _was_running(log, kill.at):
                continue
            recovered = (_seconds(event) for event in log if event.type == "session_recovered")
            at = next((at for at in recovered if at > kill.at), math.inf)
            until = min(at, kill.until)
            seconds = until - kill.at - watch.stood_still(kill.at, until)
            if at <= kill.until:
                found.append(seconds)
            if seconds > seconds_max:
                what = "was taken over" if at <= kill.until else "was not taken over"
                late.append(f"{session_id} {what} {seconds:.1f} s after its owner's death")
    return found, late


def _seconds(event: Event) -> float:
    return event.time_ns / 1e9


def _was_running(log: list[Event], at: float) -> bool:
    running: set[str | None] = set()
    for event in log:
        if _seconds(event) > at:
            break
        if event.type == "run_started":
            running.add(event.run_id)
        elif event.type in ("run_requeued", "run_waiting") or _is_end(event):
            running.discard(event.run_id)
    return bool(running)


def check_left_over(rows: dict[str, Any]) -> list[str]:
    """Nothing may be held, waiting or locked when every node has left."""
    return [f"left behind: {what}: {found}" for what, found in rows.items() if found]
