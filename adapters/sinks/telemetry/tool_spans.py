"""One span for each tool call of a run, by the events that tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from .span_attributes import content, tool_attributes, tool_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moorage.runtime.events import Event
    from moorage.runtime.runs import RunRequest
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

CALLS_OPEN_MAX = 1_024
"""Calls of one run whose end is awaited; of the oldest beyond that there will be no span."""

DURATION_SECONDS_MAX = 86_400 * 366
"""Of a call whose beginning nobody saw; what is longer is not believed."""

STARTED = "tool_call_started"
ENDED = frozenset({"tool_call_completed", "tool_call_failed"})


class ToolSpans:
    """The tool calls of one run. They are children of its span, which ``within`` has as current.

    A span is made when its call ends, with the time of its beginning. So a call that began before
    its run was parked has one, the whole of it, and one that died with its process has none.
    """

    def __init__(
        self, tracer: Tracer, within: Context, request: RunRequest, *, content: bool
    ) -> None:
        self._tracer = tracer
        self._within = within
        self._request = request
        self._content = content
        self._open: dict[str, tuple[int, dict[str, Any]]] = {}

    def recall(self, events: Iterable[Event]) -> None:
        """What began before this execution of the run and may still end."""
        for event in events:
            if event.type == "run_requeued":
                self._open.clear()
            elif isinstance(event.data, dict) and event.type == STARTED:
                self._begin(event.data, event.time_ns)
            elif isinstance(event.data, dict) and event.type in ENDED:
                self._open.pop(_id_of(event.data), None)

    def note(self, type: str, data: Mapping[str, Any], time_ns: int) -> None:
        """An event was emitted; others than those of tool calls say nothing here."""
        if type == STARTED:
            self._begin(data, time_ns)
        elif type in ENDED:
            self._end(data, time_ns)

    def give_up(self, time_ns: int) -> None:
        """The run has ended: what did not end before never will."""
        for _, started in list(self._open.values()):
            self._end(started | {"error": {"code": "run_ended"}}, time_ns)

    def _begin(self, data: Mapping[str, Any], time_ns: int) -> None:
        self._open[_id_of(data)] = (
            time_ns,
            dict(data) if self._content else _without_content(data),
        )
        if len(self._open) > CALLS_OPEN_MAX:
            del self._open[next(iter(self._open))]

    def _end(self, data: Mapping[str, Any], time_ns: int) -> None:
        unseen = (time_ns - _duration_ns(data), dict(data))
        started_at_ns, started = self._open.pop(_id_of(data), unseen)
        span = self._tracer.start_span(
            f"execute_tool {tool_name(started)}",
            context=self._within,
            kind=SpanKind.INTERNAL,
            start_time=started_at_ns,
            attributes=tool_attributes(self._request, started),
        )
        if self._content and "tool_input" in started:
            span.set_attribute("gen_ai.tool.call.arguments", content(started["tool_input"]))
        if self._content and "tool_output" in data:
            span.set_attribute("gen_ai.tool.call.result", content(data["tool_output"]))
        _set_error(span, data.get("error"))
        span.end(time_ns)


def _duration_ns(data: Mapping[str, Any]) -> int:
    seconds = data.get("duration_seconds")
    if isinstance(seconds, (int, float)) and 0 <= seconds < DURATION_SECONDS_MAX:
        return int(seconds * 1e9)
    return 0


def _set_error(span: Span, error: object) -> None:
    if error is not None:
        code = error.get("code") if isinstance(error, dict) else None
        code = code if isinstance(code, str) else "tool_failed"
        span.set_attribute("error.type", code)
        span.set_status(Status(StatusCode.ERROR, code))


def _id_of(data: Mapping[str, Any]) -> str:
    return str(data.get("tool_call_id"))


def _without_content(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data.get(name) for name in ("tool_call_id", "tool_name")}
