from __future__ import annotations

import asyncio
import json

import pytest
import trio
from moorage.adapters.gateways import asyncio_host
from moorage.adapters.sinks.telemetry import submit_traced, with_tracing
from moorage.runtime import MoorageError, SessionClosed, current_run, open_supervisor
from moorage.stores import MemoryStore
from opentelemetry import trace
from opentelemetry.trace import StatusCode

SECOND_NS = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND_NS


def time_ns() -> int:
    return BEGIN_NS + round(trio.current_time() * SECOND_NS)


def opened(agent, spans, store=None, **options):
    traced = with_tracing(agent, tracer_provider=spans.provider, time_ns=time_ns, **options)
    return open_supervisor(store or MemoryStore(), traced, time_ns=time_ns)


def seconds(span) -> float:
    return (span.end_time - span.start_time) / SECOND_NS


async def working(request, context):
    await trio.sleep(3)
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 90, "cost_usd": 0.5}
    await context.emit("token_usage_updated", usage, metadata={"provider": "acme"})
    await context.emit("message_received", {"content": "hi", "model": "m-2"})
    await context.emit("turn_completed", {"stop_reason": "end_turn"})
    return "secret output"


async def test_submit_queue_and_run_are_one_trace(autojump_clock, spans) -> None:
    async with opened(working, spans) as supervisor:
        session = await supervisor.session("a")
        tracer = spans.provider.get_tracer("mine")
        with tracer.start_as_current_span("request") as request:
            first = await submit_traced(session, {"model": "m"}, tracer_provider=spans.provider)
            second = await submit_traced(session, "x", tracer_provider=spans.provider)
        await first.wait()
        await second.wait()

    submits, queues, runs = (
        spans.all(name) for name in ("moorage.submit", "moorage.queue", "invoke_agent")
    )
    assert len(submits) == len(queues) == len(runs) == 2
    trace_id = request.get_span_context().trace_id
    assert {span.context.trace_id for span in [*submits, *queues, *runs]} == {trace_id}
    for submit, queue, run in zip(submits, queues, runs, strict=True):
        assert submit.parent.span_id == request.get_span_context().span_id
        assert queue.parent.span_id == run.parent.span_id == submit.context.span_id
        assert queue.end_time == run.start_time
    assert [seconds(queue) for queue in queues] == [0, 3]
    assert [seconds(run) for run in runs] == [3, 3]


async def test_a_run_says_how_it_went_and_nothing_that_was_written(autojump_clock, spans) -> None:
    async with opened(working, spans) as supervisor:
        session = await supervisor.session("a")
        run = await session.submit({"model": "m", "messages": ["secret input"]})
        await run.wait()

    span = spans.one("invoke_agent")
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.conversation.id": "a",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-2",
        "gen_ai.provider.name": "acme",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 90,
        "moorage.usage.cost_usd": 0.5,
        "moorage.run.id": run.id,
        "moorage.run.attempt": 1,
        "moorage.run.outcome": "completed",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert "secret" not in "".join(span.to_json() for span in spans.all())


async def test_content_is_there_when_asked_for(autojump_clock, spans) -> None:
    async with opened(working, spans, content=True) as supervisor:
        session = await supervisor.session("a")
        await session.execute({"text": "secret input"})

    attributes = spans.one("invoke_agent").attributes
    assert json.loads(attributes["moorage.run.input"]) == {"text": "secret input"}
    assert json.loads(attributes["moorage.run.output"]) == "secret output"


async def test_the_agents_own_spans_are_below_the_runs(autojump_clock, spans) -> None:
    seen = []

    async def agent(request, context):
        assert current_run() is context
        async with trio.open_nursery() as nursery:
            nursery.start_soon(own)

    async def own() -> None:
        with spans.provider.get_tracer("mine").start_as_current_span("own"):
            seen.append(current_run().run_id)

    async with opened(agent, spans) as supervisor:
        session = await supervisor.session("a")
        outcome = await session.execute("x")

    assert spans.one("own").parent.span_id == spans.one("invoke_agent").context.span_id
    assert seen == [outcome.run_id]
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_trace_goes_on_after_a_restart(autojump_clock, spans) -> None:
    store = MemoryStore()
    attempts = []

    async def agent(request, context):
        attempts.append(request.attempt)
        if request.attempt == 1:
            await context.emit(
                "tool_call_started", {"tool_call_id": "1", "tool_name": "t", "tool_input": {}}
            )
            await trio.sleep_forever()
        return "done"

    with pytest.raises(ZeroDivisionError):
        async with opened(agent, spans, store) as supervisor:
            session = await supervisor.session("a")
            run = await submit_traced(
                session, "x", on_interrupt="requeue", tracer_provider=spans.provider
            )
            await trio.sleep(5)
            raise ZeroDivisionError
    await trio.sleep(7)
    async with opened(agent, spans, store) as supervisor:
        session = await supervisor.session("a")
        assert (await session.wait(run.id)).output == "done"

    submit = spans.one("moorage.submit")
    first, second = spans.all("invoke_agent")
    queued, again = spans.all("moorage.queue")
    assert attempts == [1, 2]
    assert {span.context.trace_id for span in spans.all()} == {submit.context.trace_id}
    assert first.parent.span_id == second.parent.span_id == submit.context.span_id
    assert first.attributes["moorage.run.outcome"] == "interrupted"
    assert first.status.description == "interrupted"
    assert second.attributes["moorage.run.attempt"] == 2
    assert second.attributes["moorage.run.outcome"] == "completed"
    assert second.start_time - first.start_time == 12 * SECOND_NS
    assert (seconds(queued), seconds(again)) == (0, 7)
    assert spans.one("execute_tool").attributes["error.type"] == "run_ended"


async def failing(request, context):
    error = MoorageError("secret reason")
    error.code = "no_luck"
    raise error


async def sleeping(request, context):
    await trio.sleep_forever()


async def stubborn(request, context):
    try:
        await trio.sleep_forever()
    finally:
        return "all is well"  # noqa: B012


@pytest.mark.parametrize(
    ("agent", "outcome", "code"),
    [
        (failing, "failed", "no_luck"),
        (sleeping, "timed_out", "run_timeout"),
        (stubborn, "timed_out", "run_timeout"),
    ],
)
async def test_an_error_sets_the_status_to_its_code(
    autojump_clock, spans, agent, outcome, code
) -> None:
    async with opened(agent, spans) as supervisor:
        session = await supervisor.session("a")
        ended = await session.execute("x", timeout_seconds=5)

    span = spans.one("invoke_agent")
    assert ended.state == outcome == span.attributes["moorage.run.outcome"]
    assert ended.error.code == code
    assert ended.error.code == span.attributes["error.type"] == span.status.description
    assert span.status.status_code is StatusCode.ERROR
    assert not span.events
    assert "secret" not in span.to_json()


async def test_a_cancelled_run_is_told_as_cancelled(autojump_clock, spans) -> None:
    async with opened(sleeping, spans) as supervisor:
        session = await supervisor.session("a")
        run = await session.submit("x")
        await trio.sleep(1)
        await run.cancel(reason="secret")
        outcome = await run.wait()

    span = spans.one("invoke_agent")
    assert outcome.error.code == span.attributes["error.type"]
    assert span.attributes["moorage.run.outcome"] == "cancelled"
    assert "secret" not in span.to_json()


async def test_a_parked_run_has_a_span_before_and_after_and_its_tool_one(
    autojump_clock, spans
) -> None:
    async def agent(request, context):
        if not request.answers:
            await context.emit(
                "tool_call_started",
                {"tool_call_id": "1", "tool_name": "rm", "tool_input": "secret"},
            )
        assert await context.park("may") == "yes"
        await trio.sleep(2)
        await context.emit(
            "tool_call_completed", {"tool_call_id": "1", "tool_name": "rm", "tool_output": "secret"}
        )

    async with opened(agent, spans) as supervisor:
        session = await supervisor.session("a")
        run = await session.submit("x")
        await trio.sleep(10)
        await session.answer(run.id, "may", "yes")
        await run.wait()

    before, after = spans.all("invoke_agent")
    tool = spans.one("execute_tool rm")
    assert before.attributes["moorage.run.outcome"] == "waiting"
    assert before.status.status_code is StatusCode.UNSET
    assert after.attributes["moorage.run.outcome"] == "completed"
    assert tool.parent.span_id == after.context.span_id
    assert seconds(tool) == 12
    assert "secret" not in tool.to_json()
    assert [seconds(queue) for queue in spans.all("moorage.queue")] == [0, 0]


async def test_a_refused_submit_says_why(autojump_clock, spans) -> None:
    async with opened(working, spans) as supervisor:
        session = await supervisor.session("a")
        await session.close()
        with pytest.raises(SessionClosed):
            await submit_traced(session, "x", tracer_provider=spans.provider)

    span = spans.one("moorage.submit")
    assert span.status.description == SessionClosed.code
    assert not spans.all("moorage.queue")


async def test_metadata_of_ones_own_and_of_another_trace_stays(autojump_clock, spans) -> None:
    far = f"00-{'1' * 32}-{'2' * 16}-01"
    async with opened(working, spans) as supervisor:
        session = await supervisor.session("a")
        run = await submit_traced(
            session,
            "x",
            metadata={"traceparent": far, "who": "me"},
            tracer_provider=spans.provider,
        )
        await run.wait()
        (submitted,) = await session.events(types={"run_submitted"})

    submit = spans.one("moorage.submit")
    assert format(submit.context.trace_id, "032x") == "1" * 32
    assert format(submit.parent.span_id, "016x") == "2" * 16
    assert submitted.data["metadata"]["who"] == "me"
    assert spans.one("invoke_agent").parent.span_id == submit.context.span_id


def test_agents_and_submitters_in_asyncio_are_in_the_trace(spans) -> None:
    tracer = spans.provider.get_tracer("mine")

    @asyncio_host.asyncio_agent
    async def agent(request, context):
        with tracer.start_as_current_span("own"):
            call = {"tool_call_id": "1", "tool_name": "t"}
            await context.emit("tool_call_started", call)
            await context.emit("tool_call_completed", call)

    async def main() -> None:
        traced = with_tracing(agent, tracer_provider=spans.provider)
        async with asyncio_host.open_supervisor(MemoryStore(), traced) as supervisor:
            session = await supervisor.session("a")
            with tracer.start_as_current_span("request"):
                run = await submit_traced(session, "x", tracer_provider=spans.provider)
            await run.wait()

    asyncio.run(main())

    run = spans.one("invoke_agent")
    assert spans.one("moorage.submit").parent.span_id == spans.one("request").context.span_id
    assert run.parent.span_id == spans.one("moorage.submit").context.span_id
    assert spans.one("own").parent.span_id == run.context.span_id
    assert spans.one("execute_tool").parent.span_id == run.context.span_id


async def test_a_run_that_another_node_executes_is_in_the_trace(autojump_clock, spans) -> None:
    async def not_here(request, context):
        pytest.fail("executed by the submitter's node")

    store = MemoryStore(lease_seconds=30)
    async with (
        opened(working, spans, store) as owner,
        open_supervisor(store.peer(), not_here, time_ns=time_ns) as other,
    ):
        await owner.session("a")
        session = await other.session("a")
        run = await submit_traced(session, "x", tracer_provider=spans.provider)
        assert (await run.wait()).state == "completed"

    assert spans.one("invoke_agent").parent.span_id == spans.one("moorage.submit").context.span_id
