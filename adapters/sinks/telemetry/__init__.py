"""Telemetry: traces, metrics and an audit log of what sessions do.

Traces need the extra ``otel``, metrics that or ``prometheus``; the audit log needs nothing. What
needs an extra is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .audit_log import AuditedAction, AuditFailed, AuditLog
from .metered_store import Recorder, RunMetrics

if TYPE_CHECKING:
    from .otel_metrics import OtelMetrics
    from .otel_providers import OtelProviders, providers_from_environment
    from .prometheus import CONTENT_TYPE as PROMETHEUS_CONTENT_TYPE
    from .prometheus import prometheus_text
    from .request_spans import RequestTracing
    from .trace_context import trace_headers, trace_metadata
    from .tracing import submit_traced, with_tracing
    from .unstarted_runs import UnstartedRuns

__all__ = [
    "submit_traced",
    "trace_headers",
    "trace_metadata",
    "with_tracing",
    "RequestTracing",
    "UnstartedRuns",
    "RunMetrics",
    "Recorder",
    "OtelMetrics",
    "OtelProviders",
    "providers_from_environment",
    "prometheus_text",
    "PROMETHEUS_CONTENT_TYPE",
    "AuditLog",
    "AuditedAction",
    "AuditFailed",
]

_LATER = {
    "submit_traced": ("tracing", "submit_traced", "otel"),
    "trace_headers": ("trace_context", "trace_headers", "otel"),
    "trace_metadata": ("trace_context", "trace_metadata", "otel"),
    "with_tracing": ("tracing", "with_tracing", "otel"),
    "RequestTracing": ("request_spans", "RequestTracing", "otel"),
    "UnstartedRuns": ("unstarted_runs", "UnstartedRuns", "otel"),
    "OtelMetrics": ("otel_metrics", "OtelMetrics", "otel"),
    "OtelProviders": ("otel_providers", "OtelProviders", "otel"),
    "providers_from_environment": ("otel_providers", "providers_from_environment", "otel"),
    "prometheus_text": ("prometheus", "prometheus_text", "prometheus"),
    "PROMETHEUS_CONTENT_TYPE": ("prometheus", "CONTENT_TYPE", "prometheus"),
}
"""Name -> module, name there, and the extra that it needs."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute, extra = _LATER[name]
    try:
        return getattr(import_module(f".{module}", __name__), attribute)
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs pip install 'moorage[{extra}]': {error}") from error
