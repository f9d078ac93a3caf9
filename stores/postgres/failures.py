"""What psycopg raises, as the errors of the store port."""

from __future__ import annotations

import enum

import psycopg
from moorage.runtime.errors import CorruptLog, MigrationRequired, StoreFailed
from psycopg import errors
from psycopg_pool import PoolTimeout

from ..relational.schema import POSTGRES_SCHEMA_VERSION


class Kind(enum.Enum):
    """What became of a statement, and so what to do."""

    LOST = "the connection is lost and with it the answer"
    AGAIN = "it was undone in favour of another one: the same may be tried at once"
    UNFIT = "a value cannot be held: a matter of one write, not of the database"
    DAMAGED = "what was durable cannot be read"
    NO_TABLES = "there are no tables, or older ones"
    REFUSED = "nothing was kept"


_BY_CLASS: tuple[tuple[type[psycopg.Error], Kind], ...] = (
    (errors.DeadlockDetected, Kind.AGAIN),
    (errors.SerializationFailure, Kind.AGAIN),
    (errors.DataCorrupted, Kind.DAMAGED),
    (errors.IndexCorrupted, Kind.DAMAGED),
    (errors.UndefinedTable, Kind.NO_TABLES),
    (errors.UndefinedColumn, Kind.NO_TABLES),
    (errors.InvalidSchemaName, Kind.NO_TABLES),
    (errors.AdminShutdown, Kind.LOST),
    (errors.CrashShutdown, Kind.LOST),
    (errors.CannotConnectNow, Kind.LOST),
    (errors.IdleInTransactionSessionTimeout, Kind.LOST),
    (errors.ProgramLimitExceeded, Kind.UNFIT),
    (psycopg.DataError, Kind.UNFIT),
    (psycopg.InterfaceError, Kind.LOST),
)

_REMEDIES: tuple[tuple[type[psycopg.Error], str], ...] = (
    (errors.DiskFull, "the server's disk is full: the same may be tried again when there is room"),
    (
        errors.ReadOnlySqlTransaction,
        "the server is read-only, a replica perhaps: name the primary (target_session_attrs)",
    ),
    (
        errors.QueryCanceled,
        "a statement took longer than statement_timeout_seconds, or was cancelled",
    ),
    (
        errors.TooManyConnections,
        "the server takes no more connections: the same may be tried again",
    ),
    (errors.InsufficientPrivilege, "the user needs rights on the schema and its tables"),
    (PoolTimeout, "no connection was free or could be made in time: the same may be tried again"),
)


def kind_of(error: psycopg.Error | OSError, *, broken: bool = False) -> Kind:
    """``broken`` says that the connection cannot be used any more."""
    for kind, found in _BY_CLASS:
        if isinstance(error, kind):
            return found
    if broken or isinstance(error, OSError):
        return Kind.LOST
    return Kind.REFUSED


def failure_of(
    error: psycopg.Error | OSError,
    where: str,
    doing: str,
    *,
    written: bool | None = False,
    schema: str = "",
) -> StoreFailed:
    """The error to raise; its ``__cause__`` is the driver's."""
    name = type(error).__name__
    text = str(error).strip() or "no reason was given"
    kind = kind_of(error)
    failure: StoreFailed
    if kind is Kind.DAMAGED:
        failure = CorruptLog(file=where, offset=0, reason=f"{name}: {text}")
    elif kind is Kind.NO_TABLES:
        failure = MigrationRequired(
            f"schema {schema!r} of {where}", found=0, needed=POSTGRES_SCHEMA_VERSION
        )
    else:
        remedies = [remedy for cause, remedy in _REMEDIES if isinstance(error, cause)]
        end = remedies[0] if remedies else "nothing was kept"
        if written is None:
            end = "whether anything was kept is unknown"
        failure = StoreFailed(f"{where}: {doing} failed: {name}: {text}; {end}", written=written)
    failure.__cause__ = error
    return failure
