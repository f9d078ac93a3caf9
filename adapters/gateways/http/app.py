"""The ASGI application: every request goes through here, and every error becomes a document."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from moorage.runtime.errors import MoorageError
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from .authorisation import Principal, check_scope, check_session
from .call import Call
from .console_pages import console_answer, is_console_path
from .durable_streams.headers import STREAM_ANSWER_HEADERS, STREAM_REQUEST_HEADERS
from .gateway_state import GatewayState
from .limits import HttpLimits
from .observed_request import ObservedRequest
from .openapi import openapi_document
from .operations import RouteTable
from .problems import (
    HeadersTooLarge,
    MalformedRequest,
    OriginRefused,
    RequestRefused,
    Unauthenticated,
    problem_of,
    unexpected_problem,
)
from .request_audit import is_change
from .request_body import RequestBody
from .routes import OPERATIONS
from .validation import check_body, read_json, read_parameters

if TYPE_CHECKING:
    from collections.abc import Collection

    from moorage.adapters.gateways.webhooks import WebhookDispatcher
    from moorage.adapters.sinks.telemetry import AuditLog, RequestTracing, RunMetrics
    from moorage.runtime import DrainReport, Supervisor
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .authorisation import Authenticator
    from .operations import Operation

logger = structlog.get_logger("moorage")

GUARDS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
CONTENT_POLICY = (b"content-security-policy", b"sandbox; default-src 'none'")
"""Of all but the console's files, which bring their own: what others have written, and somebody
opens in a browser, runs nothing there, and not as a page of this server."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CORS_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CORS_HEADERS = (
    "authorization",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "prefer",
    "traceparent",
    "tracestate",
    "x-request-id",
    *STREAM_REQUEST_HEADERS,
)
EXPOSED_HEADERS = (
    "etag",
    "location",
    "preference-applied",
    "retry-after",
    "www-authenticate",
    "x-request-id",
    *STREAM_ANSWER_HEADERS,
)


def create_app(
    supervisor: Supervisor,
    *,
    auth: Authenticator | None = None,
    limits: HttpLimits | None = None,
    cors: Collection[str] | None = None,
    metrics: RunMetrics | None = None,
    audit: AuditLog | None = None,
    tracing: RequestTracing | None = None,
    console: bool = True,
    webhooks: WebhookDispatcher | None = None,
) -> HttpGateway:
    """An ASGI application of a supervisor, for a server that runs under trio.

    ``auth`` says who sent a request, such as a TokenFile; without it anybody may do anything, and
    the server must be reachable from this machine alone, as ``serve`` sees to. ``cors`` are the
    origins whose pages may use it from a browser, like ``https://console.example``; none are by
    default.

    ``metrics`` is what metered the supervisor's store: it counts requests as well then, and
    ``GET /metrics`` shows it all. Every request that changes something is recorded in ``audit``,
    which is open, and refused if it cannot be. With ``tracing`` each request has a span, and is in
    the trace that it names. ``console`` says whether the web page at ``/console/`` is there.
    ``webhooks`` adds the routes to register them; ``serve`` runs it, or you do.
    """
    limits = limits or HttpLimits()
    state = GatewayState(
        supervisor,
        auth,
        limits,
        openapi_document(OPERATIONS),
        metrics=metrics,
        audit=audit,
        tracing=tracing,
    )
    state.webhooks = webhooks
    return HttpGateway(state, frozenset(cors or ()), console=console)


class HttpGateway:
    """From ``create_app``. An ASGI application that can be drained."""

    def __init__(
        self, state: GatewayState, origins: frozenset[str], *, console: bool = True
    ) -> None:
        self.state = state
        self.has_console = console
        self._routes = RouteTable(OPERATIONS)
        self._origins = origins
        self._app: ASGIApp = self._answer
        if origins:
            self._app = CORSMiddleware(
                self._answer,
                allow_origins=sorted(origins),
                allow_methods=CORS_METHODS,
                allow_headers=CORS_HEADERS,
                expose_headers=EXPOSED_HEADERS,
            )

    @property
    def limits(self) -> HttpLimits:
        return self.state.limits

    @property
    def has_auth(self) -> bool:
        """Whether requests have to say who sends them."""
        return self.state.auth is not None

    async def drain(self, *, timeout_seconds: float | None = None) -> DrainReport:
        """Take no new work, let what runs end until the deadline, then end all streams and waits.

        Without a timeout that of the supervisor's limits counts. ``/readyz`` says so at once.
        """
        self.state.draining = True
        try:
            return await self.state.supervisor.drain(timeout_seconds=timeout_seconds)
        finally:
            self.state.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def refuse(
        self, error: RequestRefused, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request that was refused before it came here: it is counted, traced and audited
        like one that is refused here."""
        headers = Headers(scope=scope)
        with ObservedRequest(self.state, scope, headers) as request:
            with suppress(RequestRefused):  # what it asked for need not be there
                request.found(*self._routes.find(scope["method"], _raw_path(scope)))
            body = RequestBody(request.receiving(receive), headers, self.limits)
            send = request.sending(_guarding(send))
            await self._refuse(error, scope, body, send, request)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        with ObservedRequest(self.state, scope, headers) as request:
            send = request.sending(_guarding(send))
            await self._respond(scope, headers, request.receiving(receive), send, request)

    async def _respond(
        self,
        scope: Scope,
        headers: Headers,
        receive: Receive,
        send: Send,
        request: ObservedRequest,
    ) -> None:
        """Answer one request, whatever happens."""
        body = RequestBody(receive, headers, self.limits)
        try:
            answer = await self._perform(scope, headers, body, request)
            await answer(scope, receive, send)
        except Exception as error:
            if request.status is not None:
                raise  # the server cuts the connection: nothing else would be true
            await self._refuse(error, scope, body, send, request)

    async def _refuse(
        self,
        error: Exception,
        scope: Scope,
        body: RequestBody,
        send: Send,
        request: ObservedRequest,
    ) -> None:
        operation = request.operation
        if self.state.audit is not None and operation is not None and is_change(operation):
            await self.state.audit.refused(operation, request, error)
        problem = self._problem(error, request)
        if body.ended.is_set():
            await problem(scope, body.receive, send)
        else:
            await body.answer_early(problem, send)

    def _problem(self, error: Exception, request: ObservedRequest) -> Response:
        if isinstance(error, MoorageError):
            request.code = error.code
            return problem_of(
                error,
                retry_after_seconds=self.limits.retry_after_seconds,
                disclose=request.principal.operates,
            ).response()
        request.code = type(error).__qualname__
        logger.exception("http_request_failed", request_id=request.id)
        return unexpected_problem().response()

    async def _perform(
        self, scope: Scope, headers: Headers, body: RequestBody, request: ObservedRequest
    ) -> ASGIApp:
        self._check_size(scope, headers)
        if self.has_console and is_console_path(_raw_path(scope)):
            self.state.rates.take(request.principal.key)
            return console_answer(scope["method"], _raw_path(scope), headers)
        operation, path = self._routes.find(scope["method"], _raw_path(scope))
        request.found(operation, path)
        self._check_origin(scope, headers)
        principal = await self._principal(operation, request.address, headers)
        request.principal = principal
        self.state.rates.take(principal.key)
        _authorise(operation, principal, path)
        if scope["method"] == "HEAD":
            headers = Headers(raw=[pair for pair in headers.raw if pair[0] != b"accept"])
        query = read_parameters(operation, scope.get("query_string", b""), headers)
        call = Call(self.state, operation, principal, headers, body.receive, path, query)
        call.scheme = scope.get("scheme", "http")
        call.content = await body.read(any_type=operation.raw)
        if not operation.raw:
            call.body = _body(operation, call.content)
        if operation.admits:
            self.state.check_admission()
        if self.state.audit is not None and is_change(operation):
            return await self.state.audit.perform(call, request)
        return await operation.handler(call)

    def _check_size(self, scope: Scope, headers: Headers) -> None:
        size = len(scope.get("query_string", b"")) + len(_raw_path(scope))
        size += sum(len(name) + len(value) + 4 for name, value in headers.raw)
        if size > self.limits.header_bytes_max:
            raise HeadersTooLarge(
                f"the request's line and headers are {size} bytes and the limit is "
                f"{self.limits.header_bytes_max} (header_bytes_max)"
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or scope["method"] in SAFE_METHODS or origin in self._origins:
            return
        if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise OriginRefused(
                f"a page of {origin[:200]!r} must not change anything here: allow it with cors="
            )

    async def _principal(self, operation: Operation, address: str, headers: Headers) -> Principal:
        if self.state.auth is None:
            return Principal(key=f"address {address}")
        if operation.scope is None:
            return Principal(key=f"address {address}", scopes=frozenset())
        try:
            return await self.state.auth.authenticate(headers)
        except Unauthenticated:
            self.state.rates.take(f"address {address}")
            raise


def _authorise(operation: Operation, principal: Principal, path: dict[str, str]) -> None:
    """The one seam: whether the principal may do this, to this session."""
    if operation.scope is not None:
        check_scope(principal, operation.scope)
    if "session_id" in path:
        check_session(principal, path["session_id"])


def _body(operation: Operation, content: bytes) -> dict[str, Any]:
    """The body as the operation wants it. Raises MalformedRequest and InvalidRequest."""
    if operation.body is None:
        if content.strip() not in (b"", b"{}"):
            raise MalformedRequest(f"{operation.method} {operation.path} takes no body")
        return {}
    if not content and not operation.body_required:
        return {}
    return check_body(operation, read_json(content))


def _guarding(send: Send) -> Send:
    """``send``, with the headers that keep a browser from taking what goes out for a page or a
    script: others have written it."""

    async def guarding_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            told = list(message["headers"])
            if not any(name.lower() == CONTENT_POLICY[0] for name, _ in told):
                told.append(CONTENT_POLICY)
            message = {**message, "headers": [*told, *GUARDS]}
        await send(message)

    return guarding_send


def _raw_path(scope: Scope) -> bytes:
    raw: bytes | None = scope.get("raw_path")
    return scope["path"].encode() if raw is None else raw.partition(b"?")[0]


async def _live(receive: Receive, send: Send) -> None:
    """The supervisor is opened and left by whoever made the application."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
