"""Opening the file: who may write to it, whether it is ours, and what is made in a new one.

All of it blocks; it runs in threads.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from moorage.runtime.errors import SessionHeld, StoreFailed
from moorage.runtime.own_process import told_of_forks

from ..journal.disk import Lock, Locked, OsDisk
from ..relational.schema import SCHEMA_VERSION, Dialect, creation
from .failures import failure_of

APPLICATION_ID = 0x4D4F4F52
"""``MOOR``: tells the file from other people's SQLite databases."""
HOLDER_BYTES_MAX = 1_000
CACHE_KIBIBYTES = 16_384
WAL_BYTES_KEPT = 64 * 2**20
_STATEMENTS_CACHED = 256


class OwnConnection(sqlite3.Connection):
    """A connection that is never closed in a fork.

    SQLite forbids that (sqlite.org/howtocorrupt.html, "carrying an open database across a fork"):
    it would take back there, in the shared memory that both have, what a thread of the parent is
    about to commit, or wait for ever for that thread, which is not there.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        told_of_forks(self)

    def become_copy(self) -> None:
        """Be one that nobody closes by letting it go: with a reference that nobody has."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))


@attrs.frozen
class Place:
    """Where the database is and how to get at it. ``connect`` is sqlite3's, or a test's."""

    path: Path
    synced: bool
    busy_seconds: float
    connect: Callable[..., sqlite3.Connection]

    @property
    def lock(self) -> Path:
        return self.path.with_name(self.path.name + "-lock")

    def open(self, mode: str) -> sqlite3.Connection:
        """A connection without transactions of its own. Raises sqlite3.Error."""
        return self.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self.busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS_CACHED,
        )


@attrs.define(eq=False)
class Opened:
    """A database that is ours to write. ``generation`` counts the openings."""

    connection: sqlite3.Connection
    generation: int
    lock: Lock

    def close(self) -> None:
        """Close the file, then let the next one in."""
        try:
            self.connection.close()
        finally:
            self.lock.release()


def open_for_writing(place: Place, owner: str) -> Opened:
    """Raises SessionHeld, CorruptLog and StoreFailed."""
    try:
        if place.path.exists():
            open_for_reading(place).close()  # refused, if so, before anything is written
        else:
            place.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _take_lock(place, owner)
        try:
            return _open_locked(place, lock)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise StoreFailed(
            f"{place.path} cannot be opened for writing: {error}; it needs a directory that this "
            "user may write to, and room (reading needs neither: open_reader)",
            written=False,
        ) from error
    except sqlite3.Error as error:
        raise failure_of(error, place.path, "opening it for writing") from error


def open_for_reading(place: Place) -> sqlite3.Connection:
    """A connection that cannot write. Raises CorruptLog and StoreFailed."""
    try:
        connection = place.open("ro")
        try:
            connection.execute("PRAGMA query_only = 1")
            _check_version(place, connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise failure_of(error, place.path, "opening it for reading") from error
    return connection


def _take_lock(place: Place, owner: str) -> Lock:
    disk = OsDisk()
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    holder = f"{owner} (process {os.getpid()} on {socket.gethostname()}, since {since})"
    try:
        return disk.lock(place.lock, holder)
    except Locked:
        text = place.lock.read_bytes()[:HOLDER_BYTES_MAX].decode(errors="replace")
        raise SessionHeld(str(place.path), holder=text or "a process") from None


def _open_locked(place: Place, lock: Lock) -> Opened:
    disk = OsDisk()
    if not place.path.exists():
        # the files beside it get the rights of this one
        os.close(os.open(place.path, os.O_RDWR | os.O_CREAT, 0o600))
    disk.sync_directory(place.path.absolute().parent)
    connection = place.open("rw")
    try:
        _check_version(place, connection)
        _configure(place, connection)
        return Opened(connection, _begin_generation(connection), lock)
    except BaseException:
        connection.close()
        raise


def _check_version(place: Place, connection: sqlite3.Connection) -> None:
    application_id = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    if application_id != APPLICATION_ID:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application_id or version or tables:
            raise StoreFailed(
                f"{place.path} is a SQLite database of another program: name another file",
                written=False,
            )
    elif version > SCHEMA_VERSION:
        raise StoreFailed(
            f"{place.path} has schema version {version} and this release knows {SCHEMA_VERSION}: "
            "use the release that wrote it, or a later one",
            written=False,
        )


def _configure(place: Place, connection: sqlite3.Connection) -> None:
    mode = _pragma(connection, "journal_mode = WAL")
    if mode != "wal":
        raise StoreFailed(
            f"{place.path} cannot have a write-ahead log (journal_mode is {mode!r}): it needs a "
            "local file system with shared memory",
            written=False,
        )
    connection.execute(f"PRAGMA synchronous = {'FULL' if place.synced else 'NORMAL'}")
    # checkpoints are made between two commits, where their failure is noticed
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")


def _begin_generation(connection: sqlite3.Connection) -> int:
    """Make the tables if there are none, and count this opening."""
    connection.execute("BEGIN IMMEDIATE")
    if _pragma(connection, "application_id") != APPLICATION_ID:
        for statement in creation(Dialect.SQLITE):
            connection.execute(statement)
        connection.execute("INSERT INTO store (generation) VALUES (0)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("UPDATE store SET generation = generation + 1")
    generation = int(connection.execute("SELECT generation FROM store").fetchone()[0])
    connection.execute("COMMIT")
    return generation


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
