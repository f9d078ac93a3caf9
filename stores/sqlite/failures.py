"""What SQLite raises, as the errors of the store port."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from moorage.runtime.errors import CorruptLog, StoreFailed

if TYPE_CHECKING:
    from pathlib import Path

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

UNFIT = (
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)
"""Raised for a value that SQLite cannot hold: the matter of one write, not of the database."""

_REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk is full: the same may be tried again when there is room",
    sqlite3.SQLITE_BUSY: "another program has it locked: the same may be tried again",
    sqlite3.SQLITE_READONLY: "it needs a file and a directory that this user may write to",
    sqlite3.SQLITE_CANTOPEN: "it needs a directory that is there and may be used by this user",
}


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its details; 0 where the driver itself raised."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def failure_of(
    error: sqlite3.Error, path: Path, doing: str, *, committing: bool = False
) -> StoreFailed:
    """The error to raise; its ``__cause__`` is SQLite's.

    Outside a commit nothing is kept of what fails. A commit that meets a full disk never wrote its
    last frame. One that fails in any other way, a sync above all, may be found or not after a
    crash, and what the kernel has of the file is not to be trusted any more: poisoned.
    """
    code = primary_code(error)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    failure: StoreFailed
    if code in _DAMAGED:
        failure = CorruptLog(file=str(path), offset=0, reason=f"{name}: {error}")
    elif committing and code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
        failure = StoreFailed(
            f"{path}: a commit failed and its outcome is unknown: {name}: {error}; everything is "
            "refused until the store is opened again",
            poisoned=True,
        )
    else:
        remedy = _REMEDIES.get(code, "nothing was kept")
        failure = StoreFailed(f"{path}: {doing} failed: {name}: {error}; {remedy}", written=False)
    failure.__cause__ = error
    return failure
