"""What stores cannot do; errors.py has the tree."""

from __future__ import annotations

from .moorage_error import MoorageError


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
