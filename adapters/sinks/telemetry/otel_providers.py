"""Providers of OpenTelemetry's SDK for a program that has none, from the environment variables that
its specification names. Needs the extra ``otel``.

``opentelemetry-instrument`` sets providers before the program begins; those are left alone.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import InvalidArgument
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_NAME = "moorage"
"""Unless ``OTEL_SERVICE_NAME`` or ``OTEL_RESOURCE_ATTRIBUTES`` name another."""
OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
"""Protocol -> name of the exporter, the first being what is taken if nothing is said."""
DEFAULT_EXPORTER = "otlp"


@attrs.frozen
class OtelProviders:
    """The providers that were made; None where there is nothing to export, or the process has
    one already."""

    tracer: TracerProvider | None
    meter: MeterProvider | None

    def use(self) -> None:
        """Make them those of the process."""
        if self.tracer is not None:
            trace.set_tracer_provider(self.tracer)
        if self.meter is not None:
            metrics.set_meter_provider(self.meter)

    def shutdown(self) -> None:
        """Export what is left; blocks until that is done or given up."""
        for provider in (self.tracer, self.meter):
            if provider is not None:
                provider.shutdown()


def providers_from_environment(environ: Mapping[str, str]) -> OtelProviders:
    """Providers with the exporters that ``OTEL_TRACES_EXPORTER`` and ``OTEL_METRICS_EXPORTER`` name
    (``otlp``, ``console``, any that is installed, several with commas between them, or ``none``).

    Raises InvalidArgument for one that is not installed.
    """
    spans = _exporters("traces", environ) if _is_unset(trace.get_tracer_provider()) else []
    numbers = _exporters("metrics", environ) if _is_unset(metrics.get_meter_provider()) else []
    resource = _resource(environ)
    tracer, meter = None, None
    if spans:
        tracer = TracerProvider(resource=resource)
        for exporter in spans:
            tracer.add_span_processor(BatchSpanProcessor(exporter))
    if numbers:
        readers = [PeriodicExportingMetricReader(exporter) for exporter in numbers]
        meter = MeterProvider(metric_readers=readers, resource=resource)
    return OtelProviders(tracer, meter)


def _is_unset(provider: object) -> bool:
    """Whether it is the stand-in of the API, which nobody has set."""
    return type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))


def _resource(environ: Mapping[str, str]) -> Resource:
    named = "OTEL_SERVICE_NAME" in environ
    named = named or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if named else {"service.name": SERVICE_NAME})


def _exporters(signal: str, environ: Mapping[str, str]) -> list[Any]:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    names = environ.get(variable) or DEFAULT_EXPORTER
    found = []
    for name in (name.strip() for name in names.split(",")):
        if name in ("", "none"):
            continue
        made = _exporter(signal, name, environ)
        if made is None:
            raise InvalidArgument(
                f"{variable} names the exporter {name!r}, and none of that name is installed: "
                "pip install opentelemetry-exporter-otlp, or set it to console or none"
            )
        found.append(made)
    return found


def _exporter(signal: str, name: str, environ: Mapping[str, str]) -> Any:
    names = [name]
    if name == DEFAULT_EXPORTER:
        protocol = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
        protocol = protocol or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        names = [OTLP.get(protocol, protocol)] if protocol else [*OTLP.values(), name]
    for candidate in names:
        for entry in entry_points(group=f"opentelemetry_{signal}_exporter", name=candidate):
            return entry.load()()
    return None
