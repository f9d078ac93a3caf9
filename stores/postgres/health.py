"""Whether the tables are whole, and whether the server keeps what it acknowledges. Blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from moorage.runtime.errors import CorruptLog

from ..health import Findings, place_of
from ..relational.health import TableCheck
from ..relational.schema import Dialect
from .failures import failure_of
from .migrations import check_version, version_of
from .place import one_moment

if TYPE_CHECKING:
    from ..health import HealthReport
    from .place import Connection, Place

_RISKS = {
    "fsync": "what was acknowledged is lost when the server's machine loses power",
    "full_page_writes": "a page that was half written when power was lost cannot be repaired",
    "synchronous_commit": (
        "claims and commands on their way may be lost in a crash of the server (events are not: "
        "the store switches it on for them)"
    ),
}
"""Setting -> what its being off means."""
_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name"
_NO_EPOCH = "SELECT id FROM session WHERE epoch < 1 AND (info IS NOT NULL OR head_seq > 0)"
_NO_NODE = (
    "SELECT id, owner FROM session WHERE owner IS NOT NULL "
    "AND NOT EXISTS (SELECT FROM node WHERE node.number = session.owner)"
)


def inspect(place: Place) -> HealthReport:
    """Read and check everything, beside all nodes, as of one moment. Raises MigrationRequired and
    StoreFailed."""
    findings = Findings()
    try:
        with place.connect() as connection:
            check_version(place, connection)
            findings.facts["schema_version"] = version_of(connection)
            _settings(connection, findings)
            with one_moment(connection):
                _ownership(connection, findings)
                TableCheck(Dialect.POSTGRES, findings, run=_binary).run(connection)
    except psycopg.Error as error:
        failure = failure_of(error, place.described, "checking it", schema=place.schema)
        if not isinstance(failure, CorruptLog):
            raise failure from error
        findings.corrupt(failure)
    return findings.report()


def _binary(connection: Any, statement: str, values: tuple[object, ...]) -> Any:
    return connection.execute(statement, values, binary=True)


def _settings(connection: Connection, findings: Findings) -> None:
    for name, setting in connection.execute(_SETTINGS, (list(_RISKS),)).fetchall():
        if setting == "off":
            findings.risk(
                f"server setting {name}",
                f"it is off: {_RISKS[name]}",
                f"ALTER SYSTEM SET {name} = on, and SELECT pg_reload_conf()",
            )


def _ownership(connection: Connection, findings: Findings) -> None:
    for (session_id,) in connection.execute(_NO_EPOCH).fetchall():
        findings.damage(
            place_of(session_id),
            "it was written to and has no epoch: an owner from before would not be refused",
            "UPDATE session SET epoch = 1 WHERE epoch < 1 when no process works with it",
        )
    for session_id, owner in connection.execute(_NO_NODE).fetchall():
        findings.damage(
            place_of(session_id),
            f"it belongs to node {owner}, which does not exist",
            "it is free to be claimed all the same; UPDATE session SET owner = NULL tidies up",
        )
