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
from .run_errors import KeyConflict as KeyConflict
from .run_errors import QueueFull as QueueFull
from .run_errors import RunCancelled as RunCancelled
from .run_errors import RunEnded as RunEnded
from .run_errors import RunError as RunError
from .run_errors import RunFailed as RunFailed
from .run_errors import RunInterrupted as RunInterrupted
from .run_errors import RunTimedOut as RunTimedOut
from .run_errors import UnknownRun as UnknownRun
from .session_errors import CheckpointMismatch as CheckpointMismatch
from .session_errors import CursorExpired as CursorExpired
from .session_errors import CursorHeld as CursorHeld
from .session_errors import SessionBusy as SessionBusy
from .session_errors import SessionChanged as SessionChanged
from .session_errors import SessionClosed as SessionClosed
from .session_errors import SessionDeleted as SessionDeleted
from .session_errors import SessionExists as SessionExists
from .session_errors import SessionHeld as SessionHeld
from .session_errors import SessionQuarantined as SessionQuarantined
from .session_errors import UnknownCheckpoint as UnknownCheckpoint
from .session_errors import UnknownSession as UnknownSession
from .store_errors import CorruptLog as CorruptLog
from .store_errors import MigrationRequired as MigrationRequired
from .store_errors import StaleOwner as StaleOwner
from .store_errors import StoreFailed as StoreFailed


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


class BufferFull(MoorageError):
    """A bounded buffer has no room; nothing was put in."""

    code = "buffer_full"
    retryable = True

    def __init__(self, name: str, *, used: int, limit: int, remedy: str) -> None:
        super().__init__(f"{used} in use and {name} is {limit}: {remedy}")
        self.name = name
        self.used = used
        self.limit = limit


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


class WrongProcess(MoorageError):
    """What was opened in process ``pid`` is used in a fork of it; nothing was done."""

    code = "wrong_process"

    def __init__(self, pid: int) -> None:
        super().__init__(
            f"this was opened in process {pid}, before this process was forked off: open another "
            "one here, after the fork (gunicorn: in post_fork, or by a ProcessSupervisor)"
        )
        self.pid = pid
