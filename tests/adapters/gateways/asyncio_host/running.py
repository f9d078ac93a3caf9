"""Tests that run in asyncio's loop, and what they have in common."""

from __future__ import annotations

import asyncio
import functools
import threading
from contextlib import asynccontextmanager

from moorage.adapters.gateways import asyncio_host
from moorage.stores import MemoryStore

SECONDS_MAX = 60
"""After which a test that waits for something has failed."""


def on_asyncio(test):
    """Run an async test function in a new asyncio loop; nothing of the supervisor may be left."""

    @functools.wraps(test)
    def run(*args, **named):
        async def limited():
            async with asyncio.timeout(SECONDS_MAX):
                await test(*args, **named)

        asyncio.run(limited())
        assert [t for t in threading.enumerate() if t.name == "moorage supervisor"] == []

    return run


async def streaming(request, context):
    """A trio agent that emits three words."""
    for word in ("a", "b", "c"):
        await context.emit("message_streamed", {"delta": word})
    return {"input": request.input}


async def parking(request, context):
    """A trio agent that runs until it is answered."""
    return await context.park("go", {})


@asyncio_host.asyncio_agent
async def endless(request, context):
    """An asyncio agent that runs until it is cancelled."""
    await context.emit("message_streamed", {"delta": "begun"})
    await asyncio.Event().wait()


@asynccontextmanager
async def opened(agent=streaming, store=None, **named):
    """A supervisor and its session ``user-1``."""
    store = MemoryStore() if store is None else store
    async with asyncio_host.open_supervisor(store, agent, **named) as supervisor:
        yield supervisor, await supervisor.session("user-1")


async def event_of(session, type, *, after=0):
    """The first event of a type, as soon as it is there."""
    async with session.subscribe(after=after, types={type}) as events:
        async for event in events:
            return event
    raise AssertionError(f"it ended without {type}")
