"""What is said in a connection string, what we add, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg.conninfo
import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.stores.postgres.place import Place

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema


def place(dsn: str, schema: str = "moorage") -> Place:
    return Place.of(dsn, schema, lease_seconds=3, statement_seconds=1.5)


def test_a_dsn_that_is_none_is_refused() -> None:
    for dsn in ("postgresql://ann:secret@[", "secret", 7):
        with pytest.raises(InvalidArgument, match="the DSN cannot be understood") as caught:
            place(dsn)
        assert "secret" not in str(caught.value)


def test_the_password_is_never_told() -> None:
    found = place("postgresql://ann:secret@db.example:5433/main")

    assert "secret" not in repr(found)
    assert "secret" not in found.described
    assert found.described == "Postgres (user=ann host=db.example port=5433 dbname=main)"
    assert "secret" in found.conninfo
    assert place("").described == "Postgres (as the defaults say)"


def test_limits_go_with_every_connection() -> None:
    values = psycopg.conninfo.conninfo_to_dict(place("options='-c work_mem=8MB'").conninfo)

    assert values["options"] == (
        "-c work_mem=8MB -c search_path=moorage -c statement_timeout=1500 "
        r"-c default_transaction_isolation=read\ committed "
        "-c idle_in_transaction_session_timeout=1000"
    )
    assert values["tcp_user_timeout"] == "3000"


def test_what_the_dsn_says_of_the_network_counts() -> None:
    values = psycopg.conninfo.conninfo_to_dict(place("connect_timeout=2").conninfo)

    assert values["connect_timeout"] == "2"


@pytest.mark.parametrize(("before", "after"), [("off", "on"), ("local", "local"), ("on", "on")])
def test_commits_are_durable_whatever_the_server_does_by_default(
    postgres: PostgresSchema, before: str, after: str
) -> None:
    dsn = f"{postgres.server.dsn} options='-c synchronous_commit={before}'"
    place = Place.of(dsn, postgres.name, lease_seconds=3, statement_seconds=3)

    with place.connect_to_write() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == (after,)
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_channels_are_those_of_the_schema() -> None:
    assert place("", "one").channel != place("", "two").channel
    assert place("", "one").mailbox(3) == "moorage:one:3"


@pytest.mark.parametrize("schema", ["", "A", "a-b", "1a", "a" * 42, None])
def test_a_schema_that_needs_quotes_is_refused(schema: object) -> None:
    with pytest.raises(InvalidArgument, match="schema must be a name"):
        place("", schema)
