"""One request that was let through: what its handler is given, and how it answers."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio
from moorage.runtime.identifiers import sortable_id
from starlette.responses import Response

from .authorisation import check_new_session
from .encoding import encode
from .operations import JSON
from .request_audit import Subject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from moorage.runtime import Run, Session, Supervisor
    from starlette.datastructures import Headers
    from starlette.types import Receive

    from .authorisation import Principal
    from .gateway_state import Ending, GatewayState
    from .operations import Operation

Result = TypeVar("Result")


class Pulse(Protocol):
    """Something to be done now and then while one waits, by the task that looks whether the client
    is there: it costs no task, and what is waited for need not be interrupted."""

    def due(self) -> float:
        """The time of trio's clock at which it beats next."""
        ...

    async def beat(self) -> None: ...


class Call:
    """A request whose path, query, headers and body have been checked.

    ``path``, ``query`` and ``body`` hold what is given; what is not given is not there. A handler
    that learns which session, run or webhook it is about tells ``subject``, for the audit log.
    """

    def __init__(
        self,
        state: GatewayState,
        operation: Operation,
        principal: Principal,
        headers: Headers,
        receive: Receive,
        path: Mapping[str, str],
        query: Mapping[str, Any],
    ) -> None:
        self.state = state
        self.operation = operation
        self.principal = principal
        self.headers = headers
        self.receive = receive
        self.path = path
        self.query = query
        self.body: Mapping[str, Any] = {}
        self.subject = Subject(path)
        self.content = b""
        """The body as it came, whatever it is."""
        self.scheme = "http"
        self.client_gone = False

    @property
    def supervisor(self) -> Supervisor:
        return self.state.supervisor

    @property
    def session_id(self) -> str:
        return self.path["session_id"]

    @property
    def session(self) -> Session:
        """A handle of the session in the path, which may not exist."""
        return self.supervisor.handle(self.session_id)

    def new_session_id(self, wanted: str | None) -> str:
        """The id of a session to be made: what is wanted, if the client may have it, or a new
        one that it may. Raises OutsideTenant and InvalidArgument."""
        if wanted is None:
            made = sortable_id("ses", self.state.time_ns(), os.urandom(10))
            wanted = self.principal.prefix + made
        session_id = check_new_session(self.principal, wanted)
        self.subject.note_new_session(session_id)
        return session_id

    async def submit(self, input: Any, **options: Any) -> Run:
        """``Session.submit``, in the trace that the request is in."""
        tracing = self.state.tracing
        if tracing is None:
            run = await self.session.submit(input, **options)
        else:
            run = await tracing.submit(self.session, input, **options)
        self.subject.run_id = run.id
        return run

    async def while_wanted(
        self,
        wait: Callable[[], Awaitable[Result]],
        *,
        ending: Ending | None = None,
        pulse: Pulse | None = None,
    ) -> Result | None:
        """What ``wait`` returns; None if the client goes away first, or the server ends. With
        ``ending`` that is told of the latter instead. ``pulse`` beats meanwhile, when it is due.

        Raises what ``wait`` raises, and TooManyStreams.
        """
        failed: Exception | None = None
        result: Result | None = None
        async with trio.open_nursery() as nursery:
            try:
                with self.state.waiting(self.principal, ending or nursery.cancel_scope):
                    nursery.start_soon(self._until_gone, nursery.cancel_scope, pulse)
                    result = await wait()
            except Exception as error:
                failed = error
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
        return result

    async def _until_gone(self, scope: trio.CancelScope, pulse: Pulse | None) -> None:
        while True:
            due = math.inf if pulse is None else pulse.due()
            with trio.move_on_at(due):
                if (await self.receive())["type"] == "http.disconnect":
                    break
                continue
            if pulse is not None and pulse.due() <= trio.current_time():
                await pulse.beat()
        self.client_gone = True
        scope.cancel()


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON value as an answer."""
    return Response(encode(value), status, headers=headers, media_type=JSON)
