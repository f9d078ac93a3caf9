"""Tables that do not agree are told, and so is a server that does not keep what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import MigrationRequired
from moorage.stores import PostgresStore
from moorage.stores.health import Severity

from tests.stores.inspected import damages, fill, inspected, told

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema


async def test_a_sound_database_is_counted_and_its_server_named_that_does_not_sync(
    postgres: PostgresSchema,
) -> None:
    await fill(postgres.store)

    report = await inspected(postgres.store())

    assert (report.sessions, report.events, damages(report)) == (2, 6, [])
    risks = [one for one in report.findings if one.severity is Severity.RISK]
    assert [one.place for one in risks] == ["server setting fsync"]  # as the tests' server has it
    assert "loses power" in risks[0].problem
    assert "fsync = on" in risks[0].remedy


DAMAGES = [
    ("DELETE FROM event WHERE seq = 2", ("'a', seq 2", "seqs 2 to 2 are missing")),
    ("UPDATE event SET body = '\\xff' WHERE seq = 2", ("'a', seq 2",)),
    ("UPDATE event SET type = 'other' WHERE seq = 2", ("seq 2", "the columns say other")),
    ("UPDATE session SET head_seq = 9 WHERE id = 'a'", ("seq 5", "the head is 9")),
    ("UPDATE session SET info = '\\x00' WHERE id = 'a'", ("'a'", "info cannot be decoded")),
    ("UPDATE session SET closed = true WHERE id = 'a'", ("'a'", "closed and needs_worker")),
    ("DELETE FROM run WHERE run_id = 'r1'", ("table run", "'r1' is there not at all")),
    ("UPDATE run SET idempotency_key = NULL", ("'r1' is there without its key",)),
    ("UPDATE snapshot SET seq = 9", ("'a'", "its snapshot is at 9, beyond the head, 4")),
    ("UPDATE cursor SET seq = 9", ("'a'", "its cursor reader is at 9, beyond the head, 4")),
    ("INSERT INTO snapshot VALUES (99, 1, '\\x00')", ("table snapshot, session number 99",)),
    ("UPDATE session SET epoch = 0 WHERE id = 'a'", ("'a'", "has no epoch")),
    ("UPDATE session SET owner = 99 WHERE id = 'b'", ("'b'", "node 99, which does not exist")),
]


async def test_tables_that_do_not_agree_are_told(postgres: PostgresSchema) -> None:
    await fill(postgres.store)
    tables = ("event", "run", "snapshot", "cursor", "session")
    postgres.do(*(f"CREATE TABLE kept_{table} AS TABLE {table}" for table in tables))
    back = [f"DELETE FROM {table}" for table in tables] + [
        f"INSERT INTO {table} {'OVERRIDING SYSTEM VALUE ' if table == 'session' else ''}"
        f"TABLE kept_{table}"
        for table in tables
    ]
    for statement, words in DAMAGES:
        postgres.do(statement)

        report = await inspected(postgres.store())

        assert told(report, *words), (statement, report.findings)
        assert not report.sound
        postgres.do(*back)
    assert damages(await inspected(postgres.store())) == []


async def test_tables_of_another_version_are_refused(postgres: PostgresSchema) -> None:
    with pytest.raises(MigrationRequired):
        await PostgresStore(postgres.server.dsn, schema="nothing_here").inspect()


async def test_commits_that_the_server_does_not_wait_for_are_a_risk(
    postgres: PostgresSchema,
) -> None:
    dsn = f"{postgres.server.dsn} options='-c synchronous_commit=off'"

    report = await inspected(PostgresStore(dsn, schema=postgres.name))

    assert told(report, "synchronous_commit", "claims and commands")
    assert report.sound
