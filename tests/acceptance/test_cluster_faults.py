"""A cluster on Postgres whose nodes are cut off, tell the time wrong, or are very many."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import trio
from moorage.runtime import RunState, StoreFailed, open_supervisor
from moorage.runtime.testing import assert_history

from tests.cutting_proxy import CuttingProxy
from tests.postgres_server import PostgresSchema, PostgresServer

LEASE_SECONDS = 5.0
"""So long that a busy machine which holds a node up for a while does not end it."""
PATIENCE_SECONDS = 120
HOUR_NS = 3_600 * 10**9
CROWD = Path(__file__).with_name("crowd_node.py")
NODES = 100
PROCESSES = 10
MEGABYTES_MAX = 120
"""Of each process, with its ten nodes: twice what it takes."""
CONNECTIONS_PER_NODE = 3 + 1
"""With ``connections_max=1``."""


class Worker:
    """An agent that emits until it has done ``steps``; notes what became of it."""

    def __init__(self, name, steps):
        self.name = name
        self.steps = steps
        self.ended = []

    async def __call__(self, request, context):
        try:
            for step in range(self.steps):
                await context.emit("message_streamed", {"node": self.name, "step": step})
                await trio.sleep(0.1)
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("returned")
        return self.name


async def test_a_node_that_is_cut_off_while_it_executes_stops_and_changes_nothing_more(postgres):
    """Its agent is cancelled when the lease is over, what it had on its way is refused when it
    arrives after all, and the other node does the run from the beginning."""
    here, there = Worker("a", 10_000), Worker("b", 5)
    async with CuttingProxy(postgres.server.port).running() as proxy:
        store_a = postgres.store(lease_seconds=LEASE_SECONDS, through=proxy.port)
        store_b = postgres.store(lease_seconds=LEASE_SECONDS)
        async with (
            open_supervisor(store_a, here) as a,
            open_supervisor(store_b, there) as b,
        ):
            session = await a.session("s")
            run = await session.submit(None, on_interrupt="requeue")
            on_b = b.handle("s")
            with trio.fail_after(PATIENCE_SECONDS):
                while not await on_b.events(types={"message_streamed"}, limit=1):
                    await trio.sleep(0.02)
                proxy.fall_silent()
                while not here.ended:
                    await trio.sleep(0.02)
                outcome = await on_b.wait(run.id)
                proxy.speak()  # what was under way arrives now
                while True:
                    try:
                        seen_by_a = await session.wait(run.id)
                        break
                    except StoreFailed:
                        await trio.sleep(0.1)
                await session.append("note", "it is of use again")
            log = await on_b.events(limit=10_000)

    assert here.ended == ["Cancelled"]
    assert (outcome.state, outcome.output, outcome.attempt) == (RunState.COMPLETED, "b", 2)
    assert seen_by_a == outcome
    recovered = next(event.seq for event in log if event.type == "session_recovered")
    emitted = [event for event in log if event.type == "message_streamed"]
    assert {event.data["node"] for event in emitted if event.seq > recovered} == {"b"}
    assert_history(log)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_node_whose_clock_is_an_hour_off_keeps_and_takes_over_sessions(postgres, hours):
    def time_ns():
        return time.time_ns() + hours * HOUR_NS

    first, second = (postgres.store(lease_seconds=LEASE_SECONDS) for _ in range(2))
    async with open_supervisor(second, Worker("b", 1)) as b:
        async with open_supervisor(first, Worker("a", 1), time_ns=time_ns) as a:
            session = await a.session("s")
            with trio.fail_after(PATIENCE_SECONDS):
                outcomes = [await session.execute(None) for _ in range(2)]
                await trio.sleep(1.5 * LEASE_SECONDS)  # it is renewed by the database's clock
                outcomes.append(await b.handle("s").execute(None))
        with trio.fail_after(PATIENCE_SECONDS):
            outcomes.append(await b.handle("s").execute(None, timeout_seconds=PATIENCE_SECONDS))
        log = await b.handle("s").events()

    assert [outcome.output for outcome in outcomes] == ["a", "a", "a", "b"]
    assert_history(log)


async def test_a_hundred_nodes_that_start_at_once_have_one_session_and_few_connections():
    """Slow, because a hundred nodes make three hundred connections; a server of its own, because
    others do not take so many."""
    server = PostgresServer(max_connections=str(NODES * CONNECTIONS_PER_NODE + 20))
    schema = PostgresSchema(server, "many")
    start = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        server.make()
        server.start()
        schema.make()
        command = [sys.executable, str(CROWD), server.dsn, schema.name]
        each = str(NODES // PROCESSES)
        with trio.fail_after(2 * PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                crowds = [
                    await nursery.start(start, [*command, f"p{number}", each])
                    for number in range(PROCESSES)
                ]
                for crowd in crowds:
                    assert await line_of(crowd) == b"ready\n"
                for crowd in crowds:
                    await crowd.stdin.send_all(b"\n")
                reports = [json.loads(await line_of(crowd)) for crowd in crowds]
                connections = schema.rows(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'moorage'"
                )[0][0]
                for crowd in crowds:
                    await crowd.stdin.aclose()
        left = schema.rows("SELECT count(*) FROM node")
        submitted = schema.rows("SELECT count(*) FROM event WHERE type = 'run_submitted'")
    finally:
        server.remove()

    told = [tuple(one) for report in reports for one in report["told"]]
    megabytes = [round(report["most_kilobytes"] / 1_000) for report in reports]
    print(f"{connections} connections, and megabytes of each process: {megabytes}")
    assert len(told) == NODES
    assert len(set(told)) == 1
    assert submitted == [(1,)]
    assert left == [(0,)]
    assert connections - 1 <= NODES * CONNECTIONS_PER_NODE
    assert max(megabytes) <= MEGABYTES_MAX


async def line_of(process):
    said = b""
    while not said.endswith(b"\n"):
        chunk = await process.stdout.receive_some()
        assert chunk, "the process ended"
        said += chunk
    return said
