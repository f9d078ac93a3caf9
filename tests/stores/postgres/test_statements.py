"""What is asked often is found by an index, however many sessions there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moorage.stores.postgres import statements as sql

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema


@pytest.mark.parametrize(
    ("statement", "parameters", "index"),
    [
        (sql.UNHELD, {"limit": 10, "offer": ["agent:"]}, "session_demand"),
        (sql.UNHELD, {"limit": 10, "offer": None}, "session_owner"),
        (sql.UNSERVED, {"limit": 10}, "session_demand"),
        (sql.LEAVE, {"node": 1, "channel": "c"}, "session_owner"),
        (sql.HOLDER, ("a",), "session_id_key"),
        (sql.ROUTE, {"session_id": "a", "demands": [], "node": 1}, "session_id_key"),
        (sql.TAKE, {"node": 1, "under_way": [], "limit": 10}, "command_open"),
        (sql.ANSWERS, (["a"],), "command_pkey"),
    ],
)
def test_an_index_is_used(
    postgres: PostgresSchema, statement: str, parameters: Any, index: str
) -> None:
    with postgres.connect() as connection:
        connection.execute(
            "INSERT INTO session (id, head_seq, oldest_seq, modified_ns, change, closed, "
            "needs_worker, owner) SELECT 's' || n, 0, 1, 0, 0, false, n % 1000 = 0, "
            "CASE WHEN n % 1000 = 0 THEN 1 END FROM generate_series(1, 20000) AS n"
        )
        connection.execute(
            "INSERT INTO command (id, session_id, kind, body, sender, answer) "
            "SELECT 'c' || n, 's' || n, 'k', '', 1, CASE WHEN n > 10 THEN ''::bytea END "
            "FROM generate_series(1, 20000) AS n"
        )
        connection.execute("ANALYZE session, command")
        rows = connection.execute(b"EXPLAIN " + statement.encode(), parameters).fetchall()

    plan = "\n".join(row[0] for row in rows)
    assert index in plan, plan
