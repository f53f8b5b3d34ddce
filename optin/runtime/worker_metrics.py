"""``/metrics`` of a worker: what it counted itself, as texts that it sent.

Web servers cannot tell these counts: they may run on other machines. What is read from the
database, such as the gateways that fail, they tell for all.
"""

import logging
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from django.conf import settings
from prometheus_client.exposition import ThreadingWSGIServer

from optin.runtime import metrics

logger = logging.getLogger(__name__)


class _Handler(WSGIRequestHandler):
    timeout = 10  # seconds: a client that says nothing must not hold a thread for ever

    def log_message(self, *args: Any) -> None:
        """Log no requests: Prometheus makes one every few seconds."""


def serve() -> None:
    """Serve ``/metrics`` in a thread of this process, if ``WORKER_METRICS`` names an address.

    If the address cannot be used, the log says so. Texts are worth more than their counts.
    """
    if not settings.WORKER_METRICS:
        return
    host, port = settings.WORKER_METRICS
    try:
        server = make_server(host, port, _answer, ThreadingWSGIServer, _Handler)
    except OSError as exc:
        logger.error("The metrics of this worker cannot be served: %s", exc.strerror)
        return
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()


def _answer(request: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
    body, kind = b"", "text/plain; charset=utf-8"
    if request["PATH_INFO"] != "/metrics" or request["REQUEST_METHOD"] != "GET":
        status = "404 Not Found"
    elif not metrics.may_read(request.get("HTTP_AUTHORIZATION", ""), settings.METRICS_TOKEN):
        status = "401 Unauthorized"
    else:
        status, body, kind = "200 OK", metrics.exposition(""), metrics.CONTENT_TYPE
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
