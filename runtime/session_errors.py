"""What sessions, their checkpoints and their cursors refuse; errors.py has the tree."""

from __future__ import annotations

from .moorage_error import MoorageError


class SessionClosed(MoorageError):
    """Closed until ``reopen()``; nothing was added."""

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


class SessionExists(MoorageError):
    """It was to be made (``mode="create"``) and is there."""

    code = "session_exists"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"session {session_id!r} exists: give another id, "
            "or open it with mode='resume' or 'open_or_create'"
        )
        self.session_id = session_id


HELD_REMEDY = ": stop that process, or use open_reader"
"""For who writes a program: a command line has another one to say."""


class SessionHeld(MoorageError):
    """Another owner has it; ``holder`` describes who (process id, host, since when)."""

    code = "session_held"
    retryable = True

    def __init__(self, what: str, *, holder: str) -> None:
        super().__init__(f"{what} is held by {holder}{HELD_REMEDY}")
        self.holder = holder


class SessionQuarantined(MoorageError):
    """Its worker crashed too often; ``reason`` is why it is left alone."""

    code = "session_quarantined"

    def __init__(self, session_id: str, *, reason: str = "its worker crashed too often") -> None:
        super().__init__(
            f"session {session_id!r} is quarantined ({reason}); its queue is kept: find the cause, "
            "then call supervisor.unquarantine()"
        )
        self.session_id = session_id
        self.reason = reason


class UnknownSession(MoorageError):
    """There is none of that id."""

    code = "unknown_session"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"there is no session {session_id!r}")
        self.session_id = session_id


class UnknownCheckpoint(MoorageError):
    """The session has none of that id."""

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
    """Somebody subscribes by that name already."""

    code = "cursor_held"
    retryable = True

    def __init__(self, session_id: str, *, name: str) -> None:
        super().__init__(
            f"cursor {name!r} of session {session_id!r} has a live subscriber: "
            "use another name, or end that subscription"
        )
        self.session_id = session_id
        self.name = name
