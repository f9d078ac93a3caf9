"""``moorage migrate`` makes the tables once, and says what it did."""

from __future__ import annotations

import subprocess
import sys

import pytest
from moorage.adapters.gateways.frame import CommandFailed
from moorage.adapters.gateways.migrating import migrate_database

migrations = pytest.importorskip("moorage.stores.postgres.migrations")


@pytest.fixture
def moorage(postgres):
    """Runs the command on a schema without tables, the DSN in the environment."""
    postgres.drop()

    def run(*arguments, code=0, dsn=None):
        ran = subprocess.run(
            [
                sys.executable,
                "-m",
                "moorage.adapters.gateways",
                "migrate",
                *arguments,
                "--schema",
                postgres.name,
            ],
            env={"MOORAGE_DSN": dsn or postgres.server.dsn, "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == code, ran.stderr
        return ran

    return run


def test_tables_are_made_and_then_there_is_nothing_to_do(moorage, postgres):
    first = moorage()
    second = moorage()
    third = moorage("--json")

    assert "migrated from version 0 to 2" in first.stderr
    assert "nothing to do" in second.stderr
    assert f'"schema": "{postgres.name}"' in third.stdout
    assert postgres.rows("SELECT version FROM migration") == [(1,), (2,)]


def test_tables_of_version_1_are_brought_up(moorage, postgres, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "SCHEMA_VERSION", 1)
        postgres.make()

    brought = moorage()

    assert "migrated from version 1 to 2" in brought.stderr
    assert postgres.rows("SELECT version FROM migration") == [(1,), (2,)]
    assert postgres.rows("SELECT demands, offer FROM session, node") == []


def test_the_event_table_is_made_in_parts(moorage, postgres):
    moorage("--partitions", "3")
    refused = moorage("--partitions", "4", code=1)

    assert "has 3 partitions, not 4" in refused.stderr
    parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'event'::regclass"
    assert postgres.rows(parts) == [(3,)]


def test_what_goes_wrong_is_one_line_without_the_password(moorage):
    failed = moorage(dsn="postgresql://me:secret@127.0.0.1:1/x", code=1)
    refused = moorage(dsn="secret", code=1)

    assert "refused" in failed.stderr
    assert "DSN cannot be understood" in refused.stderr
    assert "secret" not in failed.stderr + refused.stderr


async def test_without_the_driver_it_says_what_to_install(monkeypatch):
    for name in list(sys.modules):
        if name.startswith("moorage.stores.postgres"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(CommandFailed, match=r"pip install 'moorage\[postgres\]'"):
        await migrate_database("", schema="x", as_json=False)


def test_a_store_is_named_as_for_every_other_command(postgres, moorage_at, tmp_path):
    postgres.drop()
    spec = f"postgres:{postgres.server.dsn}?schema={postgres.name}"
    plain = moorage_at(tmp_path)

    first = plain.json("migrate", "--store", spec)
    plain.environment["MOORAGE_STORE"] = spec
    del plain.environment["MOORAGE_DATA"]

    assert first == {"schema": postgres.name, "before": 0, "after": 2}
    assert plain.json("migrate") == plain.json("migrate", spec) == {**first, "before": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["sqlite:file.db"], 1, "only Postgres has"),
        (["--store", "redis://localhost"], 1, "only Postgres has"),
        ([], 2, "name a database"),
        (["--store", "nosuch:x"], 2, "is no kind of store"),
    ],
)
def test_what_names_no_postgres_is_refused(moorage_at, tmp_path, arguments, code, reason):
    refused = moorage_at(tmp_path)("migrate", *arguments, code=code)

    assert reason in " ".join(refused.stderr.split())
