"""A FastAPI service under uvicorn: submit, follow by server-sent events, cancel, drain on SIGTERM.

python examples/fastapi_service.py --data moorage-data --port 8000    # extra: fastapi, uvicorn

    curl -X POST 'localhost:8000/sessions/user-42/runs?key=message-1' -d '"ten words please"' \
        -H 'content-type: application/json'
    curl -N localhost:8000/sessions/user-42/runs/RUN/events
    curl -X DELETE localhost:8000/sessions/user-42/runs/RUN
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from moorage.adapters.gateways import asyncio_host
from moorage.adapters.gateways.asyncio_host.lifespan import moorage_lifespan, supervisor_of
from moorage.runtime import (
    MoorageError,
    RunRequest,
    SupervisorLimits,
    UnknownRun,
    UnknownSession,
)
from moorage.stores import JournalStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Supervisor = Annotated[asyncio_host.Supervisor, Depends(supervisor_of)]


@asyncio_host.asyncio_agent
async def agent(request: RunRequest, context: asyncio_host.AsyncioRunContext) -> object:
    """Says its input word by word; "slowly" makes each word take a while."""
    words = str(request.input).split()
    for word in words:
        await context.emit("message_streamed", {"delta": word + " "})
        await asyncio.sleep(0.2 if "slowly" in words else 0)
    return {"content": request.input}


def service(data: str) -> FastAPI:
    """The application; its store is in the directory ``data``."""
    limits = SupervisorLimits(drain_seconds=20)
    app = FastAPI(lifespan=moorage_lifespan(JournalStore(data), agent, limits=limits))

    @app.exception_handler(MoorageError)
    async def refused(_: Request, error: MoorageError) -> JSONResponse:
        unknown = isinstance(error, (UnknownRun, UnknownSession))
        status = 404 if unknown else 503 if error.retryable else 400
        return JSONResponse({"code": error.code, "message": error.message}, status)

    @app.post("/sessions/{session_id}/runs", status_code=201)
    async def submit(
        session_id: str, supervisor: Supervisor, input: Annotated[Any, Body()], key: str
    ) -> dict[str, str]:
        session = await supervisor.session(session_id)
        run = await session.submit(input, key=key)
        return {"run_id": run.id}

    @app.get("/sessions/{session_id}/runs/{run_id}")
    async def wait(
        session_id: str, run_id: str, supervisor: Supervisor, wait_seconds: float = 0
    ) -> dict[str, Any]:
        try:
            outcome = await supervisor.handle(session_id).wait(run_id, timeout_seconds=wait_seconds)
        except TimeoutError:
            raise HTTPException(202, "it has not ended") from None
        return {"state": outcome.state, "output": outcome.output}

    @app.get("/sessions/{session_id}/runs/{run_id}/events")
    async def follow(
        session_id: str, run_id: str, supervisor: Supervisor, after: int = 0
    ) -> StreamingResponse:
        session = supervisor.handle(session_id)
        await session.run(run_id).status()  # an unknown one is told before the stream begins

        async def stream() -> AsyncIterator[str]:
            async with session.subscribe(after=after, run_id=run_id) as events:
                async for batch in events.batches():
                    yield "".join(
                        f"id: {event.seq}\nevent: {event.type}\ndata: {json.dumps(event.data)}\n\n"
                        for event in batch
                    )

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.delete("/sessions/{session_id}/runs/{run_id}")
    async def cancel(session_id: str, run_id: str, supervisor: Supervisor) -> dict[str, bool]:
        reason = "asked for over HTTP"
        return {"cancelled": await supervisor.handle(session_id).cancel(run_id, reason=reason)}

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="moorage-data")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    # On SIGTERM uvicorn waits for open streams first, and only then leaves the lifespan, which
    # drains: without a limit here a follower of an endless run would hold that up for ever.
    uvicorn.run(
        service(options.data), port=options.port, timeout_graceful_shutdown=5, log_level="warning"
    )


if __name__ == "__main__":
    main()
