"""Commands: what a session is asked to do, as plain data that could cross a process boundary.

Each command has one answer, named in its docstring. A refusal is a MoorageError, and then nothing
has changed.
"""

from __future__ import annotations

from typing import Any

import attrs

from .events import Data, NewEvent
from .placement import words_of
from .runs import OnInterrupt
from .sessions import CloseOutcome, Mode, QueuedPolicy


@attrs.frozen(kw_only=True)
class OpenSession:
    """Create or change; None keeps what is recorded. Answer: True if it was created.

    ``metadata_update`` changes single entries of the metadata, None removes one; the worker merges
    it into ``metadata`` before the machine sees it.
    """

    mode: Mode = "open_or_create"
    slots: int | None = None
    tags: dict[str, str] | None = None
    metadata: dict[str, Any] | None = None
    summary: str | None = None
    metadata_update: dict[str, Any] | None = None
    expire_after_seconds: float | None = None
    expire_by_policy: bool = False
    """Forget what ``expire_after_seconds`` is recorded."""
    include_deleted: bool = False
    node_tags: dict[str, str] | None = None


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
    """Answer a run that parked or asks. Answer: True if it was waiting for ``name``."""

    run_id: str
    name: str
    value: Data
    size_bytes: int = 0
    """Of the value, encoded."""


@attrs.frozen(kw_only=True)
class Steer:
    """Give a running run a message on its way. Answer: True if the run will be offered it, False
    if it was queued as a run of its own, whose id is ``steer_id``.

    What no agent has taken when the run ends is queued so too. ``steerable`` says whether the
    run's agent takes messages; its worker knows. ``ended``: the run, which was for ``agent``, has
    ended, and the message is queued at once. With ``checked_at`` the log was looked through for
    ``steer_id`` up to there; the answer is None if such a message may have come since.
    """

    run_id: str
    steer_id: str
    message: Data
    size_bytes: int
    steerable: bool = False
    ended: bool = False
    agent: str | None = None
    checked_at: int | None = None


@attrs.frozen(kw_only=True)
class AppendEvents:
    """Record something outside any run, all of it or nothing. Answer: the Events, in order.

    ``between_runs`` has it refused with SessionBusy while a run is under way, ``expected_seq`` with
    SessionChanged if the head is another one.
    """

    events: tuple[NewEvent, ...]
    size_bytes: int
    between_runs: bool = False
    expected_seq: int | None = None


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


@attrs.frozen(kw_only=True)
class DeleteUnchanged:
    """Like DeleteSession, if nothing has happened behind ``expected_seq``; with ``idle``, and no
    run is queued, running or waiting. Answer: True if the session existed."""

    expected_seq: int
    idle: bool = False


# A command of its own, and no field of DeleteSession, which an older release would not see.
@attrs.frozen(kw_only=True)
class SoftDelete:
    """Cancel what runs, and hide the session until it is restored; ``expected_seq`` and ``idle``
    as in DeleteUnchanged. Answer: True if that changed anything."""

    reason: str | None = None
    expected_seq: int | None = None
    idle: bool = False


@attrs.frozen(kw_only=True)
class RestoreSession:
    """Undo a SoftDelete. Answer: True if that changed anything."""


Command = (
    OpenSession
    | Submit
    | Cancel
    | AnswerRun
    | Steer
    | AppendEvents
    | Pause
    | Resume
    | Close
    | Reopen
    | GetStatus
    | Drain
    | Trim
    | LiftQuarantine
    | DeleteSession
    | DeleteUnchanged
    | SoftDelete
    | RestoreSession
)
Answer = Any


def demands_of(command: Command) -> frozenset[str]:
    """What a command will have its session demand of a node, in the words of ``placement``."""
    if isinstance(command, Submit):
        return words_of({}, (command.agent or "",))
    if isinstance(command, OpenSession):
        return words_of(command.node_tags or {}, ())
    return frozenset()
