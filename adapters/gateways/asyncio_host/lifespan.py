"""A supervisor as long as a Starlette or FastAPI application lives (extra ``starlette``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from moorage.runtime import InvalidArgument
from starlette.requests import HTTPConnection  # noqa: TC002  (FastAPI reads annotations)

from .opening import Supervisor, open_supervisor

if TYPE_CHECKING:
    from moorage.runtime import SupervisorLimits
    from moorage.runtime.agents import Agents
    from moorage.runtime.ports import Store

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""What Starlette and FastAPI take as ``lifespan``."""

STATE_NAME = "moorage"
"""Under which the supervisor is in the state of the application, and in that of each request."""


def moorage_lifespan(
    store: Store | Callable[[], Store],
    agent: Agents,
    *,
    limits: SupervisorLimits | None = None,
    lifespan: Lifespan | None = None,
) -> Lifespan:
    """``FastAPI(lifespan=moorage_lifespan(store, agent))``: the supervisor is opened before the
    first request and drained behind the last one.

    ``supervisor_of(request)`` has it, ``request.state.moorage`` and ``app.state.moorage`` as well.
    ``store`` may be a function that makes one, for servers that load the application and then
    fork. ``lifespan`` is the application's own: it is entered inside of the supervisor, and its
    state is kept.
    """

    @asynccontextmanager
    async def live(app: Any) -> AsyncIterator[dict[str, Any]]:
        made = store() if callable(store) else store
        async with open_supervisor(made, agent, limits=limits) as supervisor:
            app.state.moorage = supervisor
            if lifespan is None:
                yield {STATE_NAME: supervisor}
            else:
                async with lifespan(app) as state:
                    yield {**(state or {}), STATE_NAME: supervisor}

    return live


def supervisor_of(connection: HTTPConnection) -> Supervisor:
    """The supervisor that serves a request or a websocket; also ``Depends(supervisor_of)``.

    Raises InvalidArgument in an application without ``moorage_lifespan``.
    """
    found = getattr(connection.state, STATE_NAME, None)
    if not isinstance(found, Supervisor):
        # mounted applications get no lifespan of their own
        found = getattr(getattr(connection.scope.get("app"), "state", None), STATE_NAME, None)
    if not isinstance(found, Supervisor):
        raise InvalidArgument(
            "this application has no supervisor: give it lifespan=moorage_lifespan(store, agent)"
        )
    return found
