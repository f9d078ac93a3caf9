"""The tables of each version, and how a database comes from one to the next.

A version that was released is never changed: what comes later is a version of its own. All of a
migration is one transaction, and an advisory lock lets one at a time happen. Blocks; for threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import psycopg
from moorage.runtime.errors import InvalidArgument, MigrationRequired, StoreFailed
from psycopg import sql

from ..relational.schema import POSTGRES_SCHEMA_VERSION as SCHEMA_VERSION
from ..relational.schema import Dialect, additions, creation
from .failures import failure_of
from .partitions import check_partitions, partitioned, partitions_of

if TYPE_CHECKING:
    from .place import Connection, Place

LOCK = 0x4D4F4F52
"""Of the advisory lock."""

MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "CREATE SEQUENCE change_number",
        *creation(Dialect.POSTGRES),
        # its rows change with every append: room for the new version on the same page
        "ALTER TABLE session SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)",
    ),
    # what sessions demand of nodes, what nodes offer, and how busy they are; a node of the release
    # before goes on meanwhile: what it leaves out has a value
    2: (*additions(Dialect.POSTGRES, 2), "DROP INDEX session_needs_worker"),  # session_demand does
}
"""Version -> the statements that make it of the one before."""


@attrs.frozen
class MigrationReport:
    """The versions before and after; the same if there was nothing to do."""

    schema: str
    before: int
    after: int


def version_of(connection: Connection) -> int:
    """0 if there are no tables."""
    if connection.execute("SELECT to_regclass('migration')").fetchone() == (None,):
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()
    assert row is not None
    return int(row[0])


def check_version(place: Place, connection: Connection) -> None:
    """Raises MigrationRequired, and StoreFailed for tables of a later release."""
    found = version_of(connection)
    where = f"schema {place.schema!r} of {place.described}"
    if found > SCHEMA_VERSION:
        raise StoreFailed(
            f"{where} has tables of version {found} and this release knows {SCHEMA_VERSION}: use "
            "the release that migrated it, or a later one",
            written=False,
        )
    if found < SCHEMA_VERSION:
        raise MigrationRequired(where, found=found, needed=SCHEMA_VERSION)


def migrate(place: Place, *, partitions: int | None = None) -> MigrationReport:
    """Make or change the tables as this release needs them. ``partitions`` is into how many parts
    the event table is made (0: one table), which stays so for ever; None: as it is, or 0.

    Raises StoreFailed, also if they are those of a later release, and InvalidArgument for other
    ``partitions`` than there are.
    """
    if partitions is not None:
        check_partitions(partitions)
    try:
        with place.connect() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            schema = sql.Identifier(place.schema)
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            before = version_of(connection)
            if before > SCHEMA_VERSION:
                check_version(place, connection)
            if before == 0:
                connection.execute(
                    "CREATE TABLE migration (version integer PRIMARY KEY, "
                    "applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
                )
            elif partitions is not None and (found := partitions_of(connection)) != partitions:
                raise InvalidArgument(
                    f"the event table of schema {place.schema!r} is there and has {found} "
                    f"partitions, not {partitions}: to change that, copy it (docs/"
                    "planning_postgres.md says how)"
                )
            for version in range(before + 1, SCHEMA_VERSION + 1):
                for statement in MIGRATIONS[version]:
                    for part in partitioned(statement, partitions or 0):
                        connection.execute(part.encode())
                connection.execute("INSERT INTO migration (version) VALUES (%s)", (version,))
        return MigrationReport(place.schema, before, SCHEMA_VERSION)
    except psycopg.Error as error:
        raise failure_of(error, place.described, "migrating it", schema=place.schema) from error
