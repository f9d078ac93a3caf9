"""Columns as Postgres takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from moorage.stores.postgres.arrays import (
    Bigints,
    Booleans,
    Byteas,
    Texts,
    bigints,
    booleans,
    byteas,
    register,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.postgres_server import PostgresSchema

COLUMNS: list[tuple[Callable[[Any], bytes], type[bytes], str, list[list[Any]]]] = [
    (bigints, Bigints, "bigint", [[], [0], [1, -1, 2**63 - 1, -(2**63)], list(range(3_000))]),
    (booleans, Booleans, "boolean", [[], [None], [True, False, None]]),
    (byteas, Byteas, "bytea", [[], [b""], [b"\0\xff", b"x" * 70_000], [None, b"a", None]]),
    (texts, Texts, "text", [[], [""], ["a", "a", "\u00e9\U0001f600", None, 'a,b {}"\\ NULL']]),
]


@pytest.mark.parametrize(("column", "kind", "name", "lists"), COLUMNS)
def test_postgres_takes_in_what_a_column_holds(
    postgres: PostgresSchema,
    column: Callable[[Any], bytes],
    kind: type[bytes],
    name: str,
    lists: list[list[Any]],
) -> None:
    with postgres.connect() as connection:
        register(connection)
        for values in lists:
            statement = f"SELECT value FROM unnest(%s::{name}[]) AS value"

            array = column(values)

            assert type(array) is kind
            assert [value for (value,) in connection.execute(statement, (array,))] == values


def test_text_that_postgres_has_no_way_to_hold_is_refused(postgres: PostgresSchema) -> None:
    with pytest.raises(psycopg.DataError, match="UTF-8 cannot encode"):
        texts(["a", "\ud800"])
    with postgres.connect() as connection:
        register(connection)
        with pytest.raises(psycopg.DataError):
            connection.execute("SELECT %s::text[]", (texts(["a\0"]),))
