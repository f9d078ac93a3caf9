"""OpenTelemetry spans of a gateway's requests. Needs the extra ``otel``.

A request's span is below the one that its ``traceparent`` names, and current while it is answered:
a run that is submitted by it is in the caller's trace, wherever and whenever it is executed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from .request_totals import KNOWN_METHODS, OTHER_METHOD
from .trace_context import parent_in
from .tracing import SCOPE, submit_traced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.trace import TracerProvider

    from .tracing import S, Submitting

TEXT_CHARS_MAX = 256
"""Of what a client says about itself, and of a path."""


class RequestTracing:
    """Makes a span of each request, and of each submitting by one.

    Attributes are those of OpenTelemetry's conventions for HTTP servers. There is nothing of a
    query, a body or a header but ``User-Agent``.
    """

    def __init__(self, *, tracer_provider: TracerProvider | None = None) -> None:
        self._provider = tracer_provider
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)

    @contextlib.contextmanager
    def request(
        self,
        *,
        method: str,
        path: str,
        scheme: str,
        http_version: str,
        headers: Mapping[str, str],
        address: str | None,
        request_id: str,
    ) -> Iterator[RequestSpan]:
        """Around the answering of one request; names in ``headers`` are in lower case."""
        known = method if method in KNOWN_METHODS else OTHER_METHOD
        attributes: dict[str, Any] = {
            "http.request.method": known,
            "url.scheme": scheme,
            "url.path": path[:TEXT_CHARS_MAX],
            "network.protocol.version": http_version,
            "moorage.request.id": request_id,
        }
        if "user-agent" in headers:
            attributes["user_agent.original"] = headers["user-agent"][:TEXT_CHARS_MAX]
        if address is not None:
            attributes["client.address"] = address
        if known is OTHER_METHOD:
            attributes["http.request.method_original"] = method[:TEXT_CHARS_MAX]
        with self._tracer.start_as_current_span(
            "HTTP" if known is OTHER_METHOD else known,
            context=parent_in(headers),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield RequestSpan(span, known)

    async def submit(self, session: Submitting[S], input: Any, **options: Any) -> S:
        """``submit_traced``, with the provider of these spans."""
        return await submit_traced(session, input, tracer_provider=self._provider, **options)


class RequestSpan:
    """The span of one request, which is told what comes to be known of it."""

    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = "HTTP" if method is OTHER_METHOD else method

    def found(self, route: str, session_id: str | None) -> None:
        """The request is for this route, written as a template, and about this session."""
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attribute("http.route", route)
        if session_id is not None:
            self._span.set_attribute("gen_ai.conversation.id", session_id[:TEXT_CHARS_MAX])

    def answered(self, status: int | None, code: str | None) -> None:
        """It was answered so; ``code`` is that of the problem that it was answered with."""
        if status is None:
            self._span.set_attribute("error.type", "no_answer")
            self._span.set_status(Status(StatusCode.ERROR, "no answer"))
            return
        self._span.set_attribute("http.response.status_code", status)
        if code is not None:
            self._span.set_attribute("error.type", code)
        if status >= 500:  # what a client has done wrong is no error of a server
            if code is None:
                self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR, code))
