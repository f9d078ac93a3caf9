"""SQL that both databases understand, with ``?`` for a parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rows import SESSION_COLUMNS
from .schema import Dialect

if TYPE_CHECKING:
    from collections.abc import Iterable

SESSION = f"SELECT {SESSION_COLUMNS} FROM session WHERE id = ?"
SNAPSHOT = (
    "SELECT snapshot.seq, snapshot.body FROM snapshot JOIN session ON number = session "
    "WHERE id = ? AND info IS NOT NULL"
)
CURSOR = (
    "SELECT cursor.seq FROM cursor JOIN session ON number = session "
    "WHERE id = ? AND name = ? AND info IS NOT NULL"
)
CURSORS = (
    "SELECT cursor.name, cursor.seq FROM cursor JOIN session ON number = session "
    "WHERE id = ? AND info IS NOT NULL"
)
TOMBSTONES = "SELECT id, head_seq FROM session WHERE info IS NULL AND head_seq > 0"
RUN = "SELECT submitted_seq, ended_seq FROM run WHERE session = ? AND run_id = ?"
KEY = (
    "SELECT run_id FROM run JOIN session ON number = session "
    "WHERE id = ? AND idempotency_key = ? AND submitted_seq >= oldest_seq AND info IS NOT NULL "
    "ORDER BY submitted_seq DESC LIMIT 1"
)
ENDED = (
    "SELECT 1 FROM run JOIN session ON number = session WHERE id = ? AND run_id = ? "
    "AND ended_seq > 0"
)
BODY = "SELECT body FROM event WHERE session = ? AND seq = ?"
SIZE = "SELECT coalesce(sum(length(body)), 0) FROM event WHERE session = ?"

FORGET_EVENTS = "DELETE FROM event WHERE session = ? AND seq < ?"
FORGET_RUNS = (
    "DELETE FROM run WHERE session = ? AND submitted_seq < ? AND ended_seq > 0 AND ended_seq < ?"
)
"""A run stays while its end is there: it says where its events end."""
FORGET_EVERYTHING = tuple(
    f"DELETE FROM {table} WHERE session = ?" for table in ("event", "run", "snapshot", "cursor")
)
SAVE_SNAPSHOT = (
    "INSERT INTO snapshot (session, seq, body) VALUES (?, ?, ?) "
    "ON CONFLICT (session) DO UPDATE SET seq = excluded.seq, body = excluded.body"
)
SAVE_CURSOR = (
    "INSERT INTO cursor (session, name, seq) SELECT number, ?, ? FROM session "
    "WHERE id = ? AND info IS NOT NULL "
    "ON CONFLICT (session, name) DO UPDATE SET seq = excluded.seq"
)


def in_dialect(sql: str, dialect: Dialect) -> str:
    return sql if dialect is Dialect.SQLITE else sql.replace("?", dialect.value)


def sessions(*, prefix: bool, needs_worker: bool) -> str:
    """The numbers of those that exist, newest change first; a prefix is two parameters: its
    length and itself."""
    conditions = ["info IS NOT NULL"]
    if needs_worker:
        conditions.append("needs_worker")
    if prefix:
        conditions.append("substr(id, 1, ?) = ?")
    return f"SELECT number FROM session WHERE {' AND '.join(conditions)} ORDER BY change DESC"


def session_page(*, order: str, descending: bool, after: bool, prefix: bool, bounded: bool) -> str:
    """The numbers of those that exist, by ``id`` or ``modified``, up to a limit.

    A prefix is one parameter, or, ``bounded``, two: itself and what comes after everything with it;
    then come the key to begin behind, as far as there is one, and the limit.
    """
    conditions = ["info IS NOT NULL"]
    if prefix:
        conditions.append("id >= ?")
    if bounded:
        conditions.append("id < ?")
    behind = "<" if descending else ">"
    direction = "DESC" if descending else "ASC"
    if order == "id":
        key, places, columns = "id", "?", f"id {direction}"
    else:
        key, places = "(modified_ns, id)", "(?, ?)"
        columns = f"modified_ns {direction}, id {direction}"
    if after:
        conditions.append(f"{key} {behind} {places}")
    return f"SELECT number FROM session WHERE {' AND '.join(conditions)} ORDER BY {columns} LIMIT ?"


def sessions_by(column: str, count: int) -> str:
    """Rows of so many sessions, by ``number`` or ``id``."""
    return f"SELECT {SESSION_COLUMNS} FROM session WHERE {column} IN ({_places(count)})"


def ended_among(count: int) -> str:
    """Which of so many runs of a session (its id is the first parameter) have ended."""
    return (
        "SELECT run_id FROM run JOIN session ON number = session "
        f"WHERE id = ? AND ended_seq > 0 AND run_id IN ({_places(count)})"
    )


def events(*, types: int, run: bool, backwards: bool) -> str:
    """(seq, body) of a session between two seqs, filtered, up to a limit."""
    conditions = ["session = ?", "seq BETWEEN ? AND ?"]
    if run:
        conditions.append("run_id = ?")
    if types:
        conditions.append(f"type IN ({_places(types)})")
    order = "DESC" if backwards else "ASC"
    return (
        f"SELECT seq, body FROM event WHERE {' AND '.join(conditions)} ORDER BY seq {order} LIMIT ?"
    )


def _places(count: int) -> str:
    return ", ".join("?" * count)


def chunks(values: Iterable[str] | Iterable[int], size: int) -> list[list[str | int]]:
    """Lists of at most ``size`` of the values: a statement takes only so many parameters."""
    everything: list[str | int] = list(values)
    return [everything[start : start + size] for start in range(0, len(everything), size)]
