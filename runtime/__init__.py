"""Moorage's product: durable sessions that take runs from a queue and record all that happens.

Start with ``open_supervisor``; ``open_reader`` reads beside it. The modules form a pure core
(events, commands, transitions, image, machine, limits, errors) and the trio shell around it.
"""

from .agents import Agent, RunContext, RunContextWrapper, RunSession, Steer
from .branches import Branch
from .commands import Command
from .current import current_run, current_session
from .errors import (
    AdmissionClosed,
    BufferFull,
    CheckpointMismatch,
    CorruptLog,
    CursorExpired,
    CursorHeld,
    InvalidArgument,
    InvalidCursor,
    KeyConflict,
    MigrationRequired,
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
    SessionChanged,
    SessionClosed,
    SessionDeleted,
    SessionExists,
    SessionHeld,
    SessionQuarantined,
    StaleOwner,
    StoreFailed,
    UnknownCheckpoint,
    UnknownRun,
    UnknownSession,
    WrongProcess,
)
from .events import Event, NewEvent
from .handles import Session
from .limits import SupervisorLimits
from .maintenance import Maintenance, open_maintenance
from .marks import Checkpoint, Label
from .messages import Message
from .opening import Reader, open_reader, open_supervisor
from .overrides import current_overrides, overriding
from .placement import NodeInfo, NodeState, SessionHolder, UnheldSession
from .query_pages import EventPage, RunPage, RunSummary, SessionPage
from .reading import SessionReader
from .retention import RetentionPlan, RetentionPolicy, RetentionRule
from .retention import plan as plan_retention
from .retention_pass import RetentionEntry, RetentionProblem, RetentionReport
from .retention_settings import policy_from as retention_policy
from .run_handle import Run
from .runs import RunOutcome, RunProblem, RunRequest, RunState, SteerOutcome
from .sessions import DrainReport, SessionInfo, SessionState, SessionStatus
from .subscription import Subscription
from .supervisor import Supervisor, SupervisorStatistics
from .transcript import Transcript
from .usage import UsageRow, UsageSummary

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
    "RunContextWrapper",
    "RunSession",
    "Steer",
    "current_run",
    "current_session",
    "overriding",
    "current_overrides",
    "SteerOutcome",
    "RunState",
    "RunOutcome",
    "RunProblem",
    "Agent",
    "Command",
    "Event",
    "NewEvent",
    "Message",
    "Transcript",
    "Label",
    "Checkpoint",
    "Branch",
    "NodeInfo",
    "NodeState",
    "SessionHolder",
    "UnheldSession",
    "Subscription",
    "DrainReport",
    "RetentionPolicy",
    "RetentionRule",
    "RetentionPlan",
    "RetentionReport",
    "RetentionEntry",
    "RetentionProblem",
    "plan_retention",
    "retention_policy",
    "open_maintenance",
    "Maintenance",
    "open_reader",
    "Reader",
    "SessionReader",
    "SessionPage",
    "RunPage",
    "RunSummary",
    "EventPage",
    "UsageSummary",
    "UsageRow",
    "MoorageError",
    "InvalidArgument",
    "InvalidCursor",
    "RecordTooLarge",
    "QueueFull",
    "BufferFull",
    "KeyConflict",
    "AdmissionClosed",
    "SessionClosed",
    "SessionDeleted",
    "SessionBusy",
    "SessionChanged",
    "SessionExists",
    "SessionHeld",
    "SessionQuarantined",
    "UnknownSession",
    "UnknownRun",
    "UnknownCheckpoint",
    "CheckpointMismatch",
    "RunEnded",
    "RunError",
    "RunFailed",
    "RunCancelled",
    "RunTimedOut",
    "RunInterrupted",
    "CursorExpired",
    "CursorHeld",
    "StaleOwner",
    "WrongProcess",
    "StoreFailed",
    "CorruptLog",
    "MigrationRequired",
]
