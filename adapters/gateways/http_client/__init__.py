"""Sessions of a server, from another program, under trio or asyncio, with the runtime's names.

``connect`` to what ``moorage serve`` serves::

    async with connect("http://127.0.0.1:8040", token=...) as client:
        session = await client.session("user-42")
        run = await session.submit({"messages": [...]})
        outcome = await run.wait()
        async with session.subscribe(after=0) as events:
            async for event in events: ...

Needs the extra ``client``. Methods, parameters, results and errors are those of the runtime;
NOT_OVER_HTTP says what is missing, and why.
"""

from .client import Client, connect
from .errors import InvalidRequest, RequestRefused, ServerUnreachable, WaitTimedOut
from .handles import Session
from .limits import ClientLimits
from .not_over_http import NOT_OVER_HTTP
from .run_handle import Run
from .subscription import Subscription

__all__ = [
    "connect",
    "Client",
    "ClientLimits",
    "Session",
    "Run",
    "Subscription",
    "ServerUnreachable",
    "RequestRefused",
    "InvalidRequest",
    "WaitTimedOut",
    "NOT_OVER_HTTP",
]
