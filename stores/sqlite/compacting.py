"""Giving back the room of what was deleted or trimmed: the file is written anew. Blocks."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import attrs
from moorage.runtime.errors import StoreFailed

from .failures import failure_of
from .opening import open_for_writing

if TYPE_CHECKING:
    from .opening import Place


@attrs.frozen
class SqliteCompaction:
    """Bytes of the database and its write-ahead log, before and after."""

    bytes_before: int
    bytes_after: int


def compact(place: Place, owner: str) -> SqliteCompaction:
    """Write the whole file anew, which takes as much room again meanwhile; a crash leaves it as it
    was. Raises SessionHeld, CorruptLog and StoreFailed, also if there is no such file."""
    if not place.path.exists():
        raise StoreFailed(f"there is no file {place.path}", written=False)
    before = _size(place)
    opened = open_for_writing(place, owner)
    try:
        opened.connection.execute("VACUUM")
        opened.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise failure_of(error, place.path, "compacting it") from error
    finally:
        opened.close()
    return SqliteCompaction(before, _size(place))


def _size(place: Place) -> int:
    files = (place.path, place.path.with_name(f"{place.path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
