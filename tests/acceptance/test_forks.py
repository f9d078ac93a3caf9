"""Forks of a process that has a store, or a server, as real processes: they hold nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import httpx
import pytest
from moorage import stores
from moorage.adapters.gateways import sync_host

from tests.ports import reserved_port

SECONDS_MAX = 180
STORES = {
    "JournalStore": "journal",
    "SqliteStore": "data.sqlite",
    "JsonlStore": "lines",
}
"""Stores that one process at a time has, and what they are given."""

BEGINNING = """
import os, signal, sys, threading
import structlog, trio
from functools import partial
from moorage import stores
from moorage.adapters.gateways import sync_host
from moorage.runtime import open_supervisor

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def agent(request, context):
    return request.input

def killed_when_forked(end_of_fork):
    if not os.fork():
        sys.stdin.read()
        end_of_fork(0)
    print("forked", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
HOLDER = """
store = getattr(stores, sys.argv[1])(sys.argv[2])
with sync_host.open_supervisor(store, agent) as supervisor:
    session = supervisor.session("user-1")
    session.execute("before", key="before").unwrap()
    killed_when_forked(sys.exit)  # through all blocks, and taking everything down
"""
BUSY = """
schema = {"schema": sys.argv[3]} if sys.argv[3:] else {}
store = getattr(stores, sys.argv[1])(sys.argv[2], **schema)
with sync_host.open_supervisor(store, agent) as supervisor:
    session = supervisor.session("user-1")
    enough = threading.Event()

    def append():
        number = 0
        while not enough.is_set():
            session.append("message_sent", {"number": number})
            number += 1

    appending = threading.Thread(target=append)
    appending.start()
    for _ in range(10):  # at whatever the writer is doing just then
        child = os.fork()
        if not child:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    enough.set()
    appending.join()
print("left", flush=True)
"""
JOBS = """
moorage = sync_host.ProcessSupervisor(
    lambda: getattr(stores, sys.argv[1])(sys.argv[2]), agent
)
for job in range(3):
    child = os.fork()
    if not child:  # as workers of RQ do
        moorage.get().session("user-1").execute(job, key=f"job-{job}").unwrap()
        if job % 2:
            moorage.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("left", flush=True)
"""
FORKING = """
import asyncio
from moorage.adapters.gateways import asyncio_host

def forked():
    child = os.fork()
    if not child:
        if sys.argv[2] == "exits":
            sys.exit(3)
        if sys.argv[2] == "fails":
            raise LookupError("of the fork")
        return "returned in the fork"
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def forking(request, context):
    return forked()

def in_trio(agent):
    async def main():
        async with open_supervisor(stores.MemoryStore(), agent) as supervisor:
            session = await supervisor.session("user-1")
            print([(await session.execute(None)).unwrap() for _ in range(2)], flush=True)
    trio.run(main)

def in_asyncio():
    async def main():
        agent = asyncio_host.asyncio_agent(forking)
        async with asyncio_host.open_supervisor(stores.MemoryStore(), agent) as supervisor:
            session = await supervisor.session("user-1")
            print([(await session.execute(None)).unwrap() for _ in range(2)], flush=True)
    asyncio.run(main())

def in_block():
    async def main():
        codes = []
        async with open_supervisor(stores.MemoryStore(), agent) as supervisor:
            for _ in range(2):
                codes.append(forked())
                if codes[-1] == "returned in the fork":
                    return
                await (await supervisor.session("user-1")).execute(None)
        print(codes, flush=True)
    trio.run(main)

{
    "trio agent": lambda: in_trio(forking),
    "sync agent": lambda: in_trio(sync_host.sync_agent(lambda request, context: forked())),
    "asyncio agent": in_asyncio,
    "block": in_block,
}[sys.argv[1]]()
"""
SERVER = """
from moorage.adapters.gateways import http

async def main():
    async with open_supervisor(stores.MemoryStore(), agent) as supervisor:
        await supervisor.session("user-1")
        async with trio.open_nursery() as nursery:
            address = await nursery.start(partial(http.serve, supervisor, sys.argv[1]))
            print(address, flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
            killed_when_forked(os._exit)  # as multiprocessing does

trio.run(main)
"""


@contextmanager
def running(program, *arguments):
    """A process, which is killed with its forks when it takes too long. Leaving ends its input, and
    waits until it and its forks have ended."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", BEGINNING + program]
    with subprocess.Popen(
        [*command, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:

        def kill():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        too_long = threading.Timer(SECONDS_MAX, kill)
        too_long.start()
        try:
            yield process
            process.stdin.close()
            process.stdout.read()  # ends with the last of those who have it
        finally:
            too_long.cancel()
            kill()


async def agent(request, context):
    return request.input


@pytest.mark.parametrize("store", STORES)
def test_a_fork_that_outlives_its_parent_keeps_nobody_from_opening_the_store(store, tmp_path):
    path = tmp_path / STORES[store]
    with running(HOLDER, store, path) as process:
        assert process.stdout.readline() == "forked\n"
        process.wait(SECONDS_MAX)

        with sync_host.open_supervisor(getattr(stores, store)(path), agent) as supervisor:
            session = supervisor.session("user-1")
            assert session.execute("after", key="after").unwrap() == "after"
            assert session.submit("before", key="before").wait().unwrap() == "before"
    # the fork has left all its blocks meanwhile, and been taken down
    with sync_host.open_supervisor(getattr(stores, store)(path), agent) as supervisor:
        outcomes = [
            supervisor.session("user-1").submit(text, key=text).wait()
            for text in ("before", "after")
        ]
    assert [outcome.unwrap() for outcome in outcomes] == ["before", "after"]


def numbers_in(store):
    with sync_host.open_reader(store) as reader:
        session, after, numbers = reader.session("user-1"), 0, []
        while events := session.events(after=after, limit=1_000):
            after = events[-1].seq
            numbers += [e.data["number"] for e in events if e.type == "message_sent"]
    return numbers


@pytest.mark.parametrize("store", STORES)
def test_forks_that_end_while_the_parent_writes_take_nothing_from_it(store, tmp_path):
    path = tmp_path / STORES[store]
    with running(BUSY, store, path) as process:
        assert process.stdout.readline() == "left\n"
        assert process.wait(SECONDS_MAX) == 0

    numbers = numbers_in(getattr(stores, store)(path))
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 0


def test_forks_that_end_while_the_parent_writes_to_a_postgres_take_nothing_from_it(postgres):
    with running(BUSY, "PostgresStore", postgres.server.dsn, postgres.name) as process:
        assert process.stdout.readline() == "left\n"
        assert process.wait(SECONDS_MAX) == 0

    numbers = numbers_in(postgres.store())
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 0


@pytest.mark.parametrize("where", ["trio agent", "sync agent", "asyncio agent", "block"])
@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("exits", 3), ("fails", 1)])
def test_a_fork_that_comes_back_into_its_parents_loop_ends_there(where, how, code):
    with running(FORKING, where, how) as process:
        assert process.stdout.readline() == f"[{code}, {code}]\n"
        assert process.wait(SECONDS_MAX) == 0


@pytest.mark.parametrize("store", STORES)
def test_a_worker_that_forks_for_each_job_has_the_store_in_each(store, tmp_path):
    path = tmp_path / STORES[store]
    with running(JOBS, store, path) as process:
        assert process.stdout.readline() == "left\n"
        assert process.wait(SECONDS_MAX) == 0

    with sync_host.open_supervisor(getattr(stores, store)(path), agent) as supervisor:
        session = supervisor.session("user-1")
        outcomes = [session.submit(job, key=f"job-{job}").wait().unwrap() for job in range(3)]
    assert outcomes == list(range(3))


def test_a_fork_that_outlives_a_server_holds_neither_its_address_nor_its_connections():
    with reserved_port() as port, running(SERVER, f"127.0.0.1:{port}") as process:
        address = process.stdout.readline().strip()
        with httpx.Client(base_url=address, timeout=SECONDS_MAX) as client:
            accept = {"accept": "text/event-stream"}
            url = "/v1/sessions/user-1/events"
            with client.stream("GET", url, headers=accept) as stream:
                lines = stream.iter_lines()
                next(lines)
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == "forked\n"

                with pytest.raises(httpx.RemoteProtocolError):
                    list(lines)  # it is told of the end, though the fork lives

        with running(SERVER, address.removeprefix("http://")) as next_process:
            assert next_process.stdout.readline().strip() == address
            next_process.send_signal(signal.SIGKILL)
