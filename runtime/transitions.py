"""The two machines as literal tables: what a run does, what a session does.

``*_DECIDE`` says what an input means in a state: the type of the event that records it, or a
ruling. ``*_EVOLVE`` says what an event makes of a state; live handling and replay share it. Every
combination of state and input has a row, terminal states included, so a missing key is a defect.

A run, with the event that takes it along each edge::

    (nothing) --run_submitted--> queued --run_started--> running --run_completed--> completed
                                 ^  ^ |                  | |  |  --run_failed-----> failed
                 run_resumed ____|  | |run_cancelled     | |  |  --run_interrupted> interrupted
                (an answer) |       | |run_timed_out     | |  |run_cancel_requested
                            |       | |run_failed        | |  v
                         waiting <--|-|--run_waiting-----| |  cancelling --run_cancelled-> cancelled
                            |       |_________run_requeued_|             --run_timed_out-> timed_out
                            |--run_cancelled--> cancelled

While it runs, run_asked, run_answered, run_steered and run_steer_taken leave it running: they
record a question that holds the slot, its answer, and messages on their way to the agent. What a
requeued run had asked can be answered while it is queued.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from .runs import RunState
from .sessions import SessionState

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunInput(enum.Enum):
    """What can happen to a run."""

    SUBMIT = "submit"
    START = "start"
    REJECT = "reject"
    """No agent of that name is here."""
    CANCEL = "cancel"
    EXPIRE_QUEUE = "expire_queue"
    EXPIRE_RUN = "expire_run"
    SUCCEED = "succeed"
    FAIL = "fail"
    PARK = "park"
    ANSWER = "answer"
    EXPIRE_ANSWER = "expire_answer"
    """Nobody answered in time: the answer given beforehand counts."""
    ASK = "ask"
    STEER = "steer"
    TAKE = "take"
    """The agent has taken a message that the run was steered with."""
    INTERRUPT = "interrupt"
    REQUEUE = "requeue"

    # Enum's own is a Python function, and the tables are read for every input
    __hash__ = object.__hash__


class Ruling(enum.Enum):
    """What an input means when it makes no event of its own."""

    IGNORE = "ignore"
    """Late, duplicate or without effect: nothing happens."""
    UNKNOWN = "unknown"
    """There is no such run or session."""
    ILLEGAL = "illegal"
    """The shell broke its contract: a defect."""
    BY_CAUSE = "by_cause"
    """run_cancelled or run_timed_out, as the durable request to end it said."""
    QUEUE = "queue"
    """It comes too late or too early for this run: it becomes a run of its own."""
    REFUSE = "refuse"
    """The caller asked for what this state does not allow."""


_IGNORE, _UNKNOWN, _ILLEGAL = Ruling.IGNORE, Ruling.UNKNOWN, Ruling.ILLEGAL
_BY_CAUSE, _REFUSE, _QUEUE = Ruling.BY_CAUSE, Ruling.REFUSE, Ruling.QUEUE

_ENDED: Mapping[RunInput, str | Ruling] = {
    RunInput.SUBMIT: _ILLEGAL,
    RunInput.START: _ILLEGAL,
    RunInput.REJECT: _ILLEGAL,
    RunInput.CANCEL: _IGNORE,
    RunInput.EXPIRE_QUEUE: _IGNORE,
    RunInput.EXPIRE_RUN: _IGNORE,
    RunInput.SUCCEED: _IGNORE,
    RunInput.FAIL: _IGNORE,
    RunInput.PARK: _IGNORE,
    RunInput.ANSWER: _IGNORE,
    RunInput.EXPIRE_ANSWER: _IGNORE,
    RunInput.ASK: _IGNORE,
    RunInput.STEER: _QUEUE,
    RunInput.TAKE: _IGNORE,
    RunInput.INTERRUPT: _IGNORE,
    RunInput.REQUEUE: _IGNORE,
}

RUN_DECIDE: Mapping[RunState | None, Mapping[RunInput, str | Ruling]] = {
    None: {
        RunInput.SUBMIT: "run_submitted",
        RunInput.START: _UNKNOWN,
        RunInput.REJECT: _UNKNOWN,
        RunInput.CANCEL: _UNKNOWN,
        RunInput.EXPIRE_QUEUE: _IGNORE,
        RunInput.EXPIRE_RUN: _IGNORE,
        RunInput.SUCCEED: _IGNORE,
        RunInput.FAIL: _IGNORE,
        RunInput.PARK: _IGNORE,
        RunInput.ANSWER: _UNKNOWN,
        RunInput.EXPIRE_ANSWER: _IGNORE,
        RunInput.ASK: _IGNORE,
        RunInput.STEER: _UNKNOWN,
        RunInput.TAKE: _IGNORE,
        RunInput.INTERRUPT: _IGNORE,
        RunInput.REQUEUE: _IGNORE,
    },
    RunState.QUEUED: {
        RunInput.SUBMIT: _ILLEGAL,
        RunInput.START: "run_started",
        RunInput.REJECT: "run_failed",
        RunInput.CANCEL: "run_cancelled",
        RunInput.EXPIRE_QUEUE: "run_timed_out",
        RunInput.EXPIRE_RUN: _IGNORE,
        RunInput.SUCCEED: _IGNORE,
        RunInput.FAIL: _IGNORE,
        RunInput.PARK: _IGNORE,
        RunInput.ANSWER: "run_answered",
        RunInput.EXPIRE_ANSWER: _IGNORE,
        RunInput.ASK: _IGNORE,
        RunInput.STEER: _QUEUE,
        RunInput.TAKE: _IGNORE,
        RunInput.INTERRUPT: _IGNORE,
        RunInput.REQUEUE: _IGNORE,
    },
    RunState.RUNNING: {
        RunInput.SUBMIT: _ILLEGAL,
        RunInput.START: _ILLEGAL,
        RunInput.REJECT: _ILLEGAL,
        RunInput.CANCEL: "run_cancel_requested",
        RunInput.EXPIRE_QUEUE: _IGNORE,
        RunInput.EXPIRE_RUN: "run_cancel_requested",
        RunInput.SUCCEED: "run_completed",
        RunInput.FAIL: "run_failed",
        RunInput.PARK: "run_waiting",
        RunInput.ANSWER: "run_answered",
        RunInput.EXPIRE_ANSWER: "run_answered",
        RunInput.ASK: "run_asked",
        RunInput.STEER: "run_steered",
        RunInput.TAKE: "run_steer_taken",
        RunInput.INTERRUPT: "run_interrupted",
        RunInput.REQUEUE: "run_requeued",
    },
    RunState.WAITING: {
        RunInput.SUBMIT: _ILLEGAL,
        RunInput.START: _ILLEGAL,
        RunInput.REJECT: _ILLEGAL,
        RunInput.CANCEL: "run_cancelled",
        RunInput.EXPIRE_QUEUE: _IGNORE,
        RunInput.EXPIRE_RUN: _IGNORE,
        RunInput.SUCCEED: _IGNORE,
        RunInput.FAIL: _IGNORE,
        RunInput.PARK: _IGNORE,
        RunInput.ANSWER: "run_resumed",
        RunInput.EXPIRE_ANSWER: "run_resumed",
        RunInput.ASK: _IGNORE,
        RunInput.STEER: _QUEUE,
        RunInput.TAKE: _IGNORE,
        RunInput.INTERRUPT: _IGNORE,
        RunInput.REQUEUE: _IGNORE,
    },
    RunState.CANCELLING: {
        RunInput.SUBMIT: _ILLEGAL,
        RunInput.START: _ILLEGAL,
        RunInput.REJECT: _ILLEGAL,
        RunInput.CANCEL: _IGNORE,
        RunInput.EXPIRE_QUEUE: _IGNORE,
        RunInput.EXPIRE_RUN: _IGNORE,
        RunInput.SUCCEED: _BY_CAUSE,
        RunInput.FAIL: _BY_CAUSE,
        RunInput.PARK: _BY_CAUSE,
        RunInput.ANSWER: _IGNORE,
        RunInput.EXPIRE_ANSWER: _IGNORE,
        RunInput.ASK: _IGNORE,
        RunInput.STEER: _QUEUE,
        RunInput.TAKE: "run_steer_taken",
        RunInput.INTERRUPT: _BY_CAUSE,
        RunInput.REQUEUE: _BY_CAUSE,
    },
    RunState.COMPLETED: _ENDED,
    RunState.FAILED: _ENDED,
    RunState.CANCELLED: _ENDED,
    RunState.TIMED_OUT: _ENDED,
    RunState.INTERRUPTED: _ENDED,
}

RUN_EVOLVE: Mapping[tuple[RunState | None, str], RunState] = {
    (None, "run_submitted"): RunState.QUEUED,
    (RunState.QUEUED, "run_started"): RunState.RUNNING,
    (RunState.QUEUED, "run_failed"): RunState.FAILED,
    (RunState.QUEUED, "run_cancelled"): RunState.CANCELLED,
    (RunState.QUEUED, "run_timed_out"): RunState.TIMED_OUT,
    (RunState.QUEUED, "run_answered"): RunState.QUEUED,
    (RunState.RUNNING, "run_completed"): RunState.COMPLETED,
    (RunState.RUNNING, "run_failed"): RunState.FAILED,
    (RunState.RUNNING, "run_waiting"): RunState.WAITING,
    (RunState.RUNNING, "run_cancel_requested"): RunState.CANCELLING,
    (RunState.RUNNING, "run_interrupted"): RunState.INTERRUPTED,
    (RunState.RUNNING, "run_requeued"): RunState.QUEUED,
    (RunState.RUNNING, "run_asked"): RunState.RUNNING,
    (RunState.RUNNING, "run_answered"): RunState.RUNNING,
    (RunState.RUNNING, "run_steered"): RunState.RUNNING,
    (RunState.RUNNING, "run_steer_taken"): RunState.RUNNING,
    (RunState.WAITING, "run_resumed"): RunState.QUEUED,
    (RunState.WAITING, "run_cancelled"): RunState.CANCELLED,
    (RunState.CANCELLING, "run_steer_taken"): RunState.CANCELLING,
    (RunState.CANCELLING, "run_cancelled"): RunState.CANCELLED,
    (RunState.CANCELLING, "run_timed_out"): RunState.TIMED_OUT,
}


class SessionInput(enum.Enum):
    """What can be asked of a session as a whole."""

    OPEN = "open"
    CONFIGURE = "configure"
    PAUSE = "pause"
    RESUME = "resume"
    CLOSE = "close"
    REOPEN = "reopen"
    QUARANTINE = "quarantine"
    LIFT = "lift"
    """End the quarantine."""
    LOOK = "look"
    """Open it although it may be deleted."""
    DELETE = "delete"
    """Hide it, so that it can be restored."""
    RESTORE = "restore"

    __hash__ = object.__hash__


SESSION_DECIDE: Mapping[SessionState | None, Mapping[SessionInput, str | Ruling]] = {
    None: {
        SessionInput.OPEN: "session_opened",
        SessionInput.CONFIGURE: _UNKNOWN,
        SessionInput.PAUSE: _UNKNOWN,
        SessionInput.RESUME: _UNKNOWN,
        SessionInput.CLOSE: _UNKNOWN,
        SessionInput.REOPEN: _UNKNOWN,
        SessionInput.QUARANTINE: _UNKNOWN,
        SessionInput.LIFT: _UNKNOWN,
        SessionInput.LOOK: "session_opened",
        SessionInput.DELETE: _IGNORE,
        SessionInput.RESTORE: _UNKNOWN,
    },
    SessionState.OPEN: {
        SessionInput.OPEN: _IGNORE,
        SessionInput.CONFIGURE: "session_configured",
        SessionInput.PAUSE: "session_paused",
        SessionInput.RESUME: _IGNORE,
        SessionInput.CLOSE: "session_closed",
        SessionInput.REOPEN: _IGNORE,
        SessionInput.QUARANTINE: "session_quarantined",
        SessionInput.LIFT: _IGNORE,
        SessionInput.LOOK: _IGNORE,
        SessionInput.DELETE: "session_deleted",
        SessionInput.RESTORE: _IGNORE,
    },
    SessionState.PAUSED: {
        SessionInput.OPEN: _IGNORE,
        SessionInput.CONFIGURE: "session_configured",
        SessionInput.PAUSE: _IGNORE,
        SessionInput.RESUME: "session_resumed",
        SessionInput.CLOSE: "session_closed",
        SessionInput.REOPEN: _IGNORE,
        SessionInput.QUARANTINE: "session_quarantined",
        SessionInput.LIFT: _IGNORE,
        SessionInput.LOOK: _IGNORE,
        SessionInput.DELETE: "session_deleted",
        SessionInput.RESTORE: _IGNORE,
    },
    SessionState.CLOSED: {
        SessionInput.OPEN: _IGNORE,
        SessionInput.CONFIGURE: "session_configured",
        SessionInput.PAUSE: _REFUSE,
        SessionInput.RESUME: _REFUSE,
        SessionInput.CLOSE: _IGNORE,
        SessionInput.REOPEN: "session_reopened",
        SessionInput.QUARANTINE: "session_quarantined",
        SessionInput.LIFT: _IGNORE,
        SessionInput.LOOK: _IGNORE,
        SessionInput.DELETE: "session_deleted",
        SessionInput.RESTORE: _IGNORE,
    },
    SessionState.QUARANTINED: {
        SessionInput.OPEN: _IGNORE,
        SessionInput.CONFIGURE: _REFUSE,
        SessionInput.PAUSE: _REFUSE,
        SessionInput.RESUME: _REFUSE,
        SessionInput.CLOSE: _REFUSE,
        SessionInput.REOPEN: _REFUSE,
        SessionInput.QUARANTINE: _IGNORE,
        SessionInput.LIFT: "session_recovered",
        SessionInput.LOOK: _IGNORE,
        SessionInput.DELETE: _REFUSE,
        SessionInput.RESTORE: _REFUSE,
    },
}

DELETED_DECIDE: Mapping[SessionInput, str | Ruling] = {
    SessionInput.OPEN: _REFUSE,
    SessionInput.CONFIGURE: _REFUSE,
    SessionInput.PAUSE: _REFUSE,
    SessionInput.RESUME: _REFUSE,
    SessionInput.CLOSE: _IGNORE,
    SessionInput.REOPEN: _REFUSE,
    SessionInput.QUARANTINE: "session_quarantined",
    SessionInput.LIFT: _IGNORE,
    SessionInput.LOOK: _IGNORE,
    SessionInput.DELETE: _IGNORE,
    SessionInput.RESTORE: "session_undeleted",
}
"""The row of a closed session that is (softly) deleted: for readers it is closed, so that all that
follows it ends; what makes it usable again is its restoration alone."""

SESSION_EVOLVE: Mapping[tuple[SessionState | None, str], SessionState] = {
    (None, "session_opened"): SessionState.OPEN,
    (SessionState.OPEN, "session_configured"): SessionState.OPEN,
    (SessionState.OPEN, "session_paused"): SessionState.PAUSED,
    (SessionState.OPEN, "session_closed"): SessionState.CLOSED,
    (SessionState.OPEN, "session_quarantined"): SessionState.QUARANTINED,
    (SessionState.OPEN, "session_recovered"): SessionState.OPEN,
    (SessionState.OPEN, "session_deleted"): SessionState.CLOSED,
    (SessionState.PAUSED, "session_configured"): SessionState.PAUSED,
    (SessionState.PAUSED, "session_resumed"): SessionState.OPEN,
    (SessionState.PAUSED, "session_closed"): SessionState.CLOSED,
    (SessionState.PAUSED, "session_quarantined"): SessionState.QUARANTINED,
    (SessionState.PAUSED, "session_recovered"): SessionState.PAUSED,
    (SessionState.PAUSED, "session_deleted"): SessionState.CLOSED,
    (SessionState.CLOSED, "session_configured"): SessionState.CLOSED,
    (SessionState.CLOSED, "session_reopened"): SessionState.OPEN,
    (SessionState.CLOSED, "session_quarantined"): SessionState.QUARANTINED,
    (SessionState.CLOSED, "session_deleted"): SessionState.CLOSED,
    (SessionState.CLOSED, "session_undeleted"): SessionState.OPEN,
    (SessionState.QUARANTINED, "session_recovered"): SessionState.OPEN,
}
