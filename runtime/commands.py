"""Commands: what a session is asked to do, as plain data that could cross a process boundary.

Each command has one answer, named in its docstring. A refusal is a MoorageError, and then nothing
has changed.
"""

from __future__ import annotations

from typing import Any

import attrs

from .events import Data
from .runs import OnInterrupt
from .sessions import CloseOutcome, Mode, QueuedPolicy


@attrs.frozen(kw_only=True)
class OpenSession:
    """Create or change; None keeps what is recorded. Answer: True if it was created."""

    mode: Mode = "open_or_create"
    slots: int | None = None
    tags: dict[str, str] | None = None
    metadata: dict[str, Any] | None = None
    summary: str | None = None


@attrs.frozen(kw_only=True)
class Submit:
    """Accept a run. Answer: its id, an older run's id if ``key`` is known.

    ``key_checked_at`` is the head seq at which the store was last asked for the key; a worker
    that forgot keyed runs since then answers None, which means: look it up again.
    """

    run_id: str
    input: Data
    size_bytes: int
    key: str | None = None
    key_checked_at: int = 0
    agent: str | None = None
    metadata: dict[str, Any] | None = None
    on_interrupt: OnInterrupt = "fail"
    attempts_max: int = 3
    timeout_seconds: float | None = None
    queue_seconds_max: float | None = None
    silence_seconds_max: float | None = None


@attrs.frozen(kw_only=True)
class Cancel:
    """Answer: True if the run is or will be cancelled, False if it had ended or will time out."""

    run_id: str
    reason: str | None = None


@attrs.frozen(kw_only=True)
class AnswerRun:
    """Answer a parked run. Answer: True if it was waiting for ``name``."""

    run_id: str
    name: str
    value: Data


@attrs.frozen(kw_only=True)
class AppendEvent:
    """Record something outside any run. Answer: the Event."""

    type: str
    data: Data
    size_bytes: int
    metadata: dict[str, Any] | None = None


@attrs.frozen(kw_only=True)
class Pause:
    """Admit, but start nothing. Answer: True if that changed anything."""


@attrs.frozen(kw_only=True)
class Resume:
    """Start again, and admit again after a drain. Answer: True if that changed anything."""


@attrs.frozen(kw_only=True)
class Close:
    """Answer: True if it was not closed before; it closes as soon as no work is left."""

    outcome: CloseOutcome = "completed"
    reason: str | None = None
    force: bool = False


@attrs.frozen(kw_only=True)
class Reopen:
    """Answer: True if it was closed."""


@attrs.frozen(kw_only=True)
class GetStatus:
    """Answer: a SessionStatus."""


@attrs.frozen(kw_only=True)
class Drain:
    """Stop admitting, let work end until the deadline, interrupt the rest. Answer: DrainReport."""

    timeout_seconds: float
    queued: QueuedPolicy = "keep"


@attrs.frozen(kw_only=True)
class Trim:
    """Drop events below ``before``. Answer: the oldest seq still there."""

    before: int


@attrs.frozen(kw_only=True)
class LiftQuarantine:
    """Try a quarantined session again. Answer: True if it was quarantined."""


@attrs.frozen(kw_only=True)
class DeleteSession:
    """Cancel what runs and forget everything. Answer: True if the session existed."""


Command = (
    OpenSession
    | Submit
    | Cancel
    | AnswerRun
    | AppendEvent
    | Pause
    | Resume
    | Close
    | Reopen
    | GetStatus
    | Drain
    | Trim
    | LiftQuarantine
    | DeleteSession
)
Answer = Any
