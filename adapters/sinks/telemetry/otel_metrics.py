"""Metrics as OpenTelemetry instruments. Needs the extra ``otel``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import trio
from moorage.runtime.errors import InvalidArgument
from opentelemetry import metrics as otel
from opentelemetry.metrics import Observation

from .request_totals import REQUEST_SECONDS_BOUNDS
from .run_totals import (
    APPEND_SECONDS_BOUNDS,
    QUEUE_SECONDS_BOUNDS,
    RUN_SECONDS_BOUNDS,
    cost_usd,
    queue_seconds,
    run_seconds,
    tokens,
)
from .statistics_numbers import is_counter, store_numbers, supervisor_gauges

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime.runs import RunOutcome
    from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider

    from .metered_store import RunMetrics
    from .owned_runs import OwnedRuns
    from .request_totals import AnsweredRequest, RequestTotals

SCOPE = "moorage"


class Counted(Protocol):
    """A Supervisor, as far as metrics go."""

    def statistics(self) -> Any: ...


class OtelMetrics:
    """Instruments for what ``metrics`` counts; ``observe`` adds what the supervisor counts.

    Exporters ask from threads of their own. They get what was noted in the supervisor's thread,
    and nothing of the supervisor is touched from theirs.
    """

    def __init__(self, metrics: RunMetrics, *, meter_provider: MeterProvider | None = None) -> None:
        self._meter = otel.get_meter(SCOPE, meter_provider=meter_provider)
        self._observed: dict[str, float] = {}
        self._instruments: set[str] = set()
        counter = self._meter.create_counter
        self._runs = counter("moorage.runs", "{run}", "Runs that ended, by outcome.")
        self._tokens = counter("moorage.tokens", "{token}", "Tokens of runs that ended, by kind.")
        self._cost = counter("moorage.cost", "USD", "What runs that ended cost, by their agents.")
        self._ran = self._seconds("moorage.run.duration", "From start to end.", RUN_SECONDS_BOUNDS)
        self._queued = self._seconds(
            "moorage.queue.duration", "From acceptance to start.", QUEUE_SECONDS_BOUNDS
        )
        self._append = self._seconds(
            "moorage.store.append.duration", "Until events are durable.", APPEND_SECONDS_BOUNDS
        )
        for name in ("queued", "running", "waiting"):
            self._meter.create_observable_gauge(
                f"moorage.runs.{name}",
                [partial(_value_now, metrics.owned, name)],
                "{run}",
                f"Runs that are {name} now, in sessions that this process owns.",
            )
        self._request = self._seconds(
            "http.server.request.duration",
            "From a request's head to that of its answer.",
            REQUEST_SECONDS_BOUNDS,
        )
        for name, unit in (("in_progress", "{request}"), ("streams", "{stream}")):
            self._meter.create_observable_gauge(
                f"moorage.http.{name}", [partial(_value_now, metrics.requests, name)], unit
            )
        for name in ("received_bytes", "sent_bytes"):
            self._meter.create_observable_counter(
                f"moorage.http.{name}", [partial(_value_now, metrics.requests, name)], "By"
            )
        metrics.recorders.append(self)
        metrics.requests.recorders.append(self)

    def _seconds(self, name: str, said: str, bounds: tuple[float, ...]) -> Histogram:
        return self._meter.create_histogram(
            name, "s", said, explicit_bucket_boundaries_advisory=bounds
        )

    def run_ended(self, outcome: RunOutcome) -> None:
        """A run has ended."""
        attributes = {"outcome": outcome.state.value}
        self._runs.add(1, attributes)
        self._queued.record(queue_seconds(outcome))
        ran = run_seconds(outcome)
        if ran is not None:
            self._ran.record(ran, attributes)
        for kind, count in tokens(outcome).items():
            self._tokens.add(count, {"kind": kind})
        self._cost.add(cost_usd(outcome))

    def appended(self, seconds: float) -> None:
        """The store has made a batch of events durable."""
        self._append.record(seconds)

    def answered(self, request: AnsweredRequest) -> None:
        """A gateway has answered a request."""
        attributes: dict[str, Any] = {
            "http.request.method": request.method,
            "url.scheme": request.scheme,
        }
        if request.route is not None:
            attributes["http.route"] = request.route
        if request.status is not None:
            attributes["http.response.status_code"] = request.status
        if request.status is None or request.status >= 500:
            attributes["error.type"] = str(request.status or "no_answer")
        self._request.record(request.seconds, attributes)

    async def observe(self, supervisor: Counted, *, interval_seconds: float = 10.0) -> None:
        """Note the supervisor's and its store's statistics now and then, until cancelled.

        Raises InvalidArgument.
        """
        if not 0 < interval_seconds < float("inf"):
            raise InvalidArgument(f"interval_seconds must be above 0, not {interval_seconds!r}")
        try:
            while True:
                self.note(supervisor.statistics())
                await trio.sleep(interval_seconds)
        finally:
            self._observed = {}

    def note(self, statistics: Any) -> None:
        """These are the statistics now; called in the supervisor's thread."""
        numbers = {f"moorage.{name}": n for name, n in supervisor_gauges(statistics).items()}
        numbers["moorage.loop_blocked"] = statistics.loop_blocked
        for name, number in store_numbers(statistics.store).items():
            numbers[f"moorage.store.{name}"] = number
        self._observed = numbers
        for name in numbers.keys() - self._instruments:
            self._instruments.add(name)
            counter = name == "moorage.loop_blocked" or is_counter(name.rpartition(".")[2])
            create = (
                self._meter.create_observable_counter
                if counter
                else self._meter.create_observable_gauge
            )
            create(name, [partial(self._observe, name)])

    def _observe(self, name: str, options: CallbackOptions) -> Iterable[Observation]:
        value = self._observed.get(name)
        return [] if value is None else [Observation(value)]


def _value_now(
    counted: OwnedRuns | RequestTotals, name: str, options: CallbackOptions
) -> Iterable[Observation]:
    return [Observation(getattr(counted, name))]
