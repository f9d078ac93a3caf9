"""Spans of runs that ended in the queue: no agent was called, so no agent's wrapper sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import structlog
import trio
from moorage.runtime.errors import MoorageError
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from .trace_context import parent_in
from .tracing import SCOPE

if TYPE_CHECKING:
    from moorage.runtime.events import Event
    from moorage.runtime.runs import RunOutcome
    from opentelemetry.trace import TracerProvider

    from .metered_store import RunMetrics

logger = structlog.get_logger("moorage")

RUNS_WAITING_MAX = 1_000
"""For their spans to be made. Of those beyond there are none; that is logged, once in a row."""


class Events(Protocol):
    """A Session, as far as it is read here."""

    async def events(self, *, types: set[str], run_id: str, limit: int) -> list[Event]: ...


class Handles(Protocol):
    """A Supervisor, as far as it is asked here."""

    def handle(self, session_id: str) -> Events: ...


class UnstartedRuns:
    """Makes ``moorage.queue`` spans of the runs that ``metrics`` sees end without a start, such as
    those cancelled or timed out in the queue; ``observe`` has to run beside the supervisor."""

    def __init__(
        self, metrics: RunMetrics, *, tracer_provider: TracerProvider | None = None
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._send, self._receive = trio.open_memory_channel[Any](RUNS_WAITING_MAX)
        self._full = False
        metrics.recorders.append(self)

    def run_ended(self, outcome: RunOutcome) -> None:
        """A run has ended."""
        if outcome.started_at_ns is not None:
            return
        try:
            self._send.send_nowait(outcome)
            self._full = False
        except trio.WouldBlock:
            if not self._full:
                logger.warning("spans_dropped", limit=RUNS_WAITING_MAX)
            self._full = True

    def appended(self, seconds: float) -> None:
        """Nothing of this is told."""

    async def observe(self, supervisor: Handles) -> None:
        """Make spans of what ends, until cancelled."""
        async for outcome in self._receive:
            try:
                submitted = await supervisor.handle(outcome.session_id).events(
                    types={"run_submitted"}, run_id=outcome.run_id, limit=1
                )
            except MoorageError:  # it is gone; its trace is not known then
                submitted = []
            metadata = submitted[0].data.get("metadata") if submitted else None
            self._tell(outcome, metadata)

    def _tell(self, outcome: RunOutcome, metadata: dict[str, Any] | None) -> None:
        code = "unknown" if outcome.error is None else outcome.error.code
        span = self._tracer.start_span(
            "moorage.queue",
            context=parent_in(metadata),
            kind=SpanKind.INTERNAL,
            start_time=outcome.submitted_at_ns,
            attributes={
                "gen_ai.conversation.id": outcome.session_id,
                "moorage.run.id": outcome.run_id,
                "moorage.run.outcome": outcome.state.value,
                "error.type": code,
            },
        )
        span.set_status(Status(StatusCode.ERROR, code))
        span.end(outcome.ended_at_ns)
