from __future__ import annotations

import pytest
import trio
from moorage.adapters.sinks.telemetry import OtelMetrics, RunMetrics
from moorage.adapters.sinks.telemetry.request_totals import AnsweredRequest
from moorage.runtime import InvalidArgument, open_supervisor
from moorage.stores import MemoryStore
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum


class Meters:
    """A provider, and what its instruments say when they are asked."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider(metric_readers=[self.reader])

    def read(self) -> dict:
        data = self.reader.get_metrics_data()
        return {
            (metric.name, *point.attributes.values()): (metric, point)
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }


@pytest.fixture
def meters():
    meters = Meters()
    yield meters
    meters.provider.shutdown()


async def agent(request, context):
    await context.emit("token_usage_updated", {"output_tokens": 5, "cost_usd": 0.5})
    await trio.sleep(3)


async def test_instruments_say_what_is_counted(autojump_clock, meters) -> None:
    metrics = RunMetrics()
    instruments = OtelMetrics(metrics, meter_provider=meters.provider)
    store = metrics.metered(MemoryStore())
    async with open_supervisor(store, agent) as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(instruments.observe, supervisor)
        session = await supervisor.session("a")
        for _ in range(2):
            await session.execute("x")
        await session.submit("x")
        await trio.sleep(11)
        await session.submit("x")
        await trio.sleep(1)
        found = meters.read()
        nursery.cancel_scope.cancel()

    metric, point = found["moorage.runs", "completed"]
    assert (metric.unit, point.value) == ("{run}", 3)
    metric, point = found["moorage.run.duration", "completed"]
    assert (metric.unit, point.count) == ("s", 3)
    assert 3_600 in point.explicit_bounds
    assert found["moorage.queue.duration",][1].count == 3
    assert found["moorage.tokens", "output"][1].value == 15
    assert found["moorage.cost",][1].value == 1.5
    assert found["moorage.runs.running",][1].value == 1
    assert found["moorage.sessions_resident",][1].value == 1
    assert found["moorage.store.append.duration",][1].count > 3
    metric, point = found["moorage.store.appends",]
    assert isinstance(metric.data, Sum)
    assert point.value > 3


def test_requests_are_told_as_the_conventions_want_it(meters) -> None:
    metrics = RunMetrics()
    OtelMetrics(metrics, meter_provider=meters.provider)
    metrics.requests.streams = 3
    metrics.requests.sent_bytes = 70
    for operation, status in (("get_run", 200), ("get_run", 503), (None, None)):
        route = None if operation is None else "/v1/runs/{run_id}"
        metrics.requests.answered(
            AnsweredRequest(
                operation=operation,
                method="GET",
                route=route,
                scheme="http",
                status=status,
                seconds=0.3,
            )
        )

    found = meters.read()
    points = [
        dict(point.attributes)
        for metric, point in found.values()
        if metric.name == "http.server.request.duration"
    ]
    asked = {"http.request.method": "GET", "url.scheme": "http"}
    routed = asked | {"http.route": "/v1/runs/{run_id}"}
    assert points == [
        routed | {"http.response.status_code": 200},
        routed | {"http.response.status_code": 503, "error.type": "503"},
        asked | {"error.type": "no_answer"},
    ]
    assert found["moorage.http.streams",][1].value == 3
    assert found["moorage.http.in_progress",][1].value == 0
    assert found["moorage.http.sent_bytes",][1].value == 70
    assert isinstance(found["moorage.http.sent_bytes",][0].data, Sum)


async def test_what_is_not_observed_any_more_is_not_told(autojump_clock, meters) -> None:
    instruments = OtelMetrics(RunMetrics(), meter_provider=meters.provider)
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        with trio.move_on_after(25) as scope:
            await instruments.observe(supervisor, interval_seconds=10)

    assert scope.cancelled_caught
    assert not [name for name, *_ in meters.read() if name.startswith("moorage.sessions")]


@pytest.mark.parametrize("interval_seconds", [0, -1, float("inf"), float("nan")])
async def test_an_interval_that_makes_no_sense_is_refused(interval_seconds, meters) -> None:
    instruments = OtelMetrics(RunMetrics(), meter_provider=meters.provider)

    with pytest.raises(InvalidArgument, match="interval_seconds"):
        await instruments.observe(None, interval_seconds=interval_seconds)
