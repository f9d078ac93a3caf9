"""The event table in parts, by a hash of the session: chosen when the tables are made.

All events of a session lie in one part, so that an append goes to one and a read looks into one.
Parts bound what is done to a table as a whole: a vacuum, a rebuilt index, a move to another disk
(``ALTER TABLE event_3 SET TABLESPACE``), and the 32 TB that Postgres allows to a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.errors import InvalidArgument

if TYPE_CHECKING:
    from .place import Connection

PARTITIONS_MAX = 1_024
_EVENT = "CREATE TABLE event ("


def check_partitions(partitions: object) -> None:
    """Raises InvalidArgument."""
    if type(partitions) is not int or not 0 <= partitions <= PARTITIONS_MAX:
        raise InvalidArgument(
            f"partitions must be a whole number from 0 (one table) to {PARTITIONS_MAX}, not "
            f"{partitions!r}"
        )


def partitioned(statement: str, partitions: int) -> tuple[str, ...]:
    """What makes the same table in so many parts; other statements stay as they are. Pure."""
    if not partitions or not statement.startswith(_EVENT):
        return (statement,)
    parts = (
        f"CREATE TABLE event_{number} PARTITION OF event "
        f"FOR VALUES WITH (MODULUS {partitions}, REMAINDER {number})"
        for number in range(partitions)
    )
    return (f"{statement} PARTITION BY HASH (session)", *parts)


def partitions_of(connection: Connection) -> int:
    """How many parts the event table has; 0 if it is one."""
    row = connection.execute(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass('event')"
    ).fetchone()
    assert row is not None
    return int(row[0])
