"""A server of sessions on which mostly nothing happens, for more streams than one client may have.

    python idle_streams_service.py DIRECTORY HEARTBEAT_SECONDS

The address is written to standard output when it listens.
"""

from __future__ import annotations

import sys
from functools import partial

import structlog
import trio
from moorage.adapters.gateways.http import HttpLimits, serve
from moorage.runtime import RunContext, RunRequest, SupervisorLimits, open_supervisor
from moorage.stores import JournalStore


async def agent(request: RunRequest, context: RunContext) -> object:
    return {"heard": request.input}


async def main(directory: str, heartbeat_seconds: float) -> None:
    limits = HttpLimits(
        heartbeat_seconds=heartbeat_seconds,
        streams_per_client_max=10_000,
        # opening so many takes a busy machine a while, and nobody is to be cut meanwhile
        idle_connection_seconds=300,
    )
    async with (
        open_supervisor(
            JournalStore(directory), agent, limits=SupervisorLimits(drain_seconds=0)
        ) as supervisor,
        trio.open_nursery() as nursery,
    ):
        serving = partial(serve, supervisor, "127.0.0.1:0", limits=limits)
        print(await nursery.start(serving), flush=True)


# standard output has the address alone
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
trio.run(main, sys.argv[1], float(sys.argv[2]))
