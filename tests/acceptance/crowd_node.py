"""Many nodes in one process, which begin when they are told to.

    python crowd_node.py DSN SCHEMA NAME NODES

Says "ready", waits for a line, and opens so many supervisors at once on the same database. Each
submits the same run to the same session and waits for it. When all have its end it says, as a line
of JSON, what they were told and how much memory the process has had; the nodes leave when its
standard input ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import structlog
import trio
from moorage.runtime import SupervisorLimits, open_supervisor
from moorage.stores import PostgresStore

LIMITS = SupervisorLimits(drain_seconds=1.0)
LEASE_SECONDS = 30.0


async def serve(dsn, schema, name, nodes):
    told, everybody, leaving = [], trio.Event(), trio.Event()

    async def node(number):
        store = PostgresStore(dsn, schema=schema, lease_seconds=LEASE_SECONDS, connections_max=1)

        async def agent(request, context):
            await context.emit("message_streamed", {"delta": "."})
            return f"{name}.{number}"

        async with open_supervisor(store, agent, limits=LIMITS) as supervisor:
            session = await supervisor.session("s")
            run = await session.submit(None, key="the only one")
            told.append([run.id, (await run.wait()).output])
            if len(told) == nodes:
                everybody.set()
            await leaving.wait()

    async with trio.open_nursery() as nursery:
        for number in range(nodes):
            nursery.start_soon(node, number)
        await everybody.wait()
        print(json.dumps({"told": told, "most_kilobytes": most_kilobytes()}), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        leaving.set()


def most_kilobytes():
    """Of this program; what getrusage tells counts that which started it too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1])


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    print("ready", flush=True)
    sys.stdin.readline()
    trio.run(serve, *sys.argv[1:4], int(sys.argv[4]))
