"""How much does one Postgres carry, through one node and through four?

The same as ``runs`` (100 sessions x 20 runs x 3 deltas, submit to outcome) and ``stream`` (20
sessions whose runs stream 200 deltas to a live subscriber each), on PostgresStore: with all the
sessions in one node, spread over four node processes, and in one node with the event table in 16
partitions. All are there at once and take turns, so that a machine whose speed changes is the same
for all. Then what others do on the same server:
DBOS, procrastinate, and a bare loop that makes transactions of the same size and nothing else.

Estimate beforehand: a run of two commits, shared by what arrives meanwhile, costs 300 us of Python
as it does with the journal and 150 us of the server, on two processors that they share: 2,000
runs/s. A streamed event costs 9 us of Python and 10 us of the server (a row and its place in the
index): 25,000 events/s with what commits cost. Four nodes make four times as many commits, each of
a fourth: within 20 % if a commit costs less than its contents.

Reading it: for ``1 node`` the reference is what was asked for, 2,000 runs/s and 25,000 events/s;
for the others it is one node in the same minutes; beside a peer or the bare loop ours is the value
and theirs the reference. ``server`` is the processor time of all processes of a Postgres on this
machine. MOORAGE_POSTGRES names a server by its DSN instead of one that is started here.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from moorage.stores import PostgresStore
from moorage.stores.postgres.migrations import migrate

from benchmarks import peers, queued_jobs
from benchmarks.measuring import ROOT, Report, in_child, median_round
from benchmarks.postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLE = "MOORAGE_POSTGRES"
NODES = 4
PARTITIONS = 16
SESSIONS = {"runs": 100, "stream": 20}
RUNS = {"runs": 20, "stream": 10}
"""Of each session in a round."""
UNITS = {"runs": "runs", "stream": "events"}
PER_RUN = {"runs": 1, "stream": 203}
"""Units that a run counts for."""
ASKED = {"runs": 2_000, "stream": 25_000}
ROUNDS = 5
BODY_BYTES = 110
BARE_SECONDS = 2.0


class Round(NamedTuple):
    """What one round of all nodes came to: things a second, and sums per thing."""

    rate: float
    client_us: float
    server_us: float
    commits: float
    transactions: float
    wal_bytes: float
    records_per_commit: float


class Kind(NamedTuple):
    name: str
    nodes: int
    partitions: int = 0


ALONE = "1 node"
KINDS = (
    Kind(ALONE, 1),
    Kind(f"{NODES} nodes", NODES),
    Kind(f"1 node, {PARTITIONS} partitions", 1, PARTITIONS),
)


class Group:
    """Node processes that share the sessions among them."""

    def __init__(self, dsn: str, schema: str, name: str, count: int) -> None:
        self._dsn = dsn
        each = [str(SESSIONS[what] // count) for what in ("runs", "stream")]
        command = [sys.executable, "-m", "benchmarks.postgres_node", dsn, schema]
        self._nodes = [
            subprocess.Popen(
                [*command, f"{name}-{number}", *each],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for number in range(count)
        ]

    def answers(self) -> list[dict[str, Any]]:
        """One line of each. Raises RuntimeError if one has ended."""
        found = []
        for node in self._nodes:
            assert node.stdout is not None
            line = node.stdout.readline()
            if not line:
                raise RuntimeError(f"a node ended with {node.wait()}: see what it said")
            found.append(json.loads(line))
        return found

    def round(self, what: str, each: int) -> Round:
        server = Server(self._dsn)
        for node in self._nodes:
            assert node.stdin is not None
            node.stdin.write(json.dumps({"what": what, "each": each}) + "\n")
            node.stdin.flush()
        told = self.answers()
        seconds, transactions, wal_bytes = server.since()
        count = SESSIONS[what] * each * PER_RUN[what]
        took = max(node["end"] for node in told) - min(node["begin"] for node in told)
        commits = sum(node["commits"] for node in told)
        return Round(
            rate=count / took,
            client_us=sum(node["cpu_seconds"] for node in told) / count * 1e6,
            server_us=seconds / count * 1e6,
            commits=commits / count,
            transactions=transactions / count,
            wal_bytes=wal_bytes / count,
            records_per_commit=sum(node["records"] for node in told) / max(1, commits),
        )

    def close(self) -> None:
        for node in self._nodes:
            assert node.stdin is not None
            with contextlib.suppress(OSError):
                node.stdin.close()
        for node in self._nodes:
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
            assert node.stdout is not None
            node.stdout.close()


class Server:
    """What a Postgres has done since; its processor time only if it runs on this machine."""

    def __init__(self, dsn: str) -> None:
        psycopg: Any = importlib.import_module("psycopg")
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._before = self._now()

    def _now(self) -> tuple[dict[int, float], int, int]:
        execute = self._connection.execute
        # each process tells its counts at the end of a transaction, at most once a second
        execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        rows = execute("SELECT pid, inet_server_addr() IS NULL FROM pg_stat_activity").fetchall()
        here = {pid: _processor_seconds(pid) for pid, local in rows if local}
        transactions, wal_bytes = execute(
            "SELECT xact_commit, pg_current_wal_insert_lsn() - '0/0'::pg_lsn "
            "FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        return here, transactions, int(wal_bytes)

    def since(self) -> tuple[float, int, int]:
        """(processor seconds, transactions, bytes of its log)."""
        before, transactions_before, wal_before = self._before
        now, transactions, wal_bytes = self._now()
        self._connection.close()
        seconds = sum(value - before.get(pid, 0.0) for pid, value in now.items())
        return seconds, transactions - transactions_before, wal_bytes - wal_before


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def groups(dsn: str, schema: str, kinds: Sequence[Kind]) -> Iterator[dict[str, Group]]:
    """Nodes by the name of their kind, and tables that go with them."""
    psycopg: Any = importlib.import_module("psycopg")
    schemas = {kind.partitions: f"{schema}_{kind.partitions}" for kind in kinds}
    started: dict[str, Group] = {}
    try:
        for partitions, name in schemas.items():
            migrate(PostgresStore(dsn, schema=name)._place, partitions=partitions)
        for kind in kinds:
            started[kind.name] = Group(dsn, schemas[kind.partitions], kind.name, kind.nodes)
        for group in started.values():
            group.answers()
        yield started
    finally:
        for group in started.values():
            group.close()
        with psycopg.connect(dsn, autocommit=True) as connection:
            for name in schemas.values():
                connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def tell_disk(report: Report, dsn: str, schema: str) -> None:
    """What the rounds left on disk, per event; and how the rows of sessions were replaced."""
    psycopg: Any = importlib.import_module("psycopg")
    with psycopg.connect(dsn, autocommit=True) as connection:

        def one(statement: str) -> Any:
            (value,) = connection.execute(statement.format(schema=schema)).fetchone()
            return value

        events = one("SELECT count(*) FROM {schema}.event")
        for metric, table in (("events", "event"), ("runs", "run"), ("sessions", "session")):
            size = one(f"SELECT pg_total_relation_size('{{schema}}.{table}')")
            report(f"disk, {metric} with their indexes", size / events, "bytes/event")
        size = one("SELECT sum(octet_length(body)) FROM {schema}.event")
        report("disk, the bodies of events alone", size / events, "bytes/event")
        hot = one(
            "SELECT n_tup_hot_upd::float8 / greatest(n_tup_upd, 1) FROM pg_stat_all_tables "
            "WHERE schemaname = '{schema}' AND relname = 'session'"
        )
        report("updates of sessions that touch no index", hot, "of 1")
        connections = one(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'moorage'"
        )
        report("connections of all nodes", connections, "connections", nodes=NODES + 2)


def bare_per_second(dsn: str, events: int, sessions: int) -> float:
    """Events a second of one connection that writes and commits so many at a time and moves the
    heads of so many sessions, with nothing around it."""
    psycopg: Any = importlib.import_module("psycopg")
    body, head = b"x" * BODY_BYTES, 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE name (number int)")  # of this connection alone
        connection.execute("DROP TABLE IF EXISTS bare_event, bare_session")
        connection.execute(
            "CREATE TABLE bare_event (session bigint, seq bigint, body bytea, "
            "PRIMARY KEY (session, seq))"
        )
        connection.execute(
            "CREATE TABLE bare_session (number bigint PRIMARY KEY, head bigint) "
            "WITH (fillfactor = 50)"
        )
        connection.execute(
            "INSERT INTO bare_session SELECT n, 0 FROM generate_series(0, %s) AS n", (sessions - 1,)
        )
        begin = time.perf_counter()
        while time.perf_counter() - begin < BARE_SECONDS:
            seqs = list(range(head, head + events))
            connection.execute(
                "WITH e AS (INSERT INTO bare_event SELECT seq %% %s, seq, %b "
                "FROM unnest(%s::bigint[]) AS seq) "
                "UPDATE bare_session SET head = head + 1",
                (sessions, body, seqs),
            )
            head += events
        rate = head / (time.perf_counter() - begin)
        connection.execute("DROP TABLE bare_event, bare_session")
    return rate


def tell_groups(report: Report, started: dict[str, Group], rounds: int) -> dict[str, list[Round]]:
    """Rounds of each group in turn; returns those of one node."""
    alone: dict[str, list[Round]] = {}
    for what, unit in UNITS.items():
        found: dict[str, list[Round]] = {name: [] for name in started}
        for number in range(rounds + 1):
            for name, group in started.items():
                this = group.round(what, RUNS[what])
                if number:  # the first one warms up
                    found[name].append(this)
        alone[what] = found[ALONE]
        beside = {field: of_rounds(found[ALONE], field) for field in Round._fields}
        for name, done in found.items():
            asked = ASKED[what] if name == ALONE else beside["rate"]
            report(f"{what}, {name}", of_rounds(done, "rate"), f"{unit}/s", reference=asked)
            one = unit.removesuffix("s")
            for metric, field, of in METRICS:
                reference = None if name == ALONE else beside[field]
                value = of_rounds(done, field)
                report(f"{what}, {name}, {metric}", value, f"{of}/{one}", reference=reference)
    return alone


def of_rounds(done: Sequence[Round], field: str) -> float:
    return median_round([getattr(each, field) for each in done])


METRICS = (
    ("processor time of the nodes", "client_us", "us"),
    ("processor time of the server", "server_us", "us"),
    ("group commits", "commits", "commits"),
    ("transactions", "transactions", "transactions"),
    ("write-ahead log", "wal_bytes", "bytes"),
)


def beside_bare(report: Report, dsn: str, alone: dict[str, list[Round]]) -> None:
    for what, done in alone.items():
        records = max(1, round(of_rounds(done, "records_per_commit")))
        per_unit = 6 if what == "runs" else 1
        sessions = min(records, SESSIONS[what])
        bare = in_child(bare_per_second, dsn, records, sessions) / per_unit
        rate = of_rounds(done, "rate")
        unit = UNITS[what]
        report(f"{what}, beside a bare loop", rate, f"{unit}/s", reference=bare, records=records)


def beside_peers(report: Report, dsn: str, ours: float, quick: bool) -> None:
    psycopg: Any = importlib.import_module("psycopg")
    conninfo: Any = importlib.import_module("psycopg.conninfo")
    scale = 10 if quick else 1
    measured = {
        "dbos": (
            "DBOS",
            functools.partial(peers.dbos_runs_on_postgres, runs_each=peers.RUNS_EACH // scale),
        ),
        "procrastinate": (
            "procrastinate",
            functools.partial(
                queued_jobs.jobs_per_second, clients=100, jobs_each=peers.JOBS_EACH // scale
            ),
        ),
    }
    for module, (name, function) in measured.items():
        if not peers.installed(module):
            report.skipped(f"{name} is not installed: {peers.INSTALL}")
            continue
        database = f"bench_{module}_{os.getpid()}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
            try:
                peer = in_child(function, conninfo.make_conninfo(dsn, dbname=database))
            finally:
                connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
        report(f"runs, beside {name}", ours, "runs/s", reference=peer)


def measure(report: Report, quick: bool = False) -> None:
    """Report one node, four nodes, and others on the same server."""
    with contextlib.ExitStack() as stack:
        dsn = os.environ.get(VARIABLE)
        try:
            dsn = dsn or stack.enter_context(postgres_server())
        except RuntimeError as error:
            report.skipped(f"no Postgres: {error}")
            return
        schema = f"bench_{os.getpid()}"
        with groups(dsn, schema, KINDS) as started:
            alone = tell_groups(report, started, 1 if quick else ROUNDS)
            tell_disk(report, dsn, f"{schema}_0")
        beside_bare(report, dsn, alone)
        beside_peers(report, dsn, of_rounds(alone["runs"], "rate"), quick)
