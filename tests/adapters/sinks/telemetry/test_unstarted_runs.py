from __future__ import annotations

import pytest
import trio
from moorage.adapters.sinks.telemetry import (
    RunMetrics,
    UnstartedRuns,
    submit_traced,
    unstarted_runs,
    with_tracing,
)
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

SECOND_NS = 1_000_000_000


def time_ns() -> int:
    return 1_700_000_000 * SECOND_NS + round(trio.current_time() * SECOND_NS)


async def agent(request, context):
    await trio.sleep(60)


@pytest.fixture
async def supervisor(spans):
    """The spans of the runs that end in its queue are made while it is open."""
    metrics = RunMetrics()
    unstarted = UnstartedRuns(metrics, tracer_provider=spans.provider)
    traced = with_tracing(agent, tracer_provider=spans.provider, time_ns=time_ns)
    store = metrics.metered(MemoryStore())
    async with (
        open_supervisor(store, traced, time_ns=time_ns) as supervisor,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(unstarted.observe, supervisor)
        yield supervisor
        nursery.cancel_scope.cancel()


async def test_a_run_that_ends_in_the_queue_has_its_span_there(
    autojump_clock, spans, supervisor
) -> None:
    session = await supervisor.session("a")
    first = await session.submit("x")
    run = await submit_traced(session, "x", queue_seconds_max=7, tracer_provider=spans.provider)
    outcome = await run.wait()
    await trio.sleep(1)
    await first.wait()

    span, submit = spans.all("moorage.queue")[1], spans.one("moorage.submit")
    assert span.parent.span_id == submit.context.span_id
    assert span.attributes["moorage.run.id"] == run.id
    assert span.attributes["moorage.run.outcome"] == "timed_out"
    assert span.attributes["error.type"] == span.status.description == outcome.error.code
    assert span.status.status_code is StatusCode.ERROR
    assert span.end_time - span.start_time == 7 * SECOND_NS
    assert len(spans.all("moorage.queue")) == 2  # that of the first was made when it started
    assert len(spans.all("invoke_agent")) == 1


async def test_a_session_that_is_gone_leaves_a_span_without_a_parent(autojump_clock, spans) -> None:
    metrics = RunMetrics()
    unstarted = UnstartedRuns(metrics, tracer_provider=spans.provider)
    async with open_supervisor(metrics.metered(MemoryStore()), agent) as supervisor:
        session = await supervisor.session("a")
        for _ in range(2):
            run = await submit_traced(session, "x", tracer_provider=spans.provider)
        await run.cancel()
        await supervisor.delete_session("a")
        with trio.move_on_after(1):
            await unstarted.observe(supervisor)

    span = spans.one("moorage.queue")
    assert span.parent is None
    assert span.attributes["moorage.run.id"] == run.id
    assert span.attributes["moorage.run.outcome"] == "cancelled"


async def test_runs_that_wait_for_their_span_are_bounded(
    autojump_clock, spans, monkeypatch
) -> None:
    monkeypatch.setattr(unstarted_runs, "RUNS_WAITING_MAX", 2)
    metrics = RunMetrics()
    unstarted = UnstartedRuns(metrics, tracer_provider=spans.provider)
    with capture_logs() as logs:
        async with open_supervisor(metrics.metered(MemoryStore()), agent) as supervisor:
            session = await supervisor.session("a")
            runs = [await session.submit("x") for _ in range(6)]
            for run in runs[1:]:
                await run.cancel()
            with trio.move_on_after(1):
                await unstarted.observe(supervisor)

    assert [log["event"] for log in logs] == ["spans_dropped"]
    assert len(spans.all("moorage.queue")) == 2
    assert metrics.totals.runs["cancelled"] == 5
