"""A damaged file is told apart from a sound one, with the place and a remedy."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import StoreFailed
from moorage.stores import SqliteStore
from moorage.stores.conformance.scenario import Author, note, opened

from tests.stores.inspected import fill, inspected, told

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def store(tmp_path: Path) -> SqliteStore:
    await fill(partial(SqliteStore, tmp_path / "a.db"))
    return SqliteStore(tmp_path / "a.db")


def do(store: SqliteStore, *statements: str) -> None:
    connection = sqlite3.connect(store.path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


async def test_a_sound_file_is_counted_beside_its_owner_too(store: SqliteStore) -> None:
    report = await inspected(store)

    assert (report.sound, report.findings) == (True, ())
    assert (report.sessions, report.events, report.facts["schema_version"]) == (2, 6, 1)
    async with opened(lambda: store):
        await (await Author.of(store, "a")).write(note(5))
        assert (await inspected(store)).events == 7


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM event WHERE seq = 2", ("'a', seq 2", "seqs 2 to 2 are missing")),
        ("DELETE FROM event WHERE seq = 4", ("'a', seq 4", "the events end with 3")),
        ("UPDATE event SET body = x'ff' WHERE seq = 2", ("'a', seq 2",)),
        ("UPDATE event SET type = 'other' WHERE seq = 2", ("seq 2", "the columns say other")),
        ("UPDATE event SET run_id = 'r9' WHERE seq = 3", ("seq 3", "of run r9")),
        ("UPDATE session SET head_seq = 9 WHERE id = 'a'", ("seq 5", "the head is 9")),
        ("UPDATE session SET oldest_seq = 8 WHERE id = 'a'", ("'a'", "oldest_seq is 8")),
        ("UPDATE session SET info = x'00' WHERE id = 'a'", ("'a'", "info cannot be decoded")),
        ("UPDATE session SET closed = 1 WHERE id = 'a'", ("'a'", "closed and needs_worker")),
        ("UPDATE session SET needs_worker = 1 WHERE id = 'b'", ("'b'", "closed and needs_worker")),
        ("DELETE FROM run WHERE run_id = 'r1'", ("table run", "'r1' is there not at all")),
        ("UPDATE run SET ended_seq = 0 WHERE run_id = 'r1'", ("'r1' is there from 1 to 0",)),
        ("UPDATE run SET idempotency_key = NULL", ("'r1' is there without its key",)),
        ("INSERT INTO run VALUES (1, 'r7', 2, 0, NULL)", ("'r7' is there from 2 to 0",)),
        ("UPDATE snapshot SET seq = 9", ("'a'", "its snapshot is at 9, beyond the head, 4")),
        ("UPDATE cursor SET seq = 9", ("'a'", "its cursor reader is at 9, beyond the head, 4")),
        ("INSERT INTO cursor VALUES (3, 'x', 1)", ("table cursor, session number 3",)),
        ("INSERT INTO event VALUES (99, 1, 'x', NULL, x'00')", ("table event", "number 99")),
    ],
)
async def test_tables_that_do_not_agree_are_told(
    store: SqliteStore, statement: str, words: tuple[str, ...]
) -> None:
    do(store, statement)

    report = await inspected(store)

    assert told(report, *words), report.findings
    assert not report.sound


async def test_pages_that_sqlite_cannot_read_are_told_with_the_file(store: SqliteStore) -> None:
    do(store, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(store.path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    store.path.write_bytes(content)

    report = await inspected(store)

    assert told(report, "a.db")
    assert not report.sound
    assert ".recover" in report.findings[0].remedy


async def test_a_file_that_is_no_database_is_damage_and_none_at_all_a_failure(
    store: SqliteStore, tmp_path: Path
) -> None:
    store.path.write_bytes(b"something else entirely " * 100)

    assert told(await inspected(store), "a.db")
    with pytest.raises(StoreFailed):
        await SqliteStore(tmp_path / "nothing").inspect()
    assert not (tmp_path / "nothing").exists()
