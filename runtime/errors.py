"""Every error that Moorage raises, in one tree.

::

    MoorageError
    ├── InvalidArgument (also ValueError)     a value is outside its documented range
    │   ├── InvalidCursor                     a page cursor is not one of this query
    │   └── RecordTooLarge                    one event or input is over record_bytes_max
    ├── QueueFull                             the session's run queue is at its limit
    ├── BufferFull                            a bounded buffer is full; nothing was put in
    ├── KeyConflict                           the idempotency key belongs to another input
    ├── AdmissionClosed                       draining or leaving: nothing is accepted
    ├── SessionClosed                         closed until reopen()
    │   └── SessionDeleted                    deleted until restore_session()
    ├── SessionBusy                           work is left that this would tear apart
    ├── SessionChanged                        something has happened since you looked
    ├── SessionExists                         mode="create" on a session that is there
    ├── SessionHeld                           another owner holds the session or the store
    ├── SessionQuarantined                    its worker crashed too often
    ├── UnknownSession
    ├── UnknownRun
    ├── UnknownCheckpoint
    ├── CheckpointMismatch                    what led to the checkpoint is not what it was
    ├── RunEnded                              emit or park after the run's end
    ├── RunError                              raised by RunOutcome.unwrap()
    │   ├── RunFailed
    │   ├── RunCancelled
    │   ├── RunTimedOut
    │   └── RunInterrupted
    ├── CursorExpired                         events before oldest_seq are gone
    ├── CursorHeld                            a named cursor has a live user already
    ├── StaleOwner                            the claim's epoch is over
    ├── WrongProcess                          what was opened before a fork is used behind it
    └── StoreFailed                           outcome unknown unless .written is False
        ├── MigrationRequired                 the database's tables are of an older release
        └── CorruptLog                        the log is damaged below its durable end

``code`` is stable and machine-readable, ``retryable`` says whether the same call may succeed
later without any change by the caller, and the facts of an error are its attributes.
"""

from __future__ import annotations

from .moorage_error import MoorageError as MoorageError
from .run_errors import RunCancelled as RunCancelled
from .run_errors import RunError as RunError
from .run_errors import RunFailed as RunFailed
from .run_errors import RunInterrupted as RunInterrupted
from .run_errors import RunTimedOut as RunTimedOut


class InvalidArgument(MoorageError, ValueError):
    """A value that no state of the system would accept; nothing was changed."""

    code = "invalid_argument"


class InvalidCursor(InvalidArgument):
    """``reason`` is damaged, version, kind, order or filters: what does not fit the query."""

    code = "invalid_cursor"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"the cursor cannot be used: {message}")
        self.reason = reason


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


class SessionDeleted(SessionClosed):
    """Deleted so that it can be restored; ``deleted_at_ns`` says when."""

    code = "session_deleted"

    def __init__(self, session_id: str, *, deleted_at_ns: int) -> None:
        MoorageError.__init__(
            self,
            f"session {session_id!r} is deleted: restore_session() or moorage undelete brings it "
            "back, delete_session() or moorage delete frees the id, include_deleted=True opens it "
            "to be read",
        )
        self.session_id = session_id
        self.deleted_at_ns = deleted_at_ns


class SessionChanged(MoorageError):
    """The session's head is not ``expected_seq`` any more: nothing was done."""

    code = "session_changed"

    def __init__(self, session_id: str, *, expected_seq: int, head_seq: int) -> None:
        super().__init__(
            f"session {session_id!r} has changed since it was looked at: its head was "
            f"{expected_seq} and is {head_seq}; look again and decide again"
        )
        self.session_id = session_id
        self.expected_seq = expected_seq
        self.head_seq = head_seq


class SessionBusy(MoorageError):
    """Work is left; ``running``, ``queued`` and ``waiting`` count it."""

    code = "session_busy"
    retryable = True

    def __init__(self, session_id: str, *, running: int, queued: int, waiting: int) -> None:
        super().__init__(
            f"session {session_id!r} has {running} running, {queued} queued and {waiting} waiting "
            "runs: wait for them or cancel them; close(force=True) does that for all"
        )
        self.session_id = session_id
        self.running = running
        self.queued = queued
        self.waiting = waiting


class SessionExists(MoorageError):
    code = "session_exists"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"session {session_id!r} exists: give another id, "
            "or open it with mode='resume' or 'open_or_create'"
        )
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


class UnknownCheckpoint(MoorageError):
    code = "unknown_checkpoint"

    def __init__(self, session_id: str, checkpoint_id: str) -> None:
        super().__init__(
            f"session {session_id!r} has no checkpoint {checkpoint_id!r}: see checkpoints()"
        )
        self.session_id = session_id
        self.checkpoint_id = checkpoint_id


class CheckpointMismatch(MoorageError):
    """The messages up to ``seq`` have another checksum than the checkpoint; nothing was changed."""

    code = "checkpoint_mismatch"

    def __init__(
        self, session_id: str, checkpoint_id: str, *, seq: int, expected: str, found: str
    ) -> None:
        super().__init__(
            f"what session {session_id!r} has up to seq {seq} is not what checkpoint "
            f"{checkpoint_id!r} was made of (checksum {found[:12]}, expected {expected[:12]}): "
            "events were trimmed or changed since; branch(seq) goes there without this check"
        )
        self.session_id = session_id
        self.checkpoint_id = checkpoint_id
        self.seq = seq
        self.expected = expected
        self.found = found


class RunEnded(MoorageError):
    """The context's run has ended; nothing was appended."""

    code = "run_ended"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} has ended: events after its end are not recorded")
        self.run_id = run_id


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


class WrongProcess(MoorageError):
    """What was opened in process ``pid`` is used in a fork of it; nothing was done."""

    code = "wrong_process"

    def __init__(self, pid: int) -> None:
        super().__init__(
            f"this was opened in process {pid}, before this process was forked off: open another "
            "one here, after the fork (gunicorn: in post_fork, or by a ProcessSupervisor)"
        )
        self.pid = pid


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


class MigrationRequired(StoreFailed):
    """The database's tables are those of version ``found`` (0: none) and this release needs
    ``needed``; nothing was changed."""

    code = "migration_required"
    retryable = False

    def __init__(self, where: str, *, found: int, needed: int) -> None:
        super().__init__(
            f"{where} has tables of version {found} and this release needs {needed}: "
            "run `moorage migrate` (or PostgresStore.migrate) once, while no older release writes",
            written=False,
        )
        self.found = found
        self.needed = needed


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
