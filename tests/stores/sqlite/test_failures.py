"""Each kind of failure tells whether anything was kept, and what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from moorage.runtime.errors import CorruptLog
from moorage.stores.sqlite.failures import failure_of, primary_code

PATH = Path("data.sqlite")


def an_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorname = name
    error.sqlite_errorcode = getattr(sqlite3, name)
    return error


@pytest.mark.parametrize(
    ("name", "committing", "written", "poisoned"),
    [
        ("SQLITE_FULL", False, False, False),
        ("SQLITE_FULL", True, False, False),
        ("SQLITE_BUSY", False, False, False),
        ("SQLITE_BUSY_SNAPSHOT", True, False, False),
        ("SQLITE_IOERR_WRITE", False, False, False),
        ("SQLITE_IOERR_WRITE", True, None, True),
        ("SQLITE_IOERR_FSYNC", True, None, True),
        ("SQLITE_NOMEM", True, None, True),
    ],
)
def test_what_is_known_after_a_failure(
    name: str, committing: bool, written: bool | None, poisoned: bool
) -> None:
    error = an_error(name)

    failure = failure_of(error, PATH, "writing", committing=committing)

    assert (failure.written, failure.poisoned) == (written, poisoned)
    assert name in str(failure)
    assert "as SQLite says it" in str(failure)
    assert failure.__cause__ is error


@pytest.mark.parametrize("name", ["SQLITE_CORRUPT", "SQLITE_CORRUPT_INDEX", "SQLITE_NOTADB"])
def test_damage_is_damage_whatever_was_done(name: str) -> None:
    failure = failure_of(an_error(name), PATH, "reading")

    assert isinstance(failure, CorruptLog)
    assert failure.file == "data.sqlite"


def test_what_the_driver_raises_itself_has_no_code() -> None:
    assert primary_code(sqlite3.ProgrammingError("closed")) == 0
    assert failure_of(sqlite3.ProgrammingError("closed"), PATH, "x").written is False
