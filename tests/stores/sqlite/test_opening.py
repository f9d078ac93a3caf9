"""Opening a file: new, ours, somebody else's, of a later version, damaged, out of reach."""

from __future__ import annotations

import gc
import os
import sqlite3
from pathlib import Path

import pytest
from moorage.runtime.errors import CorruptLog, SessionHeld, StoreFailed
from moorage.stores.relational.schema import SCHEMA_VERSION
from moorage.stores.sqlite.opening import (
    APPLICATION_ID,
    OwnConnection,
    Place,
    open_for_reading,
    open_for_writing,
)

from tests.forked import forks, in_fork


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "new" / "data.sqlite", True, 0.1, sqlite3.connect)


def pragma(place: Place, name: str, value: int | None = None) -> int:
    connection = sqlite3.connect(place.path)
    try:
        if value is not None:
            connection.execute(f"PRAGMA {name} = {value}")
            connection.commit()
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
    finally:
        connection.close()


def files_of(place: Place) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in place.path.parent.iterdir()}


def test_a_new_file_is_private_and_says_whose_it_is(place: Place) -> None:
    open_for_writing(place, "me").close()

    assert place.path.stat().st_mode & 0o777 == 0o600
    assert place.path.parent.stat().st_mode & 0o777 == 0o700
    assert pragma(place, "application_id") == APPLICATION_ID
    assert pragma(place, "user_version") == SCHEMA_VERSION


def test_each_opening_has_a_generation_of_its_own(place: Place) -> None:
    generations = []
    for _ in range(3):
        opened = open_for_writing(place, "me")
        generations.append(opened.generation)
        opened.close()

    assert generations == [1, 2, 3]


@pytest.mark.parametrize(("synced", "level"), [(True, 2), (False, 1)])
def test_commits_are_synced_if_they_are_to_be(place: Place, synced: bool, level: int) -> None:
    place = Place(place.path, synced, 0.1, sqlite3.connect)

    opened = open_for_writing(place, "me")

    try:
        assert opened.connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert opened.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        opened.close()


def test_the_second_to_open_learns_who_was_first(place: Place) -> None:
    first = open_for_writing(place, "the first")

    with pytest.raises(SessionHeld, match="the first") as caught:
        open_for_writing(place, "the second")
    first.close()
    open_for_writing(place, "the third").close()

    assert f"process {os.getpid()}" in caught.value.holder


def test_a_newer_schema_is_refused_before_anything_is_written(place: Place) -> None:
    open_for_writing(place, "me").close()
    pragma(place, "user_version", SCHEMA_VERSION + 1)
    before = files_of(place)

    for open_it in (lambda: open_for_writing(place, "me"), lambda: open_for_reading(place)):
        with pytest.raises(StoreFailed, match=f"schema version {SCHEMA_VERSION + 1}") as caught:
            open_it()
        assert caught.value.written is False

    assert {name: files_of(place)[name] for name in before} == before


@pytest.mark.parametrize("statement", ["CREATE TABLE other (x)", "PRAGMA application_id = 7"])
def test_a_database_of_another_program_is_left_alone(place: Place, statement: str) -> None:
    place.path.parent.mkdir()
    other = sqlite3.connect(place.path)
    other.execute(statement)
    other.commit()
    other.close()
    before = files_of(place)

    with pytest.raises(StoreFailed, match="of another program"):
        open_for_writing(place, "me")

    assert files_of(place) == before


@pytest.mark.parametrize("first", [0, 4_096])
def test_a_damaged_file_is_called_corrupt(place: Place, first: int) -> None:
    open_for_writing(place, "me").close()
    content = place.path.read_bytes()
    place.path.write_bytes(content[:first] + b"\xaa" * (len(content) - first))

    with pytest.raises(CorruptLog) as caught:
        open_for_writing(place, "me")

    assert caught.value.file == str(place.path)


def test_an_opening_that_failed_leaves_no_lock(place: Place) -> None:
    place.path.parent.mkdir()
    place.path.write_bytes(b"this is no database" * 100)
    with pytest.raises(CorruptLog, match="SQLITE_NOTADB"):
        open_for_writing(place, "me")
    place.path.unlink()

    open_for_writing(place, "me").close()


def test_a_directory_that_cannot_be_written_to_is_named() -> None:
    place = Place(Path("/sys/moorage/data.sqlite"), True, 0.1, sqlite3.connect)

    with pytest.raises(StoreFailed, match=r"/sys/moorage/data.sqlite.*may write to") as caught:
        open_for_writing(place, "me")

    assert caught.value.written is False


def test_what_is_locked_by_another_program_cannot_be_opened(place: Place) -> None:
    open_for_writing(place, "me").close()
    other = sqlite3.connect(place.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreFailed, match=r"SQLITE_BUSY.*another program has it locked"):
        open_for_writing(place, "me")
    other.close()
    open_for_writing(place, "me").close()


def test_a_reader_finds_no_file_and_makes_none(place: Place) -> None:
    with pytest.raises(StoreFailed, match="SQLITE_CANTOPEN"):
        open_for_reading(place)

    assert not place.path.parent.exists()


def test_a_reader_cannot_write(place: Place) -> None:
    open_for_writing(place, "me").close()
    connection = open_for_reading(place)

    try:
        with pytest.raises(sqlite3.OperationalError, match=r"readonly|read-only"):
            connection.execute("DELETE FROM session")
    finally:
        connection.close()


def names_open(path: Path) -> int:
    """How many descriptors this process has of a file."""
    links = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return links.count(str(path))


@forks
def test_a_connection_that_is_let_go_in_a_fork_is_not_closed_there(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite"
    kept = [OwnConnection(path)]
    kept[0].execute("CREATE TABLE x (y)")

    def let_go() -> int:
        kept.clear()
        gc.collect()  # its cache of statements refers to it
        return names_open(path)

    assert in_fork(let_go) == "1"
    assert names_open(path) == 1
    assert let_go() == 0
