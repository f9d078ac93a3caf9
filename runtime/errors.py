"""Every error that Moorage raises, in one tree.

::

    MoorageError
    ├── InvalidArgument (also ValueError)     a value is outside its documented range
    │   └── RecordTooLarge                    one event or input is over record_bytes_max
    ├── QueueFull                             the session's run queue is at its limit
    ├── BufferFull                            a bounded buffer is full; nothing was put in
    ├── KeyConflict                           the idempotency key belongs to another input
    ├── AdmissionClosed                       draining or leaving: nothing is accepted
    ├── SessionClosed                         closed until reopen()
    ├── SessionBusy                           closing needs force while work is left
    ├── SessionExists                         mode="create" on a session that is there
    ├── SessionHeld                           another owner holds the session or the store
    ├── SessionQuarantined                    its worker crashed too often
    ├── UnknownSession
    ├── UnknownRun
    ├── RunEnded                              emit or park after the run's end
    ├── RunError                              raised by RunOutcome.unwrap()
    │   ├── RunFailed
    │   ├── RunCancelled
    │   ├── RunTimedOut
    │   └── RunInterrupted
    ├── CursorExpired                         events before oldest_seq are gone
    ├── CursorHeld                            a named cursor has a live user already
    ├── StaleOwner                            the claim's epoch is over
    └── StoreFailed                           outcome unknown unless .written is False
        └── CorruptLog                        the log is damaged below its durable end

``code`` is stable and machine-readable, ``retryable`` says whether the same call may succeed
later without any change by the caller, and the facts of an error are its attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .runs import RunOutcome


class MoorageError(Exception):
    """Base of everything that Moorage raises on purpose."""

    code: ClassVar[str] = "moorage_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[MoorageError], args: tuple[Any, ...], facts: dict[str, Any]) -> MoorageError:
    """Make an error again from its pickled parts, whatever its constructor asks for."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class InvalidArgument(MoorageError, ValueError):
    """A value that no state of the system would accept; nothing was changed."""

    code = "invalid_argument"


class RecordTooLarge(InvalidArgument):
    """One event or input is larger than ``record_bytes_max`` once encoded."""

    code = "record_too_large"

    def __init__(self, what: str, *, size: int, limit: int) -> None:
        super().__init__(
            f"{what} is {size} bytes encoded and record_bytes_max is {limit}: "
            "send less, or keep the payload elsewhere and send a reference"
        )
        self.size = size
        self.limit = limit


class QueueFull(MoorageError):
    """The session's queue is at ``limit``; ``unit`` says of what (runs or bytes)."""

    code = "queue_full"
    retryable = True

    def __init__(self, session_id: str, *, queued: int, limit: int, unit: str = "runs") -> None:
        name = "runs_queued_max" if unit == "runs" else "queue_bytes_max"
        super().__init__(
            f"session {session_id!r} has {queued} {unit} queued and {name} is {limit}: "
            "submit again when runs have finished, or raise the limit"
        )
        self.session_id = session_id
        self.queued = queued
        self.limit = limit
        self.unit = unit


class BufferFull(MoorageError):
    """A bounded buffer has no room; nothing was put in."""

    code = "buffer_full"
    retryable = True

    def __init__(self, name: str, *, used: int, limit: int, remedy: str) -> None:
        super().__init__(f"{used} in use and {name} is {limit}: {remedy}")
        self.name = name
        self.used = used
        self.limit = limit


class KeyConflict(MoorageError):
    """The key was used before, in this session, with another input."""

    code = "key_conflict"

    def __init__(self, session_id: str, *, key: str, run_id: str) -> None:
        super().__init__(
            f"key {key!r} in session {session_id!r} belongs to run {run_id} with another input: "
            "use a new key for new work"
        )
        self.session_id = session_id
        self.key = key
        self.run_id = run_id


class AdmissionClosed(MoorageError):
    """The process is draining or has left; nothing was accepted."""

    code = "admission_closed"
    retryable = True

    def __init__(self, what: str, *, reason: str) -> None:
        super().__init__(
            f"{what} accepts nothing, it is {reason}: "
            "resume the session, or submit to the next process"
        )
        self.reason = reason


class SessionClosed(MoorageError):
    code = "session_closed"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} is closed: reopen() it before you add to it")
        self.session_id = session_id


class SessionBusy(MoorageError):
    """Work is left; ``running``, ``queued`` and ``waiting`` count it."""

    code = "session_busy"
    retryable = True

    def __init__(self, session_id: str, *, running: int, queued: int, waiting: int) -> None:
        super().__init__(
            f"session {session_id!r} has {running} running, {queued} queued and {waiting} waiting "
            "runs: wait for them, or close with force=True, which cancels them"
        )
        self.session_id = session_id
        self.running = running
        self.queued = queued
        self.waiting = waiting


class SessionExists(MoorageError):
    code = "session_exists"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} exists: use mode='resume' or 'open_or_create'")
        self.session_id = session_id


class SessionHeld(MoorageError):
    """Another owner has it; ``holder`` describes who (process id, host, since when)."""

    code = "session_held"
    retryable = True

    def __init__(self, what: str, *, holder: str) -> None:
        super().__init__(f"{what} is held by {holder}: stop that process, or use open_reader")
        self.holder = holder


class SessionQuarantined(MoorageError):
    code = "session_quarantined"

    def __init__(self, session_id: str, *, reason: str = "its worker crashed too often") -> None:
        super().__init__(
            f"session {session_id!r} is quarantined ({reason}); its queue is kept: find the cause, "
            "then call supervisor.unquarantine()"
        )
        self.session_id = session_id
        self.reason = reason


class UnknownSession(MoorageError):
    code = "unknown_session"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"there is no session {session_id!r}")
        self.session_id = session_id


class UnknownRun(MoorageError):
    code = "unknown_run"

    def __init__(self, session_id: str, run_id: str) -> None:
        super().__init__(f"session {session_id!r} has no run {run_id!r}, or it was trimmed")
        self.session_id = session_id
        self.run_id = run_id


class RunEnded(MoorageError):
    """The context's run has ended; nothing was appended."""

    code = "run_ended"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} has ended: events after its end are not recorded")
        self.run_id = run_id


class RunError(MoorageError):
    """What ``RunOutcome.unwrap()`` raises; ``outcome`` has the whole story."""

    code = "run_error"

    def __init__(self, outcome: RunOutcome) -> None:
        detail = f": {outcome.error.message}" if outcome.error else ""
        super().__init__(f"run {outcome.run_id} ended {outcome.state.value}{detail}")
        self.outcome = outcome


class RunFailed(RunError):
    code = "run_failed"


class RunCancelled(RunError):
    code = "run_cancelled"


class RunTimedOut(RunError):
    code = "run_timed_out"


class RunInterrupted(RunError):
    code = "run_interrupted"


class CursorExpired(MoorageError):
    """Events up to the cursor are gone; ``oldest_seq`` is the first that is still there."""

    code = "cursor_expired"

    def __init__(self, session_id: str, *, after: int, oldest_seq: int) -> None:
        super().__init__(
            f"session {session_id!r} keeps events from seq {oldest_seq} on, the cursor is "
            f"after={after}: start again with after={oldest_seq - 1}"
        )
        self.session_id = session_id
        self.after = after
        self.oldest_seq = oldest_seq


class CursorHeld(MoorageError):
    code = "cursor_held"
    retryable = True

    def __init__(self, session_id: str, *, name: str) -> None:
        super().__init__(
            f"cursor {name!r} of session {session_id!r} has a live subscriber: "
            "use another name, or end that subscription"
        )
        self.session_id = session_id
        self.name = name


class StaleOwner(MoorageError):
    """The claim is over: another epoch owns the session, or its head moved."""

    code = "stale_owner"

    def __init__(self, session_id: str, *, epoch: int, current: str) -> None:
        super().__init__(f"epoch {epoch} of session {session_id!r} is over ({current})")
        self.session_id = session_id
        self.epoch = epoch


class StoreFailed(MoorageError):
    """The store could not do it.

    ``written`` is False when it is certain that nothing was kept, and None when the outcome is
    unknown (retry a submit with the same ``key``). ``poisoned`` means that the store refuses all
    writes until it is opened again.
    """

    code = "store_failed"
    retryable = True

    def __init__(
        self, message: str, *, written: bool | None = None, poisoned: bool = False
    ) -> None:
        super().__init__(message)
        self.written = written
        self.poisoned = poisoned

    def refusal(self) -> StoreFailed:
        """What is told to whoever asks of the poisoned store later: it was not even tried."""
        return StoreFailed(self.message, written=False, poisoned=True)


class CorruptLog(StoreFailed):
    """Bytes that were durable are not what was written; nothing was changed.

    ``file``, ``offset`` and ``reason`` say where and what.
    """

    code = "corrupt_log"
    retryable = False

    def __init__(self, *, file: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{file} is damaged at offset {offset}: {reason}; nothing was changed. "
            "Restore it from a backup, or keep what can be read with: moorage salvage",
            written=False,
            poisoned=True,
        )
        self.file = file
        self.offset = offset
        self.reason = reason
