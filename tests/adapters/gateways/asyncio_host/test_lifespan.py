from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from moorage.adapters.gateways.asyncio_host import Supervisor, open_reader
from moorage.adapters.gateways.asyncio_host.lifespan import moorage_lifespan, supervisor_of
from moorage.runtime import AdmissionClosed, InvalidArgument, RunState
from moorage.stores import MemoryStore
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from tests.adapters.gateways.asyncio_host.running import (
    endless,
    event_of,
    on_asyncio,
    streaming,
)


@asynccontextmanager
async def client_of(app):
    """The application with its lifespan, as a server has it, and a client of it."""
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def submit(request):
    session = await supervisor_of(request).session("user-1")
    outcome = await session.execute("hello")
    return JSONResponse(outcome.unwrap())


@on_asyncio
async def test_starlette_requests_find_the_supervisor_also_in_what_is_mounted():
    inner = Starlette(routes=[Route("/submit", submit)])
    app = Starlette(
        routes=[Route("/submit", submit), Mount("/inner", inner)],
        lifespan=moorage_lifespan(MemoryStore(), streaming),
    )
    async with client_of(app) as client:
        for path in ("/submit", "/inner/submit"):
            assert (await client.get(path)).json() == {"input": "hello"}
        supervisor = app.state.moorage

    with pytest.raises(AdmissionClosed):
        await supervisor.session("user-1")


@on_asyncio
async def test_fastapi_depends_on_the_supervisor_beside_an_own_lifespan():
    steps = []

    @asynccontextmanager
    async def own(app):
        steps.append(await app.state.moorage.session("at-start"))
        yield {"own": "state"}
        steps.append(await app.state.moorage.statistics())

    app = FastAPI(lifespan=moorage_lifespan(MemoryStore, streaming, lifespan=own))

    @app.get("/sessions")
    async def sessions(supervisor: Annotated[Supervisor, Depends(supervisor_of)]) -> list[str]:
        return [info.id async for info in supervisor.sessions()]

    for _ in range(2):  # a store is made each time
        async with client_of(app) as client:
            assert (await client.get("/sessions")).json() == ["at-start"]

    assert len(steps) == 4


@on_asyncio
async def test_without_the_lifespan_it_says_what_is_missing():
    app = Starlette(routes=[Route("/submit", submit)])

    with pytest.raises(InvalidArgument, match="moorage_lifespan"):
        async with client_of(app) as client:
            await client.get("/submit")


@pytest.mark.parametrize("fails", ["at start", "at end"])
@on_asyncio
async def test_a_host_that_fails_in_its_own_lifespan_takes_the_supervisor_down(fails):
    store = MemoryStore()

    @asynccontextmanager
    async def own(app):
        session = await app.state.moorage.session("user-1")
        app.state.run = await session.submit("hello")
        await event_of(session, "message_streamed")
        if fails == "at start":
            raise LookupError("of the host")
        yield
        raise LookupError("of the host")

    app = Starlette(lifespan=moorage_lifespan(store, endless, lifespan=own))

    with pytest.raises(LookupError, match="of the host"):
        async with client_of(app):
            pass

    with pytest.raises(AdmissionClosed):
        await app.state.moorage.session("user-1")
    async with open_reader(store) as reader:
        outcome = await reader.session("user-1").wait(app.state.run.id)
    assert outcome.state is RunState.INTERRUPTED
