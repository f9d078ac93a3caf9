"""A trace's way from whoever submits a run to wherever it is executed: by the run's metadata.

The log keeps a run's metadata, so its trace goes on in another process, on another node and after a
restart. Nothing but the W3C ``traceparent`` and ``tracestate`` is kept: baggage may hold anything,
and a log is kept for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("traceparent", "tracestate")
FIELD_CHARS_MAX = 512
"""What is longer, as the specification lets it be cut, is left out."""

_propagator = TraceContextTextMapPropagator()


def trace_metadata(
    metadata: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """``metadata`` for ``submit``, with the current span as the run's parent.

    Where no span is current, that of ``headers`` is, as an HTTP request brought it (names in lower
    case); where there is none either, what ``metadata`` has stays.
    """
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    if not carrier and headers is not None:
        _propagator.inject(carrier, _extracted(headers))
    kept = dict(metadata or {})
    if carrier:
        for field in FIELDS:  # those of two traces must not be mixed
            kept.pop(field, None)
    return kept | carrier


def trace_headers() -> dict[str, str]:
    """Headers of a request that name the current span; none where there is none."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def parent_in(metadata: Mapping[str, Any] | None) -> Context:
    """The context whose current span is the parent that ``metadata`` names; an empty one, in which
    a new trace begins, where it names none or what is there makes no sense."""
    return _extracted(metadata or {})


def parent_of_submit(metadata: Mapping[str, Any] | None) -> Context | None:
    """The parent of the span of submitting: None, which is the current one, unless there is none
    and ``metadata`` names one."""
    if trace.get_current_span().get_span_context().is_valid:
        return None
    return parent_in(metadata)


def _extracted(values: Mapping[str, Any]) -> Context:
    fields = {
        name: value
        for name in FIELDS
        if isinstance(value := values.get(name), str) and len(value) <= FIELD_CHARS_MAX
    }
    return _propagator.extract(fields, context=Context())
