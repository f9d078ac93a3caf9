"""A program on asyncio: the supervisor has a thread with trio in it, the agent runs in asyncio.

python examples/from_asyncio.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from moorage.adapters.gateways import asyncio_host
from moorage.stores import MemoryStore

if TYPE_CHECKING:
    from moorage.runtime import RunRequest


@asyncio_host.asyncio_agent
async def agent(request: RunRequest, context: asyncio_host.AsyncioRunContext) -> object:
    for word in ("hello", "from", "asyncio"):
        await context.emit("message_streamed", {"delta": word + " "})
        await asyncio.sleep(0)  # whatever a library for asyncio does
    return f"{request.input}, {asyncio_host.current_session().id}"


async def main() -> None:
    async with asyncio_host.open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("user-42")
        run = await session.submit("hello", key="message-1")
        async with session.subscribe(run_id=run.id) as events:
            async for event in events:
                print("event:", event.type)
        print("output:", (await run.wait()).unwrap())


if __name__ == "__main__":
    asyncio.run(main())
