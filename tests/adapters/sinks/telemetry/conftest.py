"""Exporters that keep what they get."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Spans:
    """A provider, and every span that ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def all(self, name: str | None = None) -> list:
        found = self.exporter.get_finished_spans()
        return [span for span in found if name is None or span.name.startswith(name)]

    def one(self, name: str):
        (span,) = self.all(name)
        return span


@pytest.fixture
def spans():
    spans = Spans()
    yield spans
    spans.provider.shutdown()
