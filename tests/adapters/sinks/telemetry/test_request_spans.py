from __future__ import annotations

import pytest
from moorage.adapters.sinks.telemetry import RequestTracing
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def made(spans, *, status=200, code=None, route=None, **more):
    facts = {
        "method": "POST",
        "path": "/v1/sessions/s",
        "scheme": "https",
        "http_version": "1.1",
        "headers": {},
        "address": "192.0.2.1",
        "request_id": "req_1",
    }
    with RequestTracing(tracer_provider=spans.provider).request(**(facts | more)) as span:
        assert trace.get_current_span().get_span_context().is_valid
        if route is not None:
            span.found(route, "s")
        span.answered(status, code)
    (ended,) = spans.all()
    return ended


def test_a_request_has_a_span_as_the_conventions_want_it(spans) -> None:
    span = made(
        spans,
        route="/v1/sessions/{session_id}",
        headers={"traceparent": PARENT, "user-agent": "curl/8", "authorization": "Bearer secret"},
    )

    assert (span.name, span.kind) == ("POST /v1/sessions/{session_id}", SpanKind.SERVER)
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/sessions/{session_id}",
        "http.response.status_code": 200,
        "url.scheme": "https",
        "url.path": "/v1/sessions/s",
        "network.protocol.version": "1.1",
        "client.address": "192.0.2.1",
        "user_agent.original": "curl/8",
        "gen_ai.conversation.id": "s",
        "moorage.request.id": "req_1",
    }
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("sent", [{}, {"traceparent": "nonsense"}])
def test_without_a_parent_a_trace_begins(spans, sent) -> None:
    span = made(spans, headers=sent, address=None)

    assert span.parent is None
    assert "client.address" not in span.attributes


@pytest.mark.parametrize(
    ("status", "code", "told", "error"),
    [
        (404, "unknown_run", "unknown_run", StatusCode.UNSET),
        (503, "store_failed", "store_failed", StatusCode.ERROR),
        (503, None, "503", StatusCode.ERROR),
        (None, None, "no_answer", StatusCode.ERROR),
    ],
)
def test_only_what_the_server_does_wrong_is_an_error(spans, status, code, told, error) -> None:
    span = made(spans, status=status, code=code)

    assert span.attributes["error.type"] == told
    assert span.status.status_code is error
    assert span.attributes.get("http.response.status_code") == status


def test_methods_nobody_knows_make_no_names(spans) -> None:
    span = made(spans, method="BREW" * 100, path="/x" * 300, status=405, code="method_not_allowed")

    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert len(span.attributes["http.request.method_original"]) == 256
    assert len(span.attributes["url.path"]) == 256


async def test_what_is_submitted_meanwhile_is_below_the_request(spans) -> None:
    class Session:
        id = "s"

        async def submit(self, input, *, metadata, key):
            self.metadata = metadata

            class Run:
                id = "run_1"

            return Run()

    session, tracing = Session(), RequestTracing(tracer_provider=spans.provider)
    with tracing.request(
        method="POST",
        path="/",
        scheme="http",
        http_version="1.1",
        headers={"traceparent": PARENT, "tracestate": "vendor=1"},
        address=None,
        request_id="q",
    ):
        await tracing.submit(session, "x", key="k", metadata={"a": 1})

    submit, request = spans.one("moorage.submit"), spans.one("POST")
    assert submit.parent.span_id == request.context.span_id
    assert session.metadata["traceparent"].split("-")[1] == TRACE_ID
    assert session.metadata["tracestate"] == "vendor=1"
    assert session.metadata["a"] == 1
