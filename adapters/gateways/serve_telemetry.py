"""What ``moorage serve`` tells of what it does: metrics, traces, an audit log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.adapters.sinks import telemetry
from moorage.runtime import open_supervisor

from .frame import CommandFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from moorage.runtime import Supervisor
    from moorage.runtime.agents import Agents
    from moorage.runtime.ports import Store

EXPORT_SECONDS_MAX = 5.0
"""How long the end waits for what is left to be exported."""


@attrs.frozen(kw_only=True)
class ServeTelemetry:
    """``metrics`` are shown at ``/metrics``, ``otel`` sends traces and metrics away, with
    ``otel_content`` also what people, models and tools wrote; ``audit`` is the audit log's file."""

    metrics: bool = False
    otel: bool = False
    otel_content: bool = False
    audit: Path | None = None

    def check(self) -> None:
        """Raise CommandFailed for what is not installed: before anything is opened."""
        try:
            if self.metrics:
                _ = telemetry.prometheus_text
            if self.otel:
                _ = telemetry.providers_from_environment
        except ImportError as error:
            raise CommandFailed(str(error)) from error


@asynccontextmanager
async def open_observed(
    told: ServeTelemetry, store: Store, agent: Agents, **options: Any
) -> AsyncIterator[tuple[Supervisor, dict[str, Any]]]:
    """``open_supervisor``, observed; and the keywords by which ``http.serve`` is, too.

    Raises CommandFailed, and AuditFailed if the file of the audit log cannot be written.
    """
    told.check()
    keywords: dict[str, Any] = {}
    observers: list[Callable[[Supervisor], Any]] = []
    async with AsyncExitStack() as stack:
        if told.audit is not None:
            keywords["audit"] = await stack.enter_async_context(telemetry.AuditLog(told.audit))
        if told.metrics or told.otel:
            metrics = keywords["metrics"] = telemetry.RunMetrics()
            store = metrics.metered(store)
        if told.otel:
            await stack.enter_async_context(_exporting())
            keywords["tracing"] = telemetry.RequestTracing()
            agent = _traced(agent, content=told.otel_content)
            observers.append(telemetry.OtelMetrics(metrics).observe)
            observers.append(telemetry.UnstartedRuns(metrics).observe)
        supervisor = await stack.enter_async_context(open_supervisor(store, agent, **options))
        async with trio.open_nursery() as nursery:
            for observe in observers:
                nursery.start_soon(partial(observe, supervisor))
            yield supervisor, keywords
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _exporting() -> AsyncIterator[None]:
    """Providers for this process, if it has none yet; at the end what is left is exported."""
    providers = telemetry.providers_from_environment(os.environ)
    providers.use()
    try:
        yield
    finally:
        with trio.move_on_after(EXPORT_SECONDS_MAX, shield=True):
            await trio.to_thread.run_sync(providers.shutdown, abandon_on_cancel=True)


def _traced(agent: Agents, *, content: bool) -> Agents:
    if isinstance(agent, Mapping):
        return {name: telemetry.with_tracing(one, content=content) for name, one in agent.items()}
    return telemetry.with_tracing(agent, content=content)
