"""A supervisor with an application over it, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from moorage.adapters.gateways.http import HttpLimits, create_app
from moorage.runtime import RunContext, RunRequest, SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.gateways.http.asgi_client import AsgiClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class StepAgent:
    """Waits for ``go`` where the input is "wait", fails for "fail", asks for "ask"; else echoes."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.started = 0

    async def __call__(self, request: RunRequest, context: RunContext) -> object:
        self.started += 1
        if request.input == "wait":
            await context.emit("message_streamed", {"delta": "I wait"})
            await self.go.wait()
        if request.input == "fail":
            raise ValueError("told to fail")
        if request.input == "ask":
            return {"answered": await context.ask("question", {"text": "why?"})}
        if isinstance(request.input, dict) and "deltas" in request.input:
            for index in range(request.input["deltas"]):
                await context.emit("message_streamed", {"delta": f"word {index}"})
        return {"content": request.input}


class Service:
    """A supervisor, the application over it, and a client."""

    def __init__(self, supervisor: Any, agent: Any, app: Any) -> None:
        self.supervisor = supervisor
        self.agent = agent
        self.app = app
        self.client = AsgiClient(app)

    async def submit(self, session_id: str, input: Any, **headers: str) -> dict[str, Any]:
        """Submit a run to a session, which is opened if need be; returns the run."""
        await self.supervisor.session(session_id)
        client = self.client.with_headers(**headers)
        answer = await client("POST", f"/v1/sessions/{session_id}/runs", {"input": input})
        assert answer.status in (200, 202), answer.content
        run: dict[str, Any] = answer.json()
        return run


@asynccontextmanager
async def serving(
    *,
    agent: Any = None,
    auth: Any = None,
    limits: HttpLimits | None = None,
    cors: Any = None,
    store: Any = None,
    supervisor_limits: Any = None,
    metrics: Any = None,
    audit: Any = None,
    tracing: Any = None,
) -> AsyncIterator[Service]:
    agent = agent or StepAgent()
    store = store or MemoryStore()
    if metrics is not None:
        store = metrics.metered(store)
    supervisor_limits = supervisor_limits or SupervisorLimits(drain_seconds=0)
    async with open_supervisor(store, agent, limits=supervisor_limits) as supervisor:
        app = create_app(
            supervisor,
            auth=auth,
            limits=limits,
            cors=cors,
            metrics=metrics,
            audit=audit,
            tracing=tracing,
        )
        yield Service(supervisor, agent, app)
