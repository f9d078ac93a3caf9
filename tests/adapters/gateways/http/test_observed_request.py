from __future__ import annotations

import json

import pytest
import trio
from moorage.adapters.gateways.http import TokenFile, serve
from moorage.adapters.gateways.http.hosts import KnownHosts
from moorage.adapters.gateways.http.observed_request import count_refused_connection
from moorage.adapters.gateways.http_client import connect
from moorage.adapters.sinks.telemetry import AuditLog, RequestTracing, RunMetrics, with_tracing
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.adapters.gateways.http.asgi_client import AsgiClient
from tests.adapters.gateways.http.service import StepAgent

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Spans:
    """A provider, and every span that ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = RequestTracing(tracer_provider=self.provider)

    def traced(self, agent):
        return with_tracing(agent, tracer_provider=self.provider)

    def tree(self) -> dict[str, str | None]:
        """Name -> name of its parent, or the parent's id where that is none of ours."""
        found = self.exporter.get_finished_spans()
        names = {span.context.span_id: span.name for span in found}
        return {
            span.name: span.parent and names.get(span.parent.span_id, f"{span.parent.span_id:016x}")
            for span in found
        }

    def trace_ids(self) -> set[str]:
        return {f"{span.context.trace_id:032x}" for span in self.exporter.get_finished_spans()}

    def one(self, name: str):
        (span,) = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return span


@pytest.fixture
def spans():
    spans = Spans()
    yield spans
    spans.provider.shutdown()


async def calling(request, context):
    """An agent with a tool call."""
    call = {"tool_call_id": "1", "tool_name": "search"}
    await context.emit("tool_call_started", call)
    await context.emit("tool_call_completed", call)


async def test_a_run_over_http_is_in_the_callers_trace(autojump_clock, serving, spans):
    async with serving(agent=spans.traced(calling), tracing=spans.tracing) as service:
        await service.supervisor.session("a")
        client = service.client.with_headers(traceparent=PARENT)
        answer = await client("POST", "/v1/sessions/a/runs?wait_seconds=60", {"input": "x"})

    route = "POST /v1/sessions/{session_id}/runs"
    assert answer.status == 200
    assert spans.tree() == {
        route: "b7ad6b7169203331",
        "moorage.submit": route,
        "moorage.queue": "moorage.submit",
        "invoke_agent": "moorage.submit",
        "execute_tool search": "invoke_agent",
    }
    assert spans.trace_ids() == {TRACE_ID}
    assert spans.one(route).attributes["http.response.status_code"] == 200


async def test_a_run_of_our_client_is_in_the_trace_of_the_program(serving, spans):
    async with (
        serving(agent=spans.traced(calling), tracing=spans.tracing) as service,
        trio.open_nursery() as nursery,
    ):
        address = await nursery.start(serve, service.app, "127.0.0.1:0")
        with spans.provider.get_tracer("test").start_as_current_span("program"):
            async with connect(address) as client:
                session = await client.session("a")
                await (await session.submit("x")).wait(timeout_seconds=60)
        nursery.cancel_scope.cancel()

    tree = spans.tree()
    assert tree["POST /v1/sessions/{session_id}/runs"] == "program"
    assert tree["GET /v1/sessions/{session_id}/runs/{run_id}"] == "program"
    assert tree["invoke_agent"] == "moorage.submit"
    assert len(spans.trace_ids()) == 1


async def test_it_is_after_the_server_was_started_again_too(autojump_clock, serving, spans):
    store = MemoryStore()
    async with serving(agent=StepAgent(), tracing=spans.tracing, store=store) as service:
        await (await service.supervisor.session("a")).pause()
        await service.submit("a", "x", traceparent=PARENT, tracestate="vendor=1")
    assert set(spans.tree()) == {"POST /v1/sessions/{session_id}/runs", "moorage.submit"}

    async with open_supervisor(store, spans.traced(calling)) as supervisor:
        session = await supervisor.session("a")
        await session.resume()
        await session.wait_idle()

    assert spans.tree()["invoke_agent"] == "moorage.submit"
    assert spans.tree()["execute_tool search"] == "invoke_agent"
    assert spans.trace_ids() == {TRACE_ID}
    assert spans.one("invoke_agent").context.trace_state.get("vendor") == "1"


async def test_no_span_has_a_token_a_query_or_a_body(autojump_clock, serving, spans, tmp_path):
    file = TokenFile(tmp_path / "tokens.json")
    token = file.issue("ann").token
    async with serving(auth=file, tracing=spans.tracing) as service:
        client = service.client.with_headers(authorization=f"Bearer {token}")
        await client("POST", "/v1/sessions", {"id": "a", "metadata": {"word": "hush"}})
        await client("GET", "/v1/sessions?prefix=hush")
        await client("POST", "/v1/sessions?token=hush", {"id": "b"})
        await client("POST", "/v1/sessions/a/runs", {"input": "hush"})

    told = "".join(span.to_json() for span in spans.exporter.get_finished_spans())
    assert "POST /v1/sessions" in told
    assert token not in told
    assert "hush" not in told


async def test_refusals_have_spans_and_those_who_watch_have_none(autojump_clock, serving, spans):
    async with serving(tracing=spans.tracing, metrics=RunMetrics()) as service:
        for path in ("/healthz", "/readyz", "/metrics", "/nothing", "/v1/sessions/a"):
            await service.client("GET", path)

    nothing, unknown = spans.exporter.get_finished_spans()
    assert (nothing.name, nothing.attributes["error.type"]) == ("GET", "unknown_route")
    assert unknown.name == "GET /v1/sessions/{session_id}"
    assert unknown.attributes["error.type"] == "unknown_session"


async def test_a_stream_has_a_span_while_it_is_open(autojump_clock, serving, spans):
    metrics = RunMetrics()
    async with serving(tracing=spans.tracing, metrics=metrics) as service:
        await service.supervisor.session("a")
        async with service.client.stream("/v1/sessions/a/events"):
            assert (metrics.requests.in_progress, metrics.requests.streams) == (1, 1)
            assert spans.tree() == {}
            await trio.sleep(100)
        assert (metrics.requests.in_progress, metrics.requests.streams) == (0, 0)

    span = spans.one("GET /v1/sessions/{session_id}/events")
    assert span.attributes["http.response.status_code"] == 200
    assert metrics.requests.seconds["get_events"].sum < 1, "the time until it was open"


async def test_a_request_that_is_cut_off_counts_as_unanswered(autojump_clock, serving, spans):
    metrics = RunMetrics()
    async with serving(tracing=spans.tracing, metrics=metrics) as service:
        await service.supervisor.session("a")
        with trio.move_on_after(5):
            await service.client("GET", "/v1/sessions/a/events?after=head&wait_seconds=60")

    assert metrics.requests.requests == {("get_events", "none"): 1}
    (span,) = spans.exporter.get_finished_spans()
    assert span.attributes["error.type"] == "no_answer"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("a-B.9/x:y+z=@_", True), ("", False), ("x" * 129, False), ("a b", False), ("é", False)],
)
async def test_every_answer_has_an_id_that_the_client_may_choose(serving, sent, kept):
    async with serving() as service:
        answer = await service.client("GET", "/healthz", headers={"x-request-id": sent})

    told = answer.headers["x-request-id"]
    assert told == sent if kept else told.startswith("req_")


async def test_without_tracing_metadata_stays_as_it_is_given(serving):
    async with serving() as service:
        run = await service.submit("a", "x", traceparent=PARENT)
        session = await service.supervisor.session("a")
        (submitted,) = await session.events(types={"run_submitted"}, run_id=run["run_id"])

    assert not submitted.data.get("metadata")


async def test_a_host_that_is_refused_is_counted_traced_and_audited(serving, spans, tmp_path):
    path = tmp_path / "audit.jsonl"
    metrics = RunMetrics()
    async with (
        AuditLog(path) as audit,
        serving(tracing=spans.tracing, metrics=metrics, audit=audit) as service,
    ):
        hosts = KnownHosts(service.app, [], service.app.refuse)
        client = AsgiClient(hosts, {"host": "evil.example", "x-request-id": "mine"})
        changing = await client("POST", "/v1/sessions/a/runs", {"input": "x"})
        reading = await client("GET", "/v1/sessions")
        nowhere = [await client("GET", path) for path in ("/nothing", "/v1/sessions/%ff")]
        unsuited = await client("PUT", "/v1/sessions")
        known = [info async for info in service.supervisor.sessions()]

    for answer in (changing, reading, *nowhere, unsuited):
        assert (answer.status, answer.code) == (421, "host_refused")
        assert answer.headers["x-request-id"] == "mine"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert known == []
    assert metrics.requests.requests == {
        ("submit_run", "421"): 1,
        ("list_sessions", "421"): 1,
        ("unknown", "421"): 3,
    }
    assert [span.attributes["error.type"] for span in spans.exporter.get_finished_spans()] == [
        "host_refused"
    ] * 5
    (line,) = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert (line["action"], line["outcome"], line["code"], line["status"]) == (
        *("submit_run", "refused", "host_refused", 421),
    )
    assert (line["session_id"], line["request_id"]) == ("a", "mine")


def test_a_connection_too_many_is_a_request_that_nobody_read():
    totals = RunMetrics().requests
    count_refused_connection(totals, 503)
    count_refused_connection(None, 503)

    assert totals.requests == {("unknown", "503"): 1}
    assert totals.in_progress == 0
