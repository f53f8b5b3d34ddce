"""Traces: what one request caused, from its arrival to the text that a worker sends.

They are off unless ``TRACING`` is on; then nothing of OpenTelemetry is imported, and ``trace`` and
``span`` do nothing. What is told of a span holds names and counts that the service knows before
any request comes: never a path, a value of a statement, a number, a code or a name of a person.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

Fact = str | int


class Traces(Protocol):
    """The interface of ``otel.Traces``."""

    def trace(self, name: str, parent: str) -> AbstractContextManager[None]: ...
    def span(self, name: str) -> AbstractContextManager[None]: ...
    def tell(self, name: str, facts: dict[str, Fact]) -> None: ...
    def here(self) -> str: ...


_traces: Traces | None = None
_OFF = nullcontext()


def start() -> None:
    """Switch traces on in this process, if ``TRACING`` is on.

    :raises ImproperlyConfigured: if the extra packages are missing.
    """
    global _traces
    if not settings.TRACING:
        return
    try:
        _traces = import_string("optin.runtime.otel.Traces")()
    except ImportError:
        raise ImproperlyConfigured(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
            "pip install --no-deps --require-hashes -r requirements-otel.txt."
        ) from None


def trace(name: str, parent: str = "") -> AbstractContextManager[None]:
    """Trace the block.

    :param parent: from ``here``, in another process: the block goes on with its trace.
    """
    return _traces.trace(name, parent) if _traces else _OFF


def span(name: str, **facts: Fact) -> AbstractContextManager[None]:
    """Note the block as a part of the trace that it is in, if it is in one."""
    return _span(_traces, name, facts) if _traces else _OFF


@contextmanager
def _span(traces: Traces, name: str, facts: dict[str, Fact]) -> Iterator[None]:
    with traces.span(name):
        traces.tell("", facts)
        yield


def tell(name: str = "", **facts: Fact) -> None:
    """Tell *facts* of the block that is traced at the moment, and its final name."""
    if _traces:
        _traces.tell(name, facts)


def here() -> str:
    """Return what ``trace`` needs to go on in another process; "" where nothing is traced."""
    return _traces.here() if _traces else ""
