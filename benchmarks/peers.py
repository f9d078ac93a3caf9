"""How does it compare with durable Python systems that one can install beside it?

DBOS with SQLite runs workflows of one step, started and awaited one at a time by as many clients
as it likes best (20). The SQLite session of the OpenAI Agents SDK appends one item at a time. Ours
do the same: 20 clients submitting one run at a time and waiting for it, and ``append``.

Estimate beforehand: DBOS writes three transactions per workflow, about 100 runs/s on such a disk
(58 to 145 were seen); the SDK's session commits once per append in a thread, 1,200 a second and
without a sync per commit. Ours: 4,000 runs/s, and 1,500 synced appends/s one at a time.

Reading it: ``reference`` is the peer's figure and ``ratio`` how many times as fast ours is; at
least 10 is the aim for runs. A peer that is not installed is skipped: the extra is ``peers``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import importlib.util
import time
from typing import TYPE_CHECKING, Any

import trio
from moorage.runtime import RunContext, RunRequest, Session, open_supervisor
from moorage.stores import JournalStore

from benchmarks import small_writes
from benchmarks.measuring import Report, directory, in_child, together

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 20
RUNS_EACH = 25
APPENDS = 1_000
ITEM = {"role": "user", "content": "hello"}


async def agent(request: RunRequest, context: RunContext) -> object:
    return {"content": request.input["prompt"]}


async def _ours(path: Path, runs_each: int) -> tuple[float, int]:
    async def client(session: Session) -> None:
        for _ in range(runs_each):
            (await session.execute({"prompt": "hello"})).unwrap()

    async with open_supervisor(JournalStore(path), agent) as supervisor:
        sessions = [await supervisor.session(f"user-{number}") for number in range(CLIENTS)]
        begin = time.perf_counter()
        await together(client, sessions)
        seconds = time.perf_counter() - begin
        return CLIENTS * runs_each / seconds, supervisor.statistics().store.syncs


def ours(path: Path, runs_each: int) -> tuple[float, int]:
    return trio.run(_ours, path, runs_each)


def dbos_runs(path: Path, runs_each: int) -> float:
    """Workflows a second."""
    dbos: Any = importlib.import_module("dbos")
    DBOS = dbos.DBOS
    path.mkdir()
    config = dbos.DBOSConfig(
        name="peer",
        system_database_url=f"sqlite:///{path}/dbos.sqlite",
        run_admin_server=False,
        log_level="ERROR",
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


def measure(report: Report, quick: bool = False) -> None:
    """Report ours beside each peer that is installed."""
    scale = 10 if quick else 1
    with directory() as path:
        if importlib.util.find_spec("dbos") is None:
            report.skipped("DBOS is not installed: pip install -e '.[peers]' -c constraints.txt")
        else:
            peer = in_child(dbos_runs, path / "dbos", max(1, RUNS_EACH // scale))
            rate, syncs = in_child(ours, path / "ours", 20 * RUNS_EACH // scale)
            report("runs, with DBOS on SQLite", rate, "runs/s", reference=peer, syncs=syncs)
        if importlib.util.find_spec("agents") is None:
            report.skipped("the Agents SDK is not installed: pip install -e '.[peers]'")
        else:
            peer = in_child(agents_sdk_appends, path / "agents", APPENDS // scale)
            rate, syncs = in_child(our_appends, path / "appends", APPENDS // scale)
            report(
                "appends, with the OpenAI Agents SDK's SQLiteSession",
                rate,
                "appends/s",
                reference=peer,
                syncs=syncs,
            )
