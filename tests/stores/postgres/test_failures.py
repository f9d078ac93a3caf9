"""Real failures of a real server: what is known afterwards, and what the message says to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from moorage.runtime.errors import CorruptLog, MigrationRequired, StoreFailed
from moorage.stores import PostgresStore
from moorage.stores.conformance.scenario import Author, note, notes, numbers, opened, refuse
from moorage.stores.postgres import place as place_module
from moorage.stores.postgres.failures import Kind, failure_of, kind_of
from psycopg import errors

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema


@pytest.mark.parametrize(
    ("error", "broken", "kind"),
    [
        (errors.DeadlockDetected(), False, Kind.AGAIN),
        (errors.AdminShutdown(), False, Kind.LOST),
        (psycopg.OperationalError(), True, Kind.LOST),
        (psycopg.OperationalError(), False, Kind.REFUSED),
        (OSError(), False, Kind.LOST),
        (errors.QueryCanceled(), False, Kind.REFUSED),
        (errors.UntranslatableCharacter(), False, Kind.UNFIT),
        (psycopg.DataError(), False, Kind.UNFIT),
        (errors.DataCorrupted(), False, Kind.DAMAGED),
        (errors.UndefinedTable(), False, Kind.NO_TABLES),
    ],
)
def test_each_failure_is_of_a_kind(error: psycopg.Error, broken: bool, kind: Kind) -> None:
    assert kind_of(error, broken=broken) is kind


def test_damage_and_missing_tables_have_errors_of_their_own() -> None:
    damage = failure_of(errors.DataCorrupted("bad page"), "Postgres (x)", "reading")
    missing = failure_of(errors.UndefinedTable("no"), "Postgres (x)", "reading", schema="s")

    assert isinstance(damage, CorruptLog)
    assert isinstance(missing, MigrationRequired)
    assert "bad page" in str(damage)
    assert "schema 's'" in str(missing)


@pytest.fixture
def slow_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes its time to say no is waited for."""
    monkeypatch.setattr(place_module, "CONNECT_SECONDS_MIN", 60)


async def fails_to_open(store: PostgresStore) -> StoreFailed:
    with pytest.raises(StoreFailed) as caught:
        async with store.opened(owner="me", deliver=refuse):
            pass
    with pytest.raises(StoreFailed):
        async with store.reading():
            pass
    assert caught.value.written is False
    assert caught.value.__cause__ is not None
    return caught.value


@pytest.mark.usefixtures("slow_to_answer")
async def test_a_server_that_is_not_there(postgres: PostgresSchema) -> None:
    store = PostgresStore("host=127.0.0.1 port=1 user=x dbname=y", lease_seconds=0.5)

    error = await fails_to_open(store)

    assert "host=127.0.0.1 port=1" in str(error)
    assert "refused" in str(error)


@pytest.mark.usefixtures("slow_to_answer")
async def test_a_wrong_password_is_told_without_it(postgres: PostgresSchema) -> None:
    dsn = psycopg.conninfo.make_conninfo(postgres.server.dsn, password="guessed wrong")

    error = await fails_to_open(PostgresStore(dsn, lease_seconds=0.5))

    assert "password authentication failed" in str(error)
    assert "guessed wrong" not in str(error)


@pytest.mark.usefixtures("slow_to_answer")
async def test_a_database_that_is_not_there(postgres: PostgresSchema) -> None:
    dsn = psycopg.conninfo.make_conninfo(postgres.server.dsn, dbname="elsewhere")

    assert '"elsewhere" does not exist' in str(
        await fails_to_open(PostgresStore(dsn, lease_seconds=0.5))
    )


async def test_a_read_only_server_can_be_read_and_says_why_it_is_not_written_to(
    postgres: PostgresSchema,
) -> None:
    async with opened(postgres.store) as store:
        await (await Author.of(store, "a")).write(*notes(1, 3))
    dsn = psycopg.conninfo.make_conninfo(
        postgres.server.dsn, options="-c default_transaction_read_only=on"
    )
    store = PostgresStore(dsn, schema=postgres.name)

    with pytest.raises(StoreFailed, match=r"read-only, a replica perhaps") as caught:
        async with store.opened(owner="me", deliver=refuse):
            pass
    assert caught.value.written is False
    async with store.reading() as reader:
        assert await numbers(reader, "a") == [(1, 1), (2, 2), (3, 3)]


async def test_a_server_that_becomes_read_only_refuses_writes_one_by_one(
    postgres: PostgresSchema,
) -> None:
    async with opened(postgres.store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        writes = store._node.writes
        writes._connection.execute("SET default_transaction_read_only = on")

        with pytest.raises(StoreFailed, match="ReadOnlySqlTransaction") as caught:
            await author.write(note(2))
        assert (caught.value.written, caught.value.poisoned) == (False, False)
        writes._connection.execute("SET default_transaction_read_only = off")
        await author.write(note(2))

        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def test_a_statement_that_takes_too_long_left_nothing(postgres: PostgresSchema) -> None:
    async with opened(postgres.store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        writing = store._node.writes._connection
        writing.execute("SET statement_timeout = 300")
        with postgres.connect() as other, other.transaction():
            other.execute("SELECT FROM session FOR UPDATE")

            with pytest.raises(StoreFailed, match="statement_timeout_seconds") as caught:
                await author.write(note(2))
            assert (caught.value.written, caught.value.poisoned) == (False, False)
        writing.execute("RESET statement_timeout")
        await author.write(note(2))

        assert await numbers(store, "a") == [(1, 1), (2, 2)]


async def test_no_connection_in_time_is_a_failure_that_may_be_tried_again(
    postgres: PostgresSchema,
) -> None:
    async with opened(lambda: postgres.store(connections_max=1)) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        pool = store._pool._pool
        taken = pool.getconn()
        patience, pool.timeout = pool.timeout, 0.6

        with pytest.raises(StoreFailed, match=r"PoolTimeout.*no connection was free") as caught:
            await store.info("a")
        pool.putconn(taken)
        pool.timeout = patience

        assert caught.value.written is False
        assert await numbers(store, "a") == [(1, 1)]


@pytest.mark.usefixtures("slow_to_answer")
async def test_a_server_that_takes_no_more_connections(postgres: PostgresSchema) -> None:
    role = f"{postgres.name}_few"
    postgres.do(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'x' CONNECTION LIMIT 1")
    postgres.do(f"ALTER ROLE {role} NOSUPERUSER", f"GRANT ALL ON SCHEMA {postgres.name} TO {role}")
    try:
        dsn = psycopg.conninfo.make_conninfo(postgres.server.dsn, user=role, password="x")
        with psycopg.connect(dsn):
            error = await fails_to_open(PostgresStore(dsn, schema=postgres.name, lease_seconds=0.5))
    finally:
        postgres.do(f"REVOKE ALL ON SCHEMA {postgres.name} FROM {role}", f"DROP ROLE {role}")

    assert "too many connections" in str(error)


@pytest.mark.usefixtures("slow_to_answer")
async def test_a_user_without_rights_is_told_what_is_missing(postgres: PostgresSchema) -> None:
    role = f"{postgres.name}_poor"
    postgres.do(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'",
        f"GRANT USAGE ON SCHEMA {postgres.name} TO {role}",
    )
    try:
        dsn = psycopg.conninfo.make_conninfo(postgres.server.dsn, user=role, password="x")
        error = await fails_to_open(PostgresStore(dsn, schema=postgres.name, lease_seconds=0.5))
    finally:
        postgres.do(f"REVOKE ALL ON SCHEMA {postgres.name} FROM {role}", f"DROP ROLE {role}")

    assert "needs rights on the schema" in str(error)
