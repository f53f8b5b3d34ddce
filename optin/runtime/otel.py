"""Traces with OpenTelemetry.

An optional extra (``requirements-otel.txt``): the only module that needs the packages
``opentelemetry``. They read the standard variables ``OTEL_...`` by themselves.

Its ready-made instrumentations of Django and psycopg are not used. The first keeps whole addresses
with their ``WsAccessKey``, lets a client's header choose the trace, and asks for the host before
``ApiEdge`` can refuse a foreign one. The second does not see statements that are sent together.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context
from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from optin.runtime.tracing import Fact

_HEADER = "traceparent"

_propagator = TraceContextTextMapPropagator()


class Traces:
    """The traces of this process. See ``tracing``, which has the same functions."""

    def __init__(self, processor: SpanProcessor | None = None) -> None:
        """:param processor: takes the spans; without one they go to the collector."""
        named = Resource({SERVICE_NAME: "optin"}).merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=named)
        provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = provider.get_tracer("optin")

    @contextmanager
    def trace(self, name: str, parent: str) -> Iterator[None]:
        # Without a parent it begins anew, whatever this thread did before.
        before = _propagator.extract({_HEADER: parent}, context.Context())
        with self._begun(name, before):
            yield

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        if not api.get_current_span().get_span_context().is_valid:
            yield
            return
        with self._begun(name, context.get_current()):
            yield

    def tell(self, name: str, facts: dict[str, Fact]) -> None:
        span = api.get_current_span()
        if name:
            span.update_name(name)
        span.set_attributes(facts)
        if "error" in facts:
            span.set_status(Status(StatusCode.ERROR))

    def here(self) -> str:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get(_HEADER, "")

    @contextmanager
    def _begun(self, name: str, within: context.Context) -> Iterator[None]:
        # The words of an exception may quote anything: OpenTelemetry must not keep them.
        with self._tracer.start_as_current_span(
            name, within, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield
            except BaseException as exc:
                self.tell("", {"error": type(exc).__name__})
                raise
