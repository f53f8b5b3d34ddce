"""Traces that end in this process, in place of a collector."""

from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from optin.runtime import otel, tracing


def record(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Switch traces on for the test; return what takes their spans."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "_traces", otel.Traces(SimpleSpanProcessor(exporter)))
    return exporter


def trace_of(spans: Sequence[ReadableSpan], name: str) -> list[str]:
    """The names of the spans in the one trace that begins with *name*, but for statements."""
    (root,) = [span for span in spans if span.name == name and span.parent is None]
    assert root.context
    trace_id = root.context.trace_id
    return sorted(
        span.name
        for span in spans
        if span.context and span.context.trace_id == trace_id and "statement" not in span.name
    )
