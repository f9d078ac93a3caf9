"""Whether a file is whole: what SQLite says, and what its tables say of each other. Blocks."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from moorage.runtime.errors import CorruptLog

from ..health import RESTORE, Findings
from ..relational.health import TableCheck
from ..relational.schema import SCHEMA_VERSION, Dialect
from .failures import failure_of
from .opening import open_for_reading

if TYPE_CHECKING:
    from ..health import HealthReport
    from .opening import Place

_PROBLEMS_MAX = 100
REMEDY = f"recover the file with the sqlite3 program (.recover) or {RESTORE}"


def inspect(place: Place) -> HealthReport:
    """Read and check everything, beside an owner, as of one moment. Raises StoreFailed where there
    is no such file, or it is not ours."""
    findings = Findings()
    findings.facts["schema_version"] = SCHEMA_VERSION
    findings.facts["bytes"] = place.path.stat().st_size if place.path.exists() else 0
    try:
        connection = open_for_reading(place)
    except CorruptLog as error:
        findings.corrupt(error, REMEDY)
        return findings.report()
    try:
        connection.execute("BEGIN")
        for (problem,) in connection.execute(f"PRAGMA integrity_check({_PROBLEMS_MAX})"):
            if problem != "ok":
                findings.damage(str(place.path), str(problem), REMEDY)
        TableCheck(Dialect.SQLITE, findings).run(connection)
    except sqlite3.Error as error:
        failure = failure_of(error, place.path, "checking it")
        if not isinstance(failure, CorruptLog):
            raise failure from error
        findings.corrupt(failure, REMEDY)
    finally:
        connection.close()
    return findings.report()
