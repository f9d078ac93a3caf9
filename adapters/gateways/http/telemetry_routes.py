"""What Prometheus scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from .authorisation import check_operator
from .operations import Answer, Operation
from .problems import ExtraMissing, MetricsOff

if TYPE_CHECKING:
    from .call import Call

PLAIN_TEXT = "text/plain"


async def get_metrics(call: Call) -> Response:
    """Everything that can be counted, of all tenants: for whoever runs the server."""
    check_operator(call.principal, "metrics")
    metrics = call.state.metrics
    if metrics is None:
        raise MetricsOff(
            "this server collects no metrics: start it with `moorage serve --metrics`, or "
            "create_app(..., metrics=RunMetrics())"
        )
    try:
        from moorage.adapters.sinks.telemetry import PROMETHEUS_CONTENT_TYPE, prometheus_text
    except ImportError as error:
        raise ExtraMissing(str(error)) from error
    text = prometheus_text(call.supervisor, metrics, process=True)
    return Response(text, headers={"content-type": PROMETHEUS_CONTENT_TYPE})


TELEMETRY_OPERATIONS = (
    Operation(
        id="get_metrics",
        method="GET",
        path="/metrics",
        summary="Metrics as Prometheus reads them; needs the scope `metrics` for all sessions.",
        tag="server",
        scope="metrics",
        handler=get_metrics,
        answers={
            200: Answer(
                description="The text format, version 0.0.4.",
                content={PLAIN_TEXT: {"type": "string"}},
            ),
        },
    ),
)
