"""What the kill loop remembers of acknowledgements, and how it holds them against the log."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

SCRATCH = "scratch"
"""A session that is filled and deleted over and over; nothing of it has to be kept."""
WORKER_ANSWERS = {"accepted", "cancelled", "event"}
"""What only a session's worker can have acknowledged."""
NEEDED = {
    "accepted": "no run was accepted",
    "cancelled": "no cancel was acknowledged",
    "delivered": "no event was delivered",
    "acked": "no cursor was acknowledged",
    "requeued": "no run was requeued",
    "compacted": "no compaction freed anything",
    "passivated": "no session left memory for another",
}
"""What has to happen for the checks to mean anything."""
TERMINAL = {"run_completed", "run_failed", "run_cancelled", "run_timed_out", "run_interrupted"}


class Record:
    """Everything that the service said it had acknowledged, over all its lives."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.accepted_in: dict[str, list[str]] = defaultdict(list)
        self.began: set[str] = set()
        self.cancelled: set[str] = set()
        self.seen: dict[str, dict[int, tuple[str, str | None]]] = defaultdict(dict)
        self.counts: dict[str, int] = defaultdict(int)
        self._acked: dict[tuple[str, str], int] = defaultdict(int)
        self._acking: dict[tuple[str, str], int] = defaultdict(int)
        self._last: dict[tuple[str, str], int] = {}
        self._resident_max = 0
        self._answered: set[str] = set()
        """Sessions whose worker has answered in this life."""

    def restarted(self) -> None:
        """A new life begins: subscribers continue behind what they acknowledged."""
        self._last.clear()
        self._answered.clear()

    def missing(self) -> list[str]:
        """What never happened, so that nothing was shown of it."""
        return [reason for kind, reason in NEEDED.items() if not self.counts[kind]]

    def take(self, said: dict[str, Any]) -> None:
        kind = said["kind"]
        self.counts[kind] += 1
        if kind in WORKER_ANSWERS:
            self._note_answer(said["session"])
        if kind == "ready":
            self._resident_max = said["resident_max"]
        elif kind == "accepted":
            self.accepted_in[said["session"]].append(said["run"])
        elif kind == "began":
            self.began.add(said["run"])
        elif kind == "cancelled":
            self.cancelled.add(said["run"])
        elif kind == "event":
            self._note(said["session"], said["seq"], said["type"], None)
        elif kind == "delivered":
            self._delivered(said)
        elif kind == "acking":
            self._acking[said["session"], said["name"]] = said["seq"]
        elif kind == "acked":
            self._acked[said["session"], said["name"]] = said["seq"]
        elif kind == "broken":
            self.problems.append(said["reason"])

    def _note_answer(self, session_id: str) -> None:
        """More workers have answered than there is room for: some have left memory."""
        if session_id not in self._answered:
            self._answered.add(session_id)
            self.counts["passivated"] += len(self._answered) > self._resident_max

    def _note(self, session_id: str, seq: int, type: str, run_id: str | None) -> None:
        before = self.seen[session_id].setdefault(seq, (type, run_id))
        if before != (type, run_id):
            self.problems.append(
                f"{session_id}: seq {seq} was {before} and is now {(type, run_id)}"
            )

    def _delivered(self, said: dict[str, Any]) -> None:
        who, seq = (said["session"], said["name"]), said["seq"]
        self._note(said["session"], seq, said["type"], said["run"])
        last = self._last.get(who)
        if last is None:
            # the ack that was under way when the service died may or may not have been kept
            low, high = self._acked[who], max(self._acked[who], self._acking[who])
            if not low < seq <= high + 1:
                self.problems.append(f"{who}: goes on at {seq}, acknowledged {low} to {high}")
        elif seq != last + 1:
            self.problems.append(f"{who}: {seq} follows {last}")
        self._last[who] = seq

    def summary(self) -> str:
        c = self.counts
        return (
            f"{c['accepted']} runs accepted, {c['cancelled']} cancels acknowledged, "
            f"{sum(map(len, self.seen.values()))} events seen in {c['delivered']} deliveries, "
            f"{c['acked']} cursor acks, {c['requeued']} runs requeued, {c['compacted']} "
            f"compactions, {c['passivated']} lives with more sessions than fit into memory"
        )


def check_session(info: Any, events: list[Any], record: Record) -> list[str]:
    """Hold one session's whole log against the record."""
    problems: list[str] = []
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        problems.append("seq is not contiguous")
    for seq, (type, run_id) in record.seen[info.id].items():
        if seq > len(events) or (events[seq - 1].type, events[seq - 1].run_id) != (type, run_id):
            problems.append(f"seq {seq} ({type}) was acknowledged and is not there")
    problems += _check_runs(events, record, record.accepted_in[info.id])
    problems += _check_order(events)
    record.counts["requeued"] += sum(event.type == "run_requeued" for event in events)
    return [f"{info.id}: {problem}" for problem in problems]


def _check_runs(events: list[Any], record: Record, accepted: list[str]) -> list[str]:
    problems = []
    history: dict[str, list[str]] = defaultdict(list)
    for event in events:
        if event.run_id is not None and event.type.startswith("run_"):
            history[event.run_id].append(event.type)
    for run_id in accepted:
        if run_id not in history:
            problems.append(f"{run_id} was accepted and is lost")
    for run_id, types in history.items():
        ends = [type for type in types if type in TERMINAL]
        if len(ends) != 1 or types[-1] != ends[0]:
            problems.append(f"{run_id} has the ends {ends} in {types}")
        if run_id in record.cancelled and ends != ["run_cancelled"]:
            problems.append(f"{run_id}: the cancel was acknowledged and it ended {ends}")
        if "run_started" not in types and run_id in record.began:
            problems.append(f"{run_id} never started and reached the agent")
    return problems


def _check_order(events: list[Any]) -> list[str]:
    """FIFO with requeued runs in front, and never more than ``slots`` at once."""
    problems: list[str] = []
    slots, running, place, queue = 1, set(), {}, []
    for event in events:
        run_id = event.run_id
        if event.type in ("session_opened", "session_configured"):
            slots = max(slots, event.data.get("slots", slots))
        elif event.type == "run_submitted":
            place[run_id] = event.seq
            queue.append(run_id)
        elif event.type == "run_requeued":
            running.discard(run_id)
            queue.append(run_id)
            queue.sort(key=place.__getitem__)
        elif event.type == "run_started":
            if queue[0] != run_id:
                problems.append(f"{run_id} started at {event.seq} before {queue[0]}")
            queue.remove(run_id)
            running.add(run_id)
            if len(running) > slots:
                problems.append(f"{len(running)} runs at once at {event.seq}, slots {slots}")
        elif event.type in TERMINAL:
            running.discard(run_id)
            if run_id in queue:
                queue.remove(run_id)
    return problems
