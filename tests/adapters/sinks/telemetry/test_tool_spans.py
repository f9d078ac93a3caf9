from __future__ import annotations

import pytest
from moorage.adapters.sinks.telemetry import tool_spans
from moorage.adapters.sinks.telemetry.tool_spans import ToolSpans
from moorage.runtime import Event, RunRequest
from opentelemetry.context import Context

S = 1_000_000_000


@pytest.fixture
def made(spans):
    def make(*, content: bool = False) -> ToolSpans:
        request = RunRequest(input="x", session_id="s", run_id="r")
        return ToolSpans(spans.provider.get_tracer("t"), Context(), request, content=content)

    return make


def call(id: str = "1", **more):
    return {"tool_call_id": id, "tool_name": "grep", **more}


def test_a_call_has_the_times_of_its_events(spans, made) -> None:
    tools = made()
    tools.note("tool_call_started", call(tool_input="secret"), 5 * S)
    tools.note("tool_approval_requested", call(), 6 * S)
    tools.note("tool_call_completed", {"tool_call_id": "1", "tool_output": "secret"}, 9 * S)

    span = spans.one("execute_tool grep")
    assert (span.start_time, span.end_time) == (5 * S, 9 * S)
    assert span.attributes["gen_ai.tool.name"] == "grep"
    assert "secret" not in span.to_json()


def test_content_is_there_when_asked_for(spans, made) -> None:
    tools = made(content=True)
    tools.note("tool_call_started", call(tool_input={"p": 1}), S)
    tools.note("tool_call_completed", call(tool_output=[2]), S)

    attributes = spans.one("execute_tool").attributes
    assert attributes["gen_ai.tool.call.arguments"] == '{"p": 1}'
    assert attributes["gen_ai.tool.call.result"] == "[2]"


@pytest.mark.parametrize(
    ("error", "code"), [({"code": "denied", "message": "secret"}, "denied"), ("odd", "tool_failed")]
)
def test_a_failed_call_has_its_code(spans, made, error, code) -> None:
    tools = made()
    tools.note("tool_call_started", call(), S)
    tools.note("tool_call_failed", call(error=error), S)

    span = spans.one("execute_tool")
    assert span.attributes["error.type"] == span.status.description == code
    assert "secret" not in span.to_json()


@pytest.mark.parametrize(("seconds", "start"), [(2.5, 7.5), (None, 10), (-1, 10), ("x", 10)])
def test_a_call_whose_beginning_nobody_saw_goes_by_its_duration(
    spans, made, seconds, start
) -> None:
    made().note("tool_call_completed", call(duration_seconds=seconds), 10 * S)

    span = spans.one("execute_tool grep")
    assert (span.start_time, span.end_time) == (start * S, 10 * S)


def test_what_does_not_end_before_its_run_fails_with_it(spans, made) -> None:
    tools = made()
    tools.note("tool_call_started", call(), S)
    tools.give_up(3 * S)
    tools.give_up(4 * S)

    assert spans.one("execute_tool").status.description == "run_ended"


def test_calls_from_before_the_run_was_parked_are_remembered(spans, made) -> None:
    events = [
        ("tool_call_started", call("lost")),
        ("run_requeued", {"attempt": 1}),
        ("tool_call_started", call("over")),
        ("tool_call_completed", call("over")),
        ("tool_call_started", call("open")),
    ]
    tools = made()
    tools.recall(Event("s", n, n * S, type, "r", data) for n, (type, data) in enumerate(events))
    tools.give_up(9 * S)

    span = spans.one("execute_tool")
    assert span.attributes["gen_ai.tool.call.id"] == "open"
    assert span.start_time == 4 * S


def test_calls_that_are_open_are_bounded(spans, made, monkeypatch) -> None:
    monkeypatch.setattr(tool_spans, "CALLS_OPEN_MAX", 2)
    tools = made()
    for id in "123":
        tools.note("tool_call_started", call(id), S)
    tools.give_up(S)

    assert [span.attributes["gen_ai.tool.call.id"] for span in spans.all()] == ["2", "3"]
