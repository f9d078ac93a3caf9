from __future__ import annotations

import pytest
from moorage.adapters.sinks.telemetry import with_tracing
from moorage.runtime import BufferFull, InvalidArgument, SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore


async def executed(spans, agent, **options):
    traced = with_tracing(agent, tracer_provider=spans.provider)
    async with open_supervisor(MemoryStore(), traced, **options) as supervisor:
        session = await supervisor.session("a")
        run = await session.submit("x", metadata={"who": "me"})
        outcome = await run.wait()
        return outcome, await session.events(run_id=run.id)


async def test_the_agent_sees_its_run_and_all_it_does_is_recorded(autojump_clock, spans) -> None:
    async def agent(request, context):
        assert (context.session_id, context.run_id) == (request.session_id, request.run_id)
        assert (context.attempt, context.metadata["who"]) == (1, "me")
        assert context.session.id == "a"
        assert context.limits == SupervisorLimits()
        context.accept_steers()
        assert context.take_steers() == []
        await context.emit("note", [1], time_ns=77)
        context.emit_nowait("tool_call_started", {"tool_call_id": "1", "tool_name": "t"})
        context.emit_nowait("tool_call_completed", {"tool_call_id": "1", "tool_name": "t"})
        await context.flush()
        return await context.ask("q", timeout_seconds=1, default="given up")

    outcome, events = await executed(spans, agent)

    assert outcome.output == "given up", outcome.error
    assert [event.data for event in events if event.type == "note"] == [[1]]
    assert [event.time_ns for event in events if event.type == "note"] == [77]
    assert len(spans.all("execute_tool")) == 1


async def test_usage_adds_up_and_odd_data_harms_nobody(autojump_clock, spans) -> None:
    async def agent(request, context):
        for data in ({"output_tokens": 2}, None, {"output_tokens": 3}):
            await context.emit("token_usage_updated", data)
        await context.emit("message_received", {"model": 5}, metadata={"provider": None})
        await context.emit("turn_completed", {"stop_reason": None})
        await context.emit("tool_call_started", "odd")

    outcome, _ = await executed(spans, agent)

    attributes = spans.one("invoke_agent").attributes
    assert outcome.error is None
    assert attributes["gen_ai.usage.output_tokens"] == 5
    assert not {"gen_ai.response.model", "gen_ai.response.finish_reasons"} & attributes.keys()


async def test_what_was_not_emitted_is_on_no_span(autojump_clock, spans) -> None:
    async def agent(request, context):
        call = {"tool_call_id": "1", "tool_name": "t", "tool_input": "x" * 2_000}
        context.emit_nowait("tool_call_started", call)
        with pytest.raises(BufferFull):
            context.emit_nowait("tool_call_completed", call)

    outcome, _ = await executed(spans, agent, limits=SupervisorLimits(emit_ahead_bytes_max=1_024))

    assert outcome.error is None
    assert spans.one("execute_tool").status.description == "run_ended"


async def test_a_refused_park_is_no_parking(autojump_clock, spans) -> None:
    async def agent(request, context):
        with pytest.raises(InvalidArgument):
            await context.park("x", object())
        return "on"

    outcome, _ = await executed(spans, agent)

    assert outcome.output == "on"
    assert spans.one("invoke_agent").attributes["moorage.run.outcome"] == "completed"
