"""Jobs of procrastinate, a queue on Postgres: deferred one at a time and awaited to their end.

Procrastinate has no way to wait for a job: its users ask for the status again and again, or have
the database tell them. The second asks less of the database (a trigger notifies when a job has
ended, one connection listens for all clients), so that is what it gets. Of the other settings,
these did at least as well as any that was tried: clients and two workers in one process, 50 jobs
at once each, 10 connections in all. Workers in processes of their own were no quicker.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import Any

WORKERS = 2
JOBS_AT_ONCE = 50
CONNECTIONS = 10
POLL_SECONDS = 0.1
"""A worker that misses a notification looks again after this; 5 s, the default, would distort."""
SECONDS_MAX = 300.0
"""A worker that has stopped leaves its clients waiting; then the benchmark fails."""

ENDED_TRIGGER = """
CREATE FUNCTION job_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('job_ended', NEW.id::text);
    RETURN NEW;
END $$;
CREATE TRIGGER job_ended AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW WHEN (NEW.status = 'succeeded') EXECUTE FUNCTION job_ended();
"""


class Endings:
    """Who waits for which job; a job may well have ended before anybody knows its number."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._early: set[int] = set()

    async def listen(self, connection: Any) -> None:
        """Wake those who wait, for as long as the connection lasts."""
        async for notification in connection.notifies():
            job = int(notification.payload)
            waiting = self._waiting.pop(job, None)
            if waiting is None:
                self._early.add(job)
            else:
                waiting.set_result(None)

    async def wait_ended(self, job: int) -> None:
        if job in self._early:
            self._early.remove(job)
            return
        self._waiting[job] = asyncio.get_running_loop().create_future()
        await self._waiting[job]


def jobs_per_second(connection: str, clients: int, jobs_each: int) -> float:
    """What the Postgres behind the connection string does, its database being empty."""
    return asyncio.run(_jobs_per_second(connection, clients, jobs_each))


async def _jobs_per_second(connection: str, clients: int, jobs_each: int) -> float:
    procrastinate: Any = importlib.import_module("procrastinate")
    psycopg: Any = importlib.import_module("psycopg")
    connector = procrastinate.PsycopgConnector(
        conninfo=connection, min_size=CONNECTIONS, max_size=CONNECTIONS
    )
    app = procrastinate.App(connector=connector)

    async def answer(prompt: str) -> dict[str, str]:
        return {"content": prompt}

    task = app.task(name="answer")(answer)
    endings = Endings()

    async def client(count: int) -> None:
        for _ in range(count):
            await endings.wait_ended(await task.defer_async(prompt="hello"))

    async with (
        app.open_async(),
        await psycopg.AsyncConnection.connect(connection, autocommit=True) as listening,
    ):
        await app.schema_manager.apply_schema_async()
        await listening.execute(ENDED_TRIGGER)
        await listening.execute("LISTEN job_ended")
        async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as group:
            background = [group.create_task(endings.listen(listening))]
            for _ in range(WORKERS):
                worker = app.run_worker_async(
                    concurrency=JOBS_AT_ONCE,
                    fetch_job_polling_interval=POLL_SECONDS,
                    install_signal_handlers=False,
                )
                background.append(group.create_task(worker))
            await asyncio.gather(*(client(1) for _ in range(clients)))
            begin = time.perf_counter()
            await asyncio.gather(*(client(jobs_each) for _ in range(clients)))
            seconds = time.perf_counter() - begin
            for running in background:
                running.cancel()
    return clients * jobs_each / seconds
