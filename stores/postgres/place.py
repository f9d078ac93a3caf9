"""Where the database is, and how to get a connection to it. Making one blocks."""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
from moorage.runtime.errors import InvalidArgument
from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import Generator
from . import arrays

CONNECT_SECONDS_MAX = 5
CONNECT_SECONDS_MIN = 2
"""How long making a connection may take: half a lease, within these bounds."""
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,40}")

_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)

Connection = psycopg.Connection[tuple[Any, ...]]


@attrs.frozen
class Place:
    """``conninfo`` is complete: what is said here goes before what the DSN says of it."""

    conninfo: str = attrs.field(repr=False)
    schema: str
    described: str

    @classmethod
    def of(cls, dsn: str, schema: str, *, lease_seconds: float, statement_seconds: float) -> Place:
        """Raises InvalidArgument. No I/O happens here."""
        if type(schema) is not str or not _SCHEMA.fullmatch(schema):
            raise InvalidArgument(
                "schema must be a name of small letters, digits and underscores, at most 41 long, "
                f"not {schema!r}"
            )
        try:
            given = conninfo_to_dict(dsn)
        except (psycopg.Error, TypeError, AttributeError):
            # what libpq says of it may repeat the password
            raise InvalidArgument(
                "the DSN cannot be understood: write postgresql://user@host/database, or "
                "host=... dbname=..."
            ) from None
        settings = {
            "search_path": schema,
            "statement_timeout": str(math.ceil(statement_seconds * 1_000)),
            # a node that hangs in the middle of a transaction must not keep a session's row
            # fences look again at a row that they waited for
            "default_transaction_isolation": r"read\ committed",
            "idle_in_transaction_session_timeout": str(math.ceil(lease_seconds * 1_000 / 3)),
        }
        options = [f"-c {name}={value}" for name, value in settings.items()]
        values: dict[str, Any] = {
            "application_name": "moorage",
            "connect_timeout": max(
                CONNECT_SECONDS_MIN, min(CONNECT_SECONDS_MAX, math.ceil(lease_seconds / 2))
            ),
            # a cut network is noticed within about a lease
            "keepalives_idle": max(1, round(lease_seconds / 3)),
            "keepalives_interval": max(1, round(lease_seconds / 6)),
            "keepalives_count": 3,
            "tcp_user_timeout": math.ceil(lease_seconds * 1_000),
            **given,
            "options": " ".join([str(given.get("options", "")), *options]).strip(),
        }
        names = {name: given.get(name) for name in ("user", "host", "port", "dbname")}
        told = " ".join(f"{name}={value}" for name, value in names.items() if value is not None)
        return cls(
            make_conninfo("", **values), schema, f"Postgres ({told or 'as the defaults say'})"
        )

    @property
    def channel(self) -> str:
        """Where news is told."""
        return f"moorage:{self.schema}"

    @property
    def nodes_channel(self) -> str:
        """Where all nodes are told of sessions and commands that are there to be taken."""
        return f"{self.channel}:nodes"

    def mailbox(self, node: int | str | None) -> str:
        """Where a node is told of commands and answers; None: any node that may take one."""
        return self.nodes_channel if node is None else f"{self.channel}:{node}"

    def connect(self) -> Connection:
        """A connection on which each statement is a transaction. Raises psycopg.Error."""
        return psycopg.connect(self.conninfo, autocommit=True)

    def connect_to_write(self) -> Connection:
        """One whose commits are on disk when they return, whatever the server does by default;
        where it waits for replicas, it does so here. Raises psycopg.Error."""
        connection = self.connect()
        arrays.register(connection)
        try:
            connection.execute(_DURABLE)
        except BaseException:
            connection.close()
            raise
        return connection


def cut(connection: Connection) -> None:
    """End a connection under a statement that waits for an answer, which then fails. From any
    thread: to close it would wait, or take it away from under the one that uses it."""
    with contextlib.suppress(OSError, psycopg.Error):
        line = socket.socket(fileno=os.dup(connection.fileno()))
        try:
            line.shutdown(socket.SHUT_RDWR)
        finally:
            line.close()


def is_broken(connection: Connection) -> bool:
    """Whether it is of no use any more."""
    return bool(connection.closed or connection.broken)


@contextlib.contextmanager
def one_moment(connection: Connection) -> Generator[None]:
    """Several statements that see the same."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if not is_broken(connection):
            connection.execute("ROLLBACK")
