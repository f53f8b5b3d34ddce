"""Traces: what is in them, and when there are any. Those of workers: tests/workers."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from optin.models import File
from optin.runtime import tracing
from tests.kit.people import NUMBER
from tests.kit.server import ROOT, running, until
from tests.kit.traces import record, trace_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Traces are on, and end here."""
    return record(monkeypatch)


def test_the_text_is_in_the_trace_of_the_request(
    exporter: InMemorySpanExporter, client: Client, access_key: str, file: File
) -> None:
    """Without workers. A client cannot choose the trace."""
    client.post(
        f"/User/opt-in-to-2fa?FileId=777&WsAccessKey={access_key}",
        json.dumps({"MobileNumber": NUMBER}),
        content_type="application/json",
        headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
    )
    spans = exporter.get_finished_spans()

    assert trace_of(spans, "POST opt-in") == ["POST opt-in", "gateway"]
    (gateway,) = [span for span in spans if span.name == "gateway"]
    assert dict(gateway.attributes or {}) == {"gateway": "phone", "outcome": "accepted"}
    assert "a" * 32 not in "".join(span.to_json() for span in spans)


def test_an_exception_is_named_without_its_words(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match=NUMBER[1:]), tracing.trace("block"):
        raise ValueError(NUMBER)
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {}) == {"error": "ValueError"}
    assert (span.status.is_ok, span.status.description, span.events) == (False, None, ())


def test_a_part_without_a_trace_is_not_noted(exporter: InMemorySpanExporter) -> None:
    with tracing.span("alone"):
        assert tracing.here() == ""
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_what_machines_ask_for_is_not_traced(
    exporter: InMemorySpanExporter, client: Client, path: str
) -> None:
    client.get(path)
    assert exporter.get_finished_spans() == ()


# -- on and off --------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, False),
    ],
    ids=["none", "of traces", "disabled"],
)
def test_variables_switch_traces_on(tmp_path: Path, env: dict[str, str], on: bool) -> None:
    """Without traces nothing of them is imported."""
    said = _start("'opentelemetry' in sys.modules, settings.TRACING", tmp_path, **env)
    assert said == f"{on} {on}"


def _start(expression: str, folder: Path, **env: str) -> str:
    """Start Django in a process of its own; return what *expression* is there."""
    lines = ["import sys, django", "django.setup()", "from django.conf import settings"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*lines, f"print(*({expression},))"])],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "twofa_site.settings", "DATA_DIR": str(folder), **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_missing_package_is_told(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TRACING = True
    monkeypatch.setitem(sys.modules, "optin.runtime.otel", None)
    with pytest.raises(ImproperlyConfigured, match=r"-r requirements-otel\.txt"):
        tracing.start()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A collector of traces: its address, and what came."""
    came: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            came.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()


@pytest.mark.slow
def test_the_collector_gets_the_traces_of_a_server(
    tmp_path: Path, collector: tuple[str, list[ExportTraceServiceRequest]]
) -> None:
    address, came = collector
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with running(tmp_path, env=env) as site:
        assert site.send("/sign-in/?secret=s3cret", method="GET").status == 200
        until(lambda: bool(came))
    (resource,) = came[0].resource_spans
    spans = [span for scope in resource.scope_spans for span in scope.spans]
    assert "GET sign-in" in {span.name for span in spans}
    assert b"s3cret" not in came[0].SerializeToString()
    assert {a.key: a.value.string_value for a in resource.resource.attributes} == {
        "service.name": "optin"
    }
