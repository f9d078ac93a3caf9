"""A node of a cluster, as a process of its own that can be killed.

    python cluster_node.py DSN SCHEMA LEASE_SECONDS NAME SESSION[=SECONDS]...

A DSN that begins with redis:// is the URL of a Redis server, and SCHEMA the prefix of keys there.
It submits a run to each of the sessions, says their ids (of one that is named twice the last) as a
line of JSON, and serves until it is killed or its standard input ends, when it leaves in order. The
agent emits, sleeps for as long as its input says, and returns the name of its node.
"""

from __future__ import annotations

import json
import sys

import trio
from moorage.runtime import open_supervisor


def agent_of(name):
    """The agent of the node of that name."""

    async def agent(request, context):
        for number in range(int(request.input * 10)):
            await context.emit("message_streamed", {"delta": f"{number} "})
            await trio.sleep(0.1)
        return {"node": name, "attempt": request.attempt}

    return agent


def store_of(dsn, schema, lease_seconds):
    if dsn.startswith("redis://"):
        from moorage.stores import RedisStore

        return RedisStore(dsn, key_prefix=schema, lease_seconds=lease_seconds)
    from moorage.stores import PostgresStore

    return PostgresStore(dsn, schema=schema, lease_seconds=lease_seconds)


async def serve(dsn, schema, lease_seconds, name, sessions):
    store = store_of(dsn, schema, float(lease_seconds))
    async with open_supervisor(store, agent_of(name)) as supervisor:
        runs = {}
        for word in sessions:
            session_id, _, seconds = word.partition("=")
            session = await supervisor.session(session_id)
            run = await session.submit(float(seconds or 3), on_interrupt="requeue", attempts_max=10)
            runs[session_id] = run.id
        print(json.dumps(runs), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    trio.run(serve, *sys.argv[1:5], sys.argv[5:])
