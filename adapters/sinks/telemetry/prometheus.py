"""Metrics as Prometheus reads them. Needs the extra ``prometheus``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .statistics_numbers import is_counter, store_numbers, supervisor_gauges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .metered_store import RunMetrics
    from .owned_runs import OwnedRuns
    from .request_totals import RequestTotals
    from .run_totals import RunTotals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of an HTTP response with this text."""


class Counted(Protocol):
    """A Supervisor, as far as metrics go."""

    def statistics(self) -> Any: ...


SupervisorStatistics = Any
"""What ``Supervisor.statistics()`` returns."""


def prometheus_text(
    supervisor: Counted | SupervisorStatistics,
    metrics: RunMetrics | None = None,
    *,
    process: bool = False,
) -> str:
    """Everything that can be counted, in the text format (version 0.0.4) that ``CONTENT_TYPE``
    names. Without ``metrics`` only what the supervisor and its store count by themselves. With
    ``process`` also the ``process_`` and ``python_`` metrics of this process, where the system has
    them.

    Labels are outcomes of runs, kinds of tokens, operations of a gateway and their statuses: as
    many as there are of those, however many sessions and clients there are. It does not wait.
    Called outside of the supervisor's thread it is given what ``statistics()`` returned there.
    """
    statistics = supervisor.statistics() if hasattr(supervisor, "statistics") else supervisor
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(statistics, metrics))
    if process:
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
    return generate_latest(registry).decode()


class _Collector(Collector):
    def __init__(self, statistics: Any, metrics: RunMetrics | None) -> None:
        self._statistics = statistics
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        if self._metrics is not None:
            yield from _of_totals(self._metrics.totals)
            yield from _of_owned(self._metrics.owned)
            yield from _of_requests(self._metrics.requests)
        statistics = self._statistics
        for name, value in supervisor_gauges(statistics).items():
            yield GaugeMetricFamily(f"moorage_{name}", _said(name), value=value)
        yield CounterMetricFamily(
            "moorage_loop_blocked",
            "How often something held up the event loop.",
            value=statistics.loop_blocked,
        )
        for name, value in store_numbers(statistics.store).items():
            family = CounterMetricFamily if is_counter(name) else GaugeMetricFamily
            yield family(f"moorage_store_{name}", f"The store's {_said(name)}", value=value)


def _of_totals(totals: RunTotals) -> Iterator[Metric]:
    runs = CounterMetricFamily("moorage_runs", "Runs that ended.", labels=["outcome"])
    ran = HistogramMetricFamily(
        "moorage_run_seconds", "From a run's start to its end.", labels=["outcome"]
    )
    for outcome, count in totals.runs.items():
        runs.add_metric([outcome], count)
        seconds = totals.run_seconds[outcome]
        ran.add_metric([outcome], seconds.cumulative(), seconds.sum)
    tokens = CounterMetricFamily(
        "moorage_tokens", "Tokens of runs that ended, by kind.", labels=["kind"]
    )
    for kind, count in totals.tokens.items():
        tokens.add_metric([kind], count)
    yield runs
    yield ran
    yield tokens
    yield CounterMetricFamily(
        "moorage_cost_usd", "What runs that ended cost, by their agents.", value=totals.cost_usd
    )
    for name, said, histogram in (
        ("queue", "From a run's acceptance to its start.", totals.queue_seconds),
        ("store_append", "From handing events to the store until durable.", totals.append_seconds),
    ):
        yield HistogramMetricFamily(
            f"moorage_{name}_seconds",
            said,
            buckets=histogram.cumulative(),
            sum_value=histogram.sum,
        )


def _of_owned(owned: OwnedRuns) -> Iterator[Metric]:
    for name, value in (
        ("queued", owned.queued),
        ("running", owned.running),
        ("waiting", owned.waiting),
    ):
        said = f"Runs that are {name} now, in sessions that this process owns."
        yield GaugeMetricFamily(f"moorage_runs_{name}", said, value=value)


def _of_requests(totals: RequestTotals) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "moorage_http_requests",
        "Requests that were answered, by operation and status.",
        labels=["operation", "status"],
    )
    for (operation, status), count in totals.requests.items():
        requests.add_metric([operation, status], count)
    took = HistogramMetricFamily(
        "moorage_http_request_seconds",
        "From a request's head to that of its answer.",
        labels=["operation"],
    )
    for operation, seconds in totals.seconds.items():
        took.add_metric([operation], seconds.cumulative(), seconds.sum)
    yield requests
    yield took
    for name, said, value in (
        ("requests_in_progress", "Requests that are being answered now.", totals.in_progress),
        ("streams", "Event streams and waiting requests now.", totals.streams),
    ):
        yield GaugeMetricFamily(f"moorage_http_{name}", said, value=value)
    for name, said, value in (
        ("received", "Bytes of requests' bodies.", totals.received_bytes),
        ("sent", "Bytes of answers' bodies.", totals.sent_bytes),
    ):
        yield CounterMetricFamily(f"moorage_http_{name}_bytes", said, value=value)


def _said(name: str) -> str:
    return f"{name.replace('_', ' ')}."
