from __future__ import annotations

import subprocess
import sys

import pytest
from moorage.adapters.sinks.telemetry import providers_from_environment
from moorage.adapters.sinks.telemetry.otel_providers import SERVICE_NAME, _is_unset
from moorage.runtime import InvalidArgument
from opentelemetry.sdk.trace import TracerProvider

CONSOLE = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none"}
PROGRAM = """
import os
from opentelemetry import metrics, trace
from moorage.adapters.sinks.telemetry import providers_from_environment

providers = providers_from_environment(os.environ)
providers.use()
with trace.get_tracer("t").start_as_current_span("mine"):
    metrics.get_meter("m").create_counter("counted").add(1)
again = providers_from_environment(os.environ)
print(again.tracer is None and again.meter is None)
providers.shutdown()
"""


def test_what_the_environment_names_is_made_and_is_a_service() -> None:
    providers = providers_from_environment(CONSOLE)

    assert providers.meter is None
    assert providers.tracer is not None
    assert providers.tracer.resource.attributes["service.name"] == SERVICE_NAME
    providers.shutdown()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_SERVICE_NAME", "mine"), ("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=mine")],
)
def test_the_service_may_have_another_name(monkeypatch, variable, value) -> None:
    monkeypatch.setenv(variable, value)
    providers = providers_from_environment(CONSOLE | {variable: value})

    assert providers.tracer.resource.attributes["service.name"] == "mine"
    providers.shutdown()


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "nowhere"},
        {"OTEL_TRACES_EXPORTER": "console, nowhere", "OTEL_METRICS_EXPORTER": "none"},
        {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "nowhere",
        },
    ],
)
def test_an_exporter_that_is_not_there_is_named(environ) -> None:
    with pytest.raises(InvalidArgument, match=r"OTEL_\w+_EXPORTER names .* pip install"):
        providers_from_environment(environ)


def test_nothing_to_export_makes_no_providers() -> None:
    environ = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none,"}
    providers = providers_from_environment(environ)
    providers.use()
    providers.shutdown()

    assert (providers.tracer, providers.meter) == (None, None)


def test_a_provider_that_somebody_has_set_is_left_alone() -> None:
    provider = TracerProvider()

    assert not _is_unset(provider)
    provider.shutdown()


def test_a_process_gets_them_once_and_all_is_exported_at_the_end() -> None:
    environ = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "console"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=120
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("True\n")
    assert '"name": "mine"' in result.stdout
    assert '"counted"' in result.stdout
