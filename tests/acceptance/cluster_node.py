"""A node of a cluster, as a process of its own that can be killed.

    python cluster_node.py DSN SCHEMA LEASE_SECONDS NAME SESSION[=SECONDS]...

A DSN that begins with redis:// is the URL of a Redis server, and SCHEMA the prefix of keys there.
It submits a run to each of the sessions, says their ids (of one that is named twice the last) as a
line of JSON, and serves until it is killed or its standard input ends, when it leaves in order. The
agent emits, sleeps for as long as its input says, and returns the name of its node. A run without
SECONDS goes on for ever in its first attempt, so that nobody has to be in time to find it running;
one of "leaving" seconds goes on until the node leaves, and is finished by its drain. One of "park"
or "ask" seconds waits for an approval, without its slot or with it, and then uses a tool.
"""

from __future__ import annotations

import json
import math
import sys

import trio
from moorage.adapters.agents.provider.approvals import ToolCall, request_approval
from moorage.runtime import open_supervisor

ENDLESS, LEAVING, PARK, ASK = "endless", "leaving", "park", "ask"
CALL = "call"
"""The id of the tool call that waits for an approval."""
LATER_SECONDS = 0.3
"""Of later attempts at endless runs."""
DRAINING_SECONDS = 1.0
"""For which one of "leaving" goes on, in a drain that begins meanwhile."""


def agent_of(name, leaving=None):
    """The agent of the node of that name; ``leaving`` is set when the node begins to leave."""

    async def agent(request, context):
        seconds = request.input
        if seconds in (PARK, ASK):
            return await use_tool(request, context, hold=seconds == ASK) | {"node": name}
        if seconds == ENDLESS:
            seconds = math.inf if request.attempt == 1 else LATER_SECONDS
        number = 0
        while number < seconds * 10 if seconds != LEAVING else not leaving.is_set():
            await context.emit("message_streamed", {"delta": f"{number} "})
            await trio.sleep(0.1)
            number += 1
        if seconds == LEAVING:
            await trio.sleep(DRAINING_SECONDS)
        return {"node": name, "attempt": request.attempt}

    return agent


async def use_tool(request, context, *, hold):
    decision = await request_approval(
        context,
        request,
        ToolCall(CALL, "deploy", {}),
        hold=hold,
        timeout_seconds=None,
        default="deny",
    )
    if decision.approved:
        await context.emit("tool_used", {"by": decision.by})
    return {"attempt": request.attempt, "by": decision.by}


def store_of(dsn, schema, lease_seconds):
    if dsn.startswith("redis://"):
        from moorage.stores import RedisStore

        return RedisStore(dsn, key_prefix=schema, lease_seconds=lease_seconds)
    from moorage.stores import PostgresStore

    return PostgresStore(dsn, schema=schema, lease_seconds=lease_seconds)


async def serve(dsn, schema, lease_seconds, name, sessions):
    store, leaving = store_of(dsn, schema, float(lease_seconds)), trio.Event()
    async with open_supervisor(store, agent_of(name, leaving)) as supervisor:
        runs = {}
        for word in sessions:
            session_id, _, seconds = word.partition("=")
            session = await supervisor.session(session_id)
            named = seconds in (LEAVING, PARK, ASK)
            work = seconds if named else float(seconds) if seconds else ENDLESS
            run = await session.submit(work, on_interrupt="requeue", attempts_max=10)
            runs[session_id] = run.id
        print(json.dumps(runs), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        leaving.set()


if __name__ == "__main__":
    trio.run(serve, *sys.argv[1:5], sys.argv[5:])
