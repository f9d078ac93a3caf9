"""A real standby: it can be read, is not written to, and is gone on with once it is promoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
import trio
from moorage.runtime.errors import StoreFailed
from moorage.stores import PostgresStore
from moorage.stores.conformance.scenario import Author, note, notes, numbers, opened, refuse

from tests.postgres_server import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres_server import PostgresSchema, PostgresServer

PROMOTION_SECONDS_MAX = 60


@pytest.fixture
def standby(postgres: PostgresSchema) -> Iterator[PostgresServer]:
    server = postgres.server.standby()
    try:
        yield server
    finally:
        server.remove()


def with_hosts(*servers: PostgresServer) -> str:
    """A DSN that names them all, as one names a cluster with failover."""
    return psycopg.conninfo.make_conninfo(
        servers[0].dsn,
        host=",".join("127.0.0.1" for _ in servers),
        port=",".join(str(server.port) for server in servers),
        target_session_attrs="read-write",
    )


async def test_a_standby_is_read_and_not_written_to_until_it_is_promoted(
    postgres: PostgresSchema, standby: PostgresServer
) -> None:
    def on(dsn: str) -> PostgresStore:
        return PostgresStore(dsn, schema=postgres.name, lease_seconds=LEASE_SECONDS)

    async with opened(lambda: on(with_hosts(standby, postgres.server))) as store:
        # it asked the standby first, and went on to the one that takes writes
        await (await Author.of(store, "a")).write(*notes(1, 3))

    with pytest.raises(StoreFailed, match="read-only, a replica perhaps") as caught:
        async with on(standby.dsn).opened(owner="me", deliver=refuse):
            pass
    assert caught.value.written is False
    async with on(standby.dsn).reading() as reader:
        with trio.fail_after(60):
            while await reader.info("a") is None:
                await trio.sleep(0.02)
        assert await numbers(reader, "a") == [(1, 1), (2, 2), (3, 3)]

    with psycopg.connect(standby.dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_promote(wait_seconds => %s)", (PROMOTION_SECONDS_MAX,))
    async with opened(lambda: on(standby.dsn)) as store:
        author = await Author.of(store, "a")
        await author.write(note(4))  # under an epoch above that of the primary's last owner
        assert await numbers(store, "a") == [(n, n) for n in (1, 2, 3, 4)]
