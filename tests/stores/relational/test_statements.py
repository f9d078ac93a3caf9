"""Statements have as many places as they get parameters, in either spelling."""

from __future__ import annotations

from moorage.stores.relational import statements as sql
from moorage.stores.relational.schema import Dialect


def test_a_statement_is_spelt_as_each_driver_wants_it() -> None:
    assert sql.in_dialect("SELECT ? + ?", Dialect.SQLITE) == "SELECT ? + ?"
    assert sql.in_dialect("SELECT ? + ?", Dialect.POSTGRES) == "SELECT %s + %s"


def test_filters_have_a_place_each() -> None:
    statement = sql.events(types=3, run=True, backwards=True)

    assert statement.count("?") == 3 + 1 + 3 + 1
    assert "DESC" in statement
    assert sql.events(types=0, run=False, backwards=False).count("?") == 4


def test_a_prefix_is_two_parameters() -> None:
    assert sql.sessions(prefix=True, needs_worker=False).count("?") == 2
    assert "needs_worker" in sql.sessions(prefix=False, needs_worker=True)


def test_names_come_in_chunks_that_a_statement_can_take() -> None:
    assert sql.chunks(range(5), 2) == [[0, 1], [2, 3], [4]]
    assert sql.chunks([], 2) == []
    assert sql.sessions_by("id", 3).count("?") == 3
    assert sql.ended_among(2).count("?") == 3
