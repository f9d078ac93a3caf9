"""A session's state as its log tells it: plain data, and the one function that folds an event in.

``SessionImage.apply`` is the only place where state changes. The machine calls it for events it
has just decided on, recovery calls it for events it reads, so that both arrive at the same image.
A snapshot is an encoded image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .events import RUN_TYPES, SESSION_TYPES, Data, Event
from .runs import RUN_TERMINAL_STATES, OnInterrupt, RunState, added_usage
from .sessions import SessionInfo, SessionState
from .summaries import first_words
from .transitions import RUN_EVOLVE, SESSION_EVOLVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@attrs.define
class RunRecord:
    """An unfinished run. ``seq`` is that of its run_submitted event, and so its place in line."""

    run_id: str
    seq: int
    submitted_at_ns: int
    input: Data
    input_bytes: int
    key: str | None = None
    agent: str | None = None
    metadata: dict[str, Any] | None = None
    on_interrupt: OnInterrupt = "fail"
    attempts_max: int = 3
    timeout_seconds: float | None = None
    queue_seconds_max: float | None = None
    silence_seconds_max: float | None = None

    state: RunState = RunState.QUEUED
    attempt: int = 0
    starts: int = 0
    """Starts, resumptions included: what tells the timers of one start from those of another."""
    started_at_ns: int | None = None
    """When the current attempt first started."""
    resumed: bool = False
    """The next start continues the attempt that parked."""
    elapsed_ns: int = 0
    """Running time that the current attempt used up before it parked."""
    running_since_ns: int = 0
    parked_name: str | None = None
    parked_until_ns: int | None = None
    """When the run answers itself with ``parked_default``, if it has a limit of time."""
    parked_default: Data = None
    answers: dict[str, Data] = attrs.field(factory=dict)
    asked: dict[str, Data] = attrs.field(factory=dict)
    """Open questions, with the answers that count if nobody gives one. A run that is requeued can
    still be answered: it will ask again."""
    asked_at: dict[str, int] = attrs.field(factory=dict)
    """The seqs of those questions."""
    steers: dict[str, Data] = attrs.field(factory=dict)
    """Messages that the run was steered with and its agent has not taken, by id."""
    steer_bytes: dict[str, int] = attrs.field(factory=dict)
    usage: dict[str, Any] | None = None
    """What the run has used before it parked or was requeued."""
    cause: str | None = None
    """While cancelling: the type of the terminal event to come."""
    problem: dict[str, Any] | None = None
    """While cancelling: the terminal event's error."""


@attrs.define
class SessionImage:
    """Everything that a session's worker must know; finished runs are only counted.

    ``state`` None means that the session does not exist (yet). ``head_seq`` counts all events,
    also those that change no state. ``last_time_ns`` is the time of those that do: agents stamp
    theirs as they like.
    """

    session_id: str
    head_seq: int = 0
    last_time_ns: int = 0
    state: SessionState | None = None
    state_before: SessionState | None = None
    reason_before: str | None = None
    """While quarantined: why it had been closed."""
    slots: int = 1
    tags: dict[str, str] = attrs.field(factory=dict)
    metadata: dict[str, Any] = attrs.field(factory=dict)
    summary: str | None = None
    created_at_ns: int = 0
    outcome: str | None = None
    reason: str | None = None
    closed_at_ns: int | None = None
    deleted_at_ns: int | None = None
    deleted_from: SessionState | None = None
    """The state that a restoration brings back."""
    expire_after_seconds: float | None = None
    runs: dict[str, RunRecord] = attrs.field(factory=dict)
    counts: dict[str, int] = attrs.field(factory=dict)
    """Runs by state, over the session's whole life; states that none was in may be missing."""
    queue: list[str] = attrs.field(factory=list)
    """Ids of queued runs in order of acceptance, the next to start last (so that it pops off)."""
    queue_bytes: int = 0
    timed_waits: int = 0
    steers: int = 0
    """Messages to running runs that no agent has taken yet."""
    node_tags: dict[str, str] = attrs.field(factory=dict)
    agents: dict[str, int] = attrs.field(init=False)
    """How many unfinished runs name each agent, "" for none. Follows from ``runs``: snapshots do
    not have it."""

    def __attrs_post_init__(self) -> None:
        self.agents = {}
        for run in self.runs.values():
            self._count_agent(run)

    def _count_agent(self, run: RunRecord) -> None:
        name = run.agent or ""
        self.agents[name] = self.agents.get(name, 0) + 1

    def apply(self, event: Event) -> None:
        """Fold one event in. Raises KeyError if it cannot follow: a defect, or a damaged log."""
        self.head_seq = event.seq
        if event.type in RUN_TYPES:
            self._apply_run(event)
        elif event.type in SESSION_TYPES:
            self.state = SESSION_EVOLVE[self.state, event.type]
            _SESSION_FOLDS[event.type](self, event)
        else:
            return
        if event.time_ns > self.last_time_ns:
            self.last_time_ns = event.time_ns

    def _apply_run(self, event: Event) -> None:
        run_id = event.run_id or ""
        if event.type == "run_submitted" and run_id not in self.runs:
            record = self._accept(run_id, event)
            before: RunState | None = None
        else:
            record = self.runs[run_id]
            before = record.state
        after = RUN_EVOLVE[before, event.type]
        if before is after:
            _TALK_FOLDS[event.type](self, record, event)
            return
        record.state = after
        counts = self.counts
        if before is not None:
            counts[before] -= 1
        if after in counts:
            counts[after] += 1
        else:
            counts[after.value] = 1  # a plain str, which can be packed
        if after is RunState.QUEUED:
            self._enqueue(record)
        elif before is RunState.QUEUED:
            self._dequeue(run_id)
        if before is RunState.WAITING and record.parked_until_ns is not None:
            self.timed_waits -= 1
        fold = _RUN_FOLDS.get(event.type)
        if fold is not None:
            fold(record, event)
        if after is RunState.WAITING and record.parked_until_ns is not None:
            self.timed_waits += 1
        if after in RUN_TERMINAL_STATES:
            del self.runs[run_id]
            self.queue_bytes -= record.input_bytes
            name = record.agent or ""
            self.agents[name] -= 1
            if not self.agents[name]:
                del self.agents[name]
            if record.steers:
                self.steers -= len(record.steers)
                self.queue_bytes -= sum(record.steer_bytes.values())

    def _accept(self, run_id: str, event: Event) -> RunRecord:
        record = RunRecord(
            run_id=run_id, seq=event.seq, submitted_at_ns=event.time_ns, **_known(event.data)
        )
        self.runs[run_id] = record
        self._count_agent(record)
        self.queue_bytes += record.input_bytes
        if self.summary is None:
            self.summary = first_words(record.input)
        return record

    def _enqueue(self, record: RunRecord) -> None:
        # Nearly always the newest run, which goes in front of the list; one that comes back
        # (requeued or answered) was accepted before most others and belongs near its end.
        queue, runs, seq = self.queue, self.runs, record.seq
        if queue and runs[queue[0]].seq > seq:
            index = len(queue)
            while index and runs[queue[index - 1]].seq < seq:
                index -= 1
            queue.insert(index, record.run_id)
        else:
            queue.insert(0, record.run_id)

    def _dequeue(self, run_id: str) -> None:
        if self.queue[-1] == run_id:
            self.queue.pop()
        else:
            self.queue.remove(run_id)

    def queued(self) -> tuple[str, ...]:
        """Ids of queued runs, the next to start first."""
        return tuple(reversed(self.queue))

    def in_state(self, *states: RunState) -> tuple[str, ...]:
        """Ids of runs in these states, in order of acceptance."""
        return tuple(r.run_id for r in self.runs.values() if r.state in states)

    def info(self) -> SessionInfo:
        """The listing facts. Raises ValueError for a session that does not exist."""
        if self.state is None:
            raise ValueError(f"session {self.session_id!r} does not exist")
        return SessionInfo(
            id=self.session_id,
            state=self.state,
            tags=self.tags,
            metadata=self.metadata,
            created_at_ns=self.created_at_ns,
            modified_at_ns=self.last_time_ns,
            head_seq=self.head_seq,
            runs={state: count for state, count in self.counts.items() if count},
            summary=self.summary,
            slots=self.slots,
            outcome=self.outcome,
            reason=self.reason,
            timed_waits=self.timed_waits,
            closed_at_ns=self.closed_at_ns,
            deleted_at_ns=self.deleted_at_ns,
            expire_after_seconds=self.expire_after_seconds,
            node_tags=self.node_tags,
            agents=tuple(sorted(self.agents)),
        )


_SPEC = frozenset(
    {
        "input",
        "input_bytes",
        "key",
        "agent",
        "metadata",
        "on_interrupt",
        "attempts_max",
        "timeout_seconds",
        "queue_seconds_max",
        "silence_seconds_max",
    }
)


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of run_submitted that this version knows; a newer one may have written more."""
    return {name: value for name, value in data.items() if name in _SPEC}


def _started(run: RunRecord, event: Event) -> None:
    run.attempt = event.data["attempt"]
    run.starts += 1
    run.running_since_ns = event.time_ns
    if not run.resumed:
        run.started_at_ns = event.time_ns
        run.elapsed_ns = 0
    run.resumed = False


def _waiting(run: RunRecord, event: Event) -> None:
    _used(run, event)
    run.parked_name = event.data["name"]
    run.parked_until_ns = event.data.get("expires_at_ns")
    run.parked_default = event.data.get("default")
    run.elapsed_ns = event.data["elapsed_ns"]
    run.asked.clear()
    run.asked_at.clear()


def _used(run: RunRecord, event: Event) -> None:
    if "usage" in event.data:
        run.usage = added_usage(run.usage, event.data["usage"])


def _resumed(run: RunRecord, event: Event) -> None:
    run.answers[event.data["name"]] = event.data["value"]
    run.parked_name = run.parked_until_ns = run.parked_default = None
    run.resumed = True


def _asked(image: SessionImage, run: RunRecord, event: Event) -> None:
    name = event.data["name"]
    run.asked[name] = event.data.get("default")
    run.asked_at[name] = event.seq


def _answered(image: SessionImage, run: RunRecord, event: Event) -> None:
    name = event.data["name"]
    run.asked.pop(name, None)
    run.asked_at.pop(name, None)
    run.answers[name] = event.data["value"]


def _steered(image: SessionImage, run: RunRecord, event: Event) -> None:
    data = event.data
    run.steers[data["steer_id"]] = data["message"]
    run.steer_bytes[data["steer_id"]] = data["message_bytes"]
    image.queue_bytes += data["message_bytes"]
    image.steers += 1


def _steer_taken(image: SessionImage, run: RunRecord, event: Event) -> None:
    steer_id = event.data["steer_id"]
    run.steers.pop(steer_id)
    image.queue_bytes -= run.steer_bytes.pop(steer_id)
    image.steers -= 1


def _cancel_requested(run: RunRecord, event: Event) -> None:
    run.cause = event.data["cause"]
    run.problem = event.data["error"]


def _opened(image: SessionImage, event: Event) -> None:
    image.created_at_ns = event.time_ns
    _configured(image, event)


def _configured(image: SessionImage, event: Event) -> None:
    data = event.data
    image.slots = data.get("slots", image.slots)
    image.tags = data.get("tags", image.tags)
    image.metadata = data.get("metadata", image.metadata)
    image.summary = data.get("summary", image.summary)
    image.expire_after_seconds = data.get("expire_after_seconds", image.expire_after_seconds)
    image.node_tags = data.get("node_tags", image.node_tags)


def _closed(image: SessionImage, event: Event) -> None:
    image.outcome = event.data["outcome"]
    image.reason = event.data.get("reason")
    image.closed_at_ns = event.time_ns


def _quarantined(image: SessionImage, event: Event) -> None:
    image.state_before = SessionState(event.data["state_before"])
    image.reason_before = image.reason
    image.reason = event.data.get("reason")


def _usable_again(image: SessionImage, event: Event) -> None:
    image.outcome = image.reason = image.reason_before = image.closed_at_ns = None


def _deleted(image: SessionImage, event: Event) -> None:
    image.deleted_from = SessionState(event.data["state_before"])
    image.deleted_at_ns = event.time_ns


def _undeleted(image: SessionImage, event: Event) -> None:
    image.deleted_at_ns = image.deleted_from = None
    _usable_again(image, event)


def _no_change(image: SessionImage, event: Event) -> None:
    """The state table says it all."""


_RUN_FOLDS: Mapping[str, Callable[[RunRecord, Event], None]] = {
    "run_started": _started,
    "run_waiting": _waiting,
    "run_requeued": _used,
    "run_resumed": _resumed,
    "run_cancel_requested": _cancel_requested,
}
_TALK_FOLDS: Mapping[str, Callable[[SessionImage, RunRecord, Event], None]] = {
    "run_asked": _asked,
    "run_answered": _answered,
    "run_steered": _steered,
    "run_steer_taken": _steer_taken,
}
"""Events that leave a run in its state."""
_SESSION_FOLDS: Mapping[str, Callable[[SessionImage, Event], None]] = {
    "session_opened": _opened,
    "session_configured": _configured,
    "session_paused": _no_change,
    "session_resumed": _no_change,
    "session_closed": _closed,
    "session_reopened": _usable_again,
    "session_quarantined": _quarantined,
    "session_recovered": _usable_again,
    "session_deleted": _deleted,
    "session_undeleted": _undeleted,
}
