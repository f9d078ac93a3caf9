"""One request as metrics, traces and the audit log see it: what it asked for, whose it was, how it
was answered. Nothing of this is imported or counted where nobody wants it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import trio
from moorage.adapters.sinks.telemetry.request_totals import (
    KNOWN_METHODS,
    OTHER_METHOD,
    AnsweredRequest,
)
from moorage.runtime.identifiers import sortable_id

from .authorisation import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from moorage.adapters.sinks.telemetry import RequestTracing
    from moorage.adapters.sinks.telemetry.request_spans import RequestSpan
    from moorage.adapters.sinks.telemetry.request_totals import RequestTotals
    from starlette.datastructures import Headers
    from starlette.types import Message, Receive, Scope, Send

    from .gateway_state import GatewayState
    from .operations import Operation

WATCHING = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked for every few seconds by what watches a server; a span of each would be noise."""
_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


class ObservedRequest:
    """What is known of a request so far; entered while it is answered.

    ``principal`` is an address until a token has told more, ``operation`` None until a route was
    found, ``status`` None until the answer began.
    """

    def __init__(self, state: GatewayState, scope: Scope, headers: Headers) -> None:
        self.address: str = (scope.get("client") or ("nobody",))[0]
        self.principal = Principal(key=f"address {self.address}", scopes=frozenset())
        self.operation: Operation | None = None
        self.path: Mapping[str, str] = {}
        self.status: int | None = None
        self.code: str | None = None
        """That of the problem it is answered with."""
        self.recorded = False
        """Whether the audit log has it."""
        given = headers.get("x-request-id", "")
        self.id = given if _REQUEST_ID.fullmatch(given) else _new_id(state)
        self._method: str = scope["method"]
        self._scheme: str = scope.get("scheme", "http")
        self._totals = state.requests
        self._span: RequestSpan | None = None
        self._spanning = _spanning(state.tracing, self, scope, headers)
        self._begun_at = trio.current_time()
        self._answered_at: float | None = None

    def found(self, operation: Operation, path: Mapping[str, str]) -> None:
        """Its route was found."""
        self.operation, self.path = operation, path
        if self._span is not None:
            self._span.found(operation.path, path.get("session_id"))

    def receiving(self, receive: Receive) -> Receive:
        """``receive``, with what comes counted."""
        totals = self._totals
        if totals is None:
            return receive

        async def counting_receive() -> Message:
            message = await receive()
            totals.received_bytes += len(message.get("body", b""))
            return message

        return counting_receive

    def sending(self, send: Send) -> Send:
        """``send``, with what goes out noted, and the request's id on the answer."""
        totals = self._totals

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self._answered_at = trio.current_time()
                named = (b"x-request-id", self.id.encode())
                message = {**message, "headers": [*message["headers"], named]}
            elif totals is not None:
                totals.sent_bytes += len(message.get("body", b""))
            await send(message)

        return noting_send

    def __enter__(self) -> ObservedRequest:
        if self._totals is not None:
            self._totals.in_progress += 1
        if self._spanning is not None:
            self._span = self._spanning.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._spanning is not None and self._span is not None:
                self._span.answered(self.status, self.code)
                self._spanning.__exit__(kind, error, traceback)
        finally:
            if self._totals is not None:
                self._totals.in_progress -= 1
                self._totals.answered(self._told())

    def _told(self) -> AnsweredRequest:
        operation = self.operation
        until = trio.current_time() if self._answered_at is None else self._answered_at
        return AnsweredRequest(
            operation=None if operation is None else operation.id,
            method=self._method if self._method in KNOWN_METHODS else OTHER_METHOD,
            route=None if operation is None else operation.path,
            scheme=self._scheme,
            status=self.status,
            seconds=until - self._begun_at,
        )


def count_refused_connection(totals: RequestTotals | None, status: int) -> None:
    """A connection was one too many: the request on it was answered, and never read. So there is
    nothing to trace or to audit."""
    if totals is not None:
        unread = AnsweredRequest(
            operation=None,
            method=OTHER_METHOD,
            route=None,
            scheme="http",
            status=status,
            seconds=0.0,
        )
        totals.answered(unread)


def _spanning(
    tracing: RequestTracing | None, request: ObservedRequest, scope: Scope, headers: Headers
) -> AbstractContextManager[RequestSpan] | None:
    if tracing is None or scope["path"] in WATCHING:
        return None
    return tracing.request(
        method=scope["method"],
        path=scope["path"],
        scheme=scope.get("scheme", "http"),
        http_version=scope.get("http_version", "1.1"),
        headers=headers,
        address=request.address,
        request_id=request.id,
    )


def _new_id(state: GatewayState) -> str:
    return sortable_id("req", state.time_ns(), os.urandom(10))
