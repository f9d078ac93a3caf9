"""The tables are the same in both databases, but for what only one of them needs."""

from __future__ import annotations

import sqlite3

import pytest
from moorage.stores.relational.schema import INDEXES, KINDS, TABLES, Dialect, creation


def test_sqlite_takes_the_statements() -> None:
    connection = sqlite3.connect(":memory:")

    for statement in creation(Dialect.SQLITE):
        connection.execute(statement)
    made = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}

    connection.close()
    assert {"session", "event", "run", "snapshot", "cursor", "store"} <= made
    assert "node" not in made


@pytest.mark.parametrize("dialect", Dialect)
def test_each_statement_names_only_its_own_database(dialect: Dialect) -> None:
    text = " ".join(creation(dialect))

    assert ("WITHOUT ROWID" in text) == (dialect is Dialect.SQLITE)
    assert ("bytea" in text) == (dialect is Dialect.POSTGRES)


def test_every_column_has_a_type_where_it_is() -> None:
    for table in TABLES:
        for column in table.columns:
            for dialect in Dialect:
                if dialect in (table.only or dialect, column.only or dialect):
                    here = table.only in (None, dialect) and column.only in (None, dialect)
                    assert not here or KINDS[column.kind][dialect]


def test_indexes_are_on_tables_and_columns_that_exist() -> None:
    columns = {table.name: {column.name for column in table.columns} for table in TABLES}

    assert all(set(index.columns) <= columns[index.table] for index in INDEXES)
