"""Moorage's product: durable sessions that take runs from a queue and record all that happens.

Start with ``open_supervisor``; ``open_reader`` reads beside it. The modules form a pure core
(events, commands, transitions, image, machine, limits, errors) and the trio shell around it.
"""

from .agents import Agent, RunContext
from .commands import Command
from .errors import (
    AdmissionClosed,
    BufferFull,
    CorruptLog,
    CursorExpired,
    CursorHeld,
    InvalidArgument,
    KeyConflict,
    MoorageError,
    QueueFull,
    RecordTooLarge,
    RunCancelled,
    RunEnded,
    RunError,
    RunFailed,
    RunInterrupted,
    RunTimedOut,
    SessionBusy,
    SessionClosed,
    SessionExists,
    SessionHeld,
    SessionQuarantined,
    StaleOwner,
    StoreFailed,
    UnknownRun,
    UnknownSession,
)
from .events import Event
from .handles import Run, Session
from .limits import SupervisorLimits
from .opening import Reader, open_reader, open_supervisor
from .reading import SessionReader
from .runs import RunOutcome, RunProblem, RunRequest, RunState
from .sessions import DrainReport, SessionInfo, SessionState, SessionStatus
from .subscription import Subscription
from .supervisor import Supervisor, SupervisorStatistics

__all__ = [
    "open_supervisor",
    "Supervisor",
    "SupervisorLimits",
    "SupervisorStatistics",
    "Session",
    "SessionInfo",
    "SessionState",
    "SessionStatus",
    "Run",
    "RunRequest",
    "RunContext",
    "RunState",
    "RunOutcome",
    "RunProblem",
    "Agent",
    "Command",
    "Event",
    "Subscription",
    "DrainReport",
    "open_reader",
    "Reader",
    "SessionReader",
    "MoorageError",
    "InvalidArgument",
    "RecordTooLarge",
    "QueueFull",
    "BufferFull",
    "KeyConflict",
    "AdmissionClosed",
    "SessionClosed",
    "SessionBusy",
    "SessionExists",
    "SessionHeld",
    "SessionQuarantined",
    "UnknownSession",
    "UnknownRun",
    "RunEnded",
    "RunError",
    "RunFailed",
    "RunCancelled",
    "RunTimedOut",
    "RunInterrupted",
    "CursorExpired",
    "CursorHeld",
    "StaleOwner",
    "StoreFailed",
    "CorruptLog",
]
