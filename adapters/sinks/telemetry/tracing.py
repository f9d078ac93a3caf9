"""OpenTelemetry spans: one for submitting a run, one for its time in the queue, one for each
execution, and one for each tool call in it.

``submit_traced`` makes the first and ``with_tracing`` all others, so none is there twice. That of
submitting is the parent of queue and run, and what the agent does while its run's span is current
is below that. An attempt that dies with its process takes its span along, and the next has one of
its own.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio
from moorage.runtime.current import run_in_context
from moorage.runtime.errors import MoorageError
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from .span_attributes import content as content_of
from .span_attributes import error_code, run_attributes, run_facts, usage_attributes
from .tool_spans import ENDED, STARTED, ToolSpans
from .trace_context import parent_in, parent_of_submit, trace_metadata
from .traced_context import TracedContext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime.agents import Agent, RunContext
    from moorage.runtime.events import Data, Event
    from moorage.runtime.runs import RunRequest
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer, TracerProvider

SCOPE = "moorage"
CAUSE_SECONDS_MAX = 2.0
"""How long a cancelled agent's end waits for the log to say why it was cancelled."""
RECALLED_EVENTS_MAX = 100
"""Of a run that is executed again: so far back its last start and open tool calls are sought."""

R = TypeVar("R", covariant=True)


class Submitted(Protocol):
    """What ``Session.submit`` returns."""

    @property
    def id(self) -> str: ...


S = TypeVar("S", bound=Submitted)


class Submitting(Protocol[R]):
    """A Session, or what stands before one."""

    @property
    def id(self) -> str: ...

    @property
    def submit(self) -> Callable[..., Awaitable[R]]: ...


async def submit_traced(
    session: Submitting[S],
    input: Data,
    *,
    metadata: dict[str, Any] | None = None,
    tracer_provider: TracerProvider | None = None,
    **options: Any,
) -> S:
    """``session.submit`` in a span, which is the parent of the run's wherever it is executed.

    Takes the options of ``submit`` and raises what it raises. Without a current span, one that
    ``metadata`` names is the parent. With a ``key`` that is known the run stays in the trace of
    whoever submitted it first.
    """
    tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
    with tracer.start_as_current_span(
        "moorage.submit",
        context=parent_of_submit(metadata),
        kind=SpanKind.PRODUCER,
        attributes={"gen_ai.conversation.id": session.id},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            run = await session.submit(input, metadata=trace_metadata(metadata), **options)
        except BaseException as error:
            code = "cancelled" if isinstance(error, trio.Cancelled) else _refusal_code(error)
            _set_error(span, code)
            raise
        span.set_attribute("moorage.run.id", run.id)
        return run


def with_tracing(
    agent: Agent,
    *,
    tracer_provider: TracerProvider | None = None,
    content: bool = False,
    time_ns: Callable[[], int] = time.time_ns,
) -> Agent:
    """``agent``, with spans: of the queue, of each execution of a run, and of its tool calls.

    The parent is what the run's metadata names (see ``trace_metadata``). A run's span is current
    for the agent, so that spans of its own are below it. ``content`` puts inputs and outputs of
    runs and tools on the spans, each cut at CONTENT_CHARS_MAX, and messages of errors; without it
    nothing that people, models or tools wrote gets there. ``time_ns`` is the supervisor's.
    """
    tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)

    async def run(request: RunRequest, context: RunContext) -> object:
        traced = _TracedRun(tracer, request, context, content=content, time_ns=time_ns)
        return await traced.execute(agent)

    return run


class _TracedRun:
    """One execution of one run."""

    def __init__(
        self,
        tracer: Tracer,
        request: RunRequest,
        context: RunContext,
        *,
        content: bool,
        time_ns: Callable[[], int],
    ) -> None:
        self._tracer = tracer
        self._request = request
        self._context = context
        self._content = content
        self._time_ns = time_ns

    async def execute(self, agent: Agent) -> object:
        """Call the agent in a span."""
        request = self._request
        parent = parent_in(self._context.metadata)
        started_at_ns = self._time_ns()
        past = await self._past()
        self._tell_queue(parent, past, started_at_ns)
        name = request.agent
        span = self._tracer.start_span(
            "invoke_agent" if name is None else f"invoke_agent {name}",
            context=parent,
            kind=SpanKind.INTERNAL,
            start_time=started_at_ns,
            attributes=run_attributes(request),
        )
        within = trace.set_span_in_context(span)
        tools = ToolSpans(self._tracer, within, request, content=self._content)
        tools.recall(past)
        context = TracedContext(self._context, tools, self._time_ns)
        if self._content:
            span.set_attribute("moorage.run.input", content_of(request.input))
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                run_in_context.set(context)
                output = await agent(request, context)
        except BaseException as error:
            outcome = await self._end_of(error, context)
            _set_outcome(span, *outcome)
            if self._content and outcome[0] == "failed":
                span.set_attribute("exception.message", content_of(_message_of(error)))
            raise
        else:
            outcome = await self._end_of(None, context)
            _set_outcome(span, *outcome)
            if self._content:
                span.set_attribute("moorage.run.output", content_of(output))
            return output
        finally:
            self._close(span, context, tools)

    def _close(self, span: Span, context: TracedContext, tools: ToolSpans) -> None:
        ended_at_ns = self._time_ns()
        if not context.parked:
            tools.give_up(ended_at_ns)
        span.set_attributes(context.told | usage_attributes(context.usage))
        span.end(ended_at_ns)

    def _tell_queue(self, parent: Context, past: list[Event], started_at_ns: int) -> None:
        """From acceptance, or from when it was requeued or answered, to here."""
        times = [event.time_ns for event in past if event.type in _BACK]
        queued_at_ns = times[-1] if times else self._request.submitted_at_ns
        self._tracer.start_span(
            "moorage.queue",
            context=parent,
            kind=SpanKind.INTERNAL,
            start_time=min(queued_at_ns, started_at_ns),
            attributes=run_facts(self._request),
        ).end(started_at_ns)

    async def _past(self) -> list[Event]:
        """What the log has of earlier executions of the run, the latest part."""
        if self._request.attempt == 1 and not self._request.answers:
            return []
        return await self._read({*_BACK, STARTED, *ENDED})

    async def _read(self, types: set[str]) -> list[Event]:
        try:
            return await self._context.session.events(
                before=2**62,
                limit=RECALLED_EVENTS_MAX,
                types=types,
                run_id=self._request.run_id,
            )
        except MoorageError:  # a trace with less in it; the run has worse to tell
            return []

    async def _end_of(
        self, error: BaseException | None, context: TracedContext
    ) -> tuple[str, str | None]:
        """The outcome, and the code of its error. A cancelled task does not know why it was
        cancelled; the log does, for the request is durable before the task is."""
        if trio.current_effective_deadline() == -math.inf:
            with trio.move_on_after(CAUSE_SECONDS_MAX, shield=True):
                requests = await self._read({"run_cancel_requested"})
                if requests:
                    data = requests[-1].data
                    context.parked = False
                    return str(data["cause"]).removeprefix("run_"), str(data["error"]["code"])
            if context.parked:
                return "waiting", None
            if error is not None and _is_cancellation(error):
                return "interrupted", "interrupted"
        context.parked = False
        return ("completed", None) if error is None else ("failed", error_code(error))


_BACK = frozenset({"run_requeued", "run_resumed"})


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def _set_outcome(span: Span, outcome: str, code: str | None) -> None:
    span.set_attribute("moorage.run.outcome", outcome)
    if code is not None:
        _set_error(span, code)


def _set_error(span: Span, code: str) -> None:
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, code))


def _refusal_code(error: BaseException) -> str:
    return error.code if isinstance(error, MoorageError) else type(error).__qualname__


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(the exception's message cannot be made)"
