"""Sessions whose agents talk without an end, served over HTTP until the process is killed, or
drains at SIGTERM.

    python following_service.py DIRECTORY HOST:PORT ORIGIN

The address is written to standard output when it listens. Pages of ORIGIN may follow, by any name
below ``localhost``.
"""

from __future__ import annotations

import itertools
import signal
import sys
from functools import partial
from typing import cast

import structlog
import trio
from moorage.adapters.gateways.http import HttpLimits, serve
from moorage.runtime import RunContext, RunRequest, SupervisorLimits, open_supervisor
from moorage.stores import JournalStore

LIMITS = HttpLimits(reconnect_seconds=1.0)


async def agent(request: RunRequest, context: RunContext) -> object:
    plan = cast("dict[str, float]", request.input)
    pause_seconds = plan["pause_seconds"]
    for number in itertools.count(1):
        words = f"word {number} of attempt {request.attempt} of {context.session_id}"
        await context.emit("message_streamed", {"delta": words})
        await trio.sleep(pause_seconds)
        pause_seconds *= plan["growth"]


async def asked_to_end() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            return


async def main(directory: str, bind: str, origin: str) -> None:
    limits = SupervisorLimits(drain_seconds=0)
    async with (
        open_supervisor(JournalStore(directory), agent, limits=limits) as supervisor,
        trio.open_nursery() as nursery,
    ):
        serving = partial(
            serve,
            supervisor,
            bind,
            limits=LIMITS,
            cors=[origin],
            allowed_hosts=["*.localhost"],
            shutdown=asked_to_end,
        )
        print(await nursery.start(serving), flush=True)


# standard output has the address alone
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
trio.run(main, *sys.argv[1:])
