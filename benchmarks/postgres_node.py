"""One node of benchmark ``postgres``, a process of its own: sessions, and their clients.

It says ``{"ready": ...}`` when its sessions are open, does a round for every line of standard input
(``{"what": "runs", "each": 20}``: so many runs of each session, one at a time), answers with when
the round began and ended on the monotonic clock of the machine and what it cost, and ends when its
input does.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import structlog
import trio
from moorage.runtime import RunContext, RunRequest, Session, open_supervisor
from moorage.stores import PostgresStore

from benchmarks.measuring import together
from benchmarks.stream import take_batches

if TYPE_CHECKING:
    from moorage.runtime import Supervisor

DELTAS = {"runs": 3, "stream": 200}
"""Streamed by each run of a round."""


async def agent(request: RunRequest, context: RunContext) -> object:
    for index in range(request.input["deltas"]):
        await context.emit("message_streamed", {"delta": "some words ", "index": index})
    return {"content": "word 0 word 1 word 2 "}


async def client(session: Session, each: int, deltas: int) -> None:
    """Submit to outcome, one at a time."""
    for _ in range(each):
        run = await session.submit({"prompt": "go on", "deltas": deltas})
        (await run.wait()).unwrap()


async def round_of(sessions: list[Session], what: str, each: int) -> None:
    deltas = DELTAS[what]

    async def serve(session: Session) -> None:
        if what == "runs":
            await client(session, each, deltas)
            return
        head_seq = (await session.info()).head_seq
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_batches, session, head_seq, each * (deltas + 3))
            nursery.start_soon(client, session, each, deltas)

    await together(serve, sessions)


def store_counts(supervisor: Supervisor) -> dict[str, int]:
    statistics: Any = supervisor.statistics().store
    return {name: getattr(statistics, name) for name in ("commits", "records", "notifications")}


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


async def serve_rounds(dsn: str, schema: str, name: str, run_count: int, stream_count: int) -> None:
    store = PostgresStore(dsn, schema=schema)
    async with open_supervisor(store, agent) as supervisor:
        sessions = {
            "runs": [await supervisor.session(f"{name}-run-{n}") for n in range(run_count)],
            "stream": [await supervisor.session(f"{name}-stream-{n}") for n in range(stream_count)],
        }
        say(ready=name)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            asked = json.loads(line)
            before = store_counts(supervisor)
            begin, cpu_begin = time.monotonic(), time.process_time()
            await round_of(sessions[asked["what"]], **asked)
            end, cpu_end = time.monotonic(), time.process_time()
            after = store_counts(supervisor)
            counts = {key: after[key] - before[key] for key in after}
            say(begin=begin, end=end, cpu_seconds=cpu_end - cpu_begin, **counts)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    dsn, schema, name, runs, streams = sys.argv[1:]
    trio.run(serve_rounds, dsn, schema, name, int(runs), int(streams))
