"""The tables, as data, and what makes them in each database.

One row of ``session`` per session id that was ever written: after a delete it is a tombstone (no
``info``) that keeps the last seq. ``number`` stands for the id in all other tables. ``event`` has
one row per record with the msgpack body that every store keeps, in the order of its key, so that
reading a range costs what it returns. ``run`` says where a run's request and end are (0: nowhere).

On Postgres a session has an ``owner``, one of the nodes, and the epoch of its last claim. The lease
is the node's: one row is renewed for all sessions that it holds. ``command`` is the inbox of them
all: what was sent to a session that another node holds, or is to take, and the answer. ``demands``
and ``offer`` are what a node has to offer to take it and what a node does; a node that has said
nothing (yet) has no ``offer``. ``demand_key`` stands for ``demands``, however long those are.
"""

from __future__ import annotations

import enum

import attrs


class Dialect(enum.Enum):
    """Which database; ``value`` says how it writes a parameter."""

    SQLITE = "?"
    POSTGRES = "%s"


SCHEMA_VERSION = 1
"""Of the tables below in SQLite. A store refuses a higher one before it writes anything."""
POSTGRES_SCHEMA_VERSION = 2
"""The same of those in Postgres, where ``since`` says which version added a column."""

KINDS: dict[str, dict[Dialect, str]] = {
    "number": {Dialect.SQLITE: "INTEGER", Dialect.POSTGRES: "bigint"},
    "identity": {
        Dialect.SQLITE: "INTEGER PRIMARY KEY",
        Dialect.POSTGRES: "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    },
    # compared byte by byte in both
    "text": {Dialect.SQLITE: "TEXT", Dialect.POSTGRES: 'text COLLATE "C"'},
    "bytes": {Dialect.SQLITE: "BLOB", Dialect.POSTGRES: "bytea"},
    "flag": {Dialect.SQLITE: "INTEGER", Dialect.POSTGRES: "boolean"},
    "time": {Dialect.POSTGRES: "timestamptz"},
    "texts": {Dialect.POSTGRES: "text[]"},
}
"""Kind of a column -> its type in each database; a kind that one of them lacks has no column
there."""


@attrs.frozen
class Column:
    """``rest`` follows the type; ``since`` is the version that added it."""

    name: str
    kind: str
    rest: str = "NOT NULL"
    only: Dialect | None = None
    since: int = 1


@attrs.frozen
class Table:
    """``key`` is the primary key, by which SQLite also lays out the rows; empty if a column is
    one."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    only: Dialect | None = None


@attrs.frozen
class Index:
    name: str
    table: str
    columns: tuple[str, ...]
    where: str = ""
    only: Dialect | None = None
    since: int = 1


_PG = Dialect.POSTGRES

TABLES: tuple[Table, ...] = (
    Table(
        "session",
        (
            Column("number", "identity", ""),
            Column("id", "text", "NOT NULL UNIQUE"),
            Column("head_seq", "number"),
            Column("oldest_seq", "number"),
            Column("modified_ns", "number"),
            Column("change", "number"),
            Column("closed", "flag"),
            Column("needs_worker", "flag"),
            Column("info", "bytes", ""),
            Column("epoch", "number", "NOT NULL DEFAULT 0", only=_PG),
            Column("owner", "number", "", only=_PG),
            Column("demands", "texts", "NOT NULL DEFAULT '{}'", only=_PG, since=2),
            Column("demand_key", "text", "NOT NULL DEFAULT ''", only=_PG, since=2),
        ),
    ),
    Table(
        "event",
        (
            Column("session", "number"),
            Column("seq", "number"),
            Column("type", "text"),
            Column("run_id", "text", ""),
            Column("body", "bytes"),
        ),
        key=("session", "seq"),
    ),
    Table(
        "run",
        (
            Column("session", "number"),
            Column("run_id", "text"),
            Column("submitted_seq", "number"),
            Column("ended_seq", "number"),
            Column("idempotency_key", "text", ""),
        ),
        key=("session", "run_id"),
    ),
    Table(
        "snapshot",
        (
            Column("session", "number", "NOT NULL PRIMARY KEY"),
            Column("seq", "number"),
            Column("body", "bytes"),
        ),
    ),
    Table(
        "cursor",
        (Column("session", "number"), Column("name", "text"), Column("seq", "number")),
        key=("session", "name"),
    ),
    # one row: how often the database was opened for writing, from which epochs are made
    Table("store", (Column("generation", "number"),), only=Dialect.SQLITE),
    Table(
        "node",
        (
            Column("number", "identity", ""),
            Column("owner", "text"),
            Column("opened_at", "time", "NOT NULL DEFAULT clock_timestamp()"),
            Column("lease_until", "time"),
            Column("offer", "texts", "", since=2),
            Column("sessions_max", "number", "NOT NULL DEFAULT 0", since=2),
            Column("runs_max", "number", "NOT NULL DEFAULT 0", since=2),
            Column("sessions_busy", "number", "NOT NULL DEFAULT 0", since=2),
            Column("runs_running", "number", "NOT NULL DEFAULT 0", since=2),
            Column("draining", "flag", "NOT NULL DEFAULT false", since=2),
        ),
        only=_PG,
    ),
    Table(
        "command",
        (
            Column("id", "text", "NOT NULL PRIMARY KEY"),
            Column("place", "number", "GENERATED ALWAYS AS IDENTITY"),
            Column("session_id", "text"),
            Column("kind", "text"),
            Column("body", "bytes"),
            Column("sender", "number"),
            Column("sent_at", "time", "NOT NULL DEFAULT clock_timestamp()"),
            Column("taken_by", "number", ""),
            Column("deliveries", "number", "NOT NULL DEFAULT 0"),
            Column("answer", "bytes", ""),
            Column("answered_at", "time", ""),
            Column("demands", "texts", "NOT NULL DEFAULT '{}'", since=2),
        ),
        only=_PG,
    ),
)

INDEXES: tuple[Index, ...] = (
    Index("session_needs_worker", "session", ("number",), "needs_worker"),
    Index(
        "run_idempotency_key",
        "run",
        ("session", "idempotency_key"),
        "idempotency_key IS NOT NULL",
    ),
    Index("session_owner", "session", ("owner",), "owner IS NOT NULL", only=_PG),
    Index("command_open", "command", ("session_id", "place"), "answer IS NULL", only=_PG),
    Index("command_sender", "command", ("sender",), "answer IS NOT NULL", only=_PG),
    # few demand the same in many sessions: from one key to the next is a step (see UNHELD)
    Index("session_demand", "session", ("demand_key", "owner"), "needs_worker", only=_PG, since=2),
)


def creation(dialect: Dialect, version: int = 1) -> tuple[str, ...]:
    """The statements that make everything of that version in an empty database."""
    tables = [_table(table, dialect, version) for table in TABLES if table.only in (None, dialect)]
    return (*tables, *(_index(index) for index in _indexes(dialect) if index.since <= version))


def additions(dialect: Dialect, version: int) -> tuple[str, ...]:
    """The statements that bring a database of the version before to this one."""
    columns = [
        f"ALTER TABLE {table.name} ADD COLUMN {_column(column, dialect)}"
        for table in TABLES
        if table.only in (None, dialect)
        for column in _columns(table, dialect)
        if column.since == version
    ]
    return (*columns, *(_index(index) for index in _indexes(dialect) if index.since == version))


def _columns(table: Table, dialect: Dialect) -> list[Column]:
    return [column for column in table.columns if column.only in (None, dialect)]


def _indexes(dialect: Dialect) -> list[Index]:
    return [index for index in INDEXES if index.only in (None, dialect)]


def _column(column: Column, dialect: Dialect) -> str:
    return f"{column.name} {KINDS[column.kind][dialect]} {column.rest}".rstrip()


def _index(index: Index) -> str:
    where = f" WHERE {index.where}" if index.where else ""
    return f"CREATE INDEX {index.name} ON {index.table} ({', '.join(index.columns)}){where}"


def _table(table: Table, dialect: Dialect, version: int) -> str:
    lines = [
        _column(column, dialect) for column in _columns(table, dialect) if column.since <= version
    ]
    if table.key:
        lines.append(f"PRIMARY KEY ({', '.join(table.key)})")
    without = " WITHOUT ROWID" if table.key and dialect is Dialect.SQLITE else ""
    return f"CREATE TABLE {table.name} ({', '.join(lines)}){without}"
