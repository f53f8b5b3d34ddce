"""The application server: threads, because a request mostly waits for the database.

A proxy in front passes on whole requests only: an unfinished one would hold a thread.
"""

import gc
import logging
import logging.config
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

worker_class = "gthread"
workers = 2
threads = 64  # most of them only wait, with a password: optin.runtime.hashing
timeout = 30
# For each process. Together with its other open files, this stays below the usual limit of 1024,
# at which gunicorn stops.
worker_connections = 900
# The most that gunicorn takes but for "no limit". A longer address gets its own 414, which has none
# of the contract's formats.
limit_request_line = 8190
# Access logs are for the proxy in front; the request line here can hold a WsAccessKey.
accesslog = None
# By default the proxy may set SCRIPT_NAME and PATH_INFO. Some proxies pass on a client's, which
# would put a prefix before all links, and lead past the proxy's rules for addresses.
forwarder_headers = ""
# Nothing manages the server while it runs; a socket for that is one more way in.
control_socket_disable = True

# Where the workers count together. Set before the settings are read and prometheus_client is
# imported. A reload empties it: to Prometheus that is a restart.
_counts = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="optin-"))
_counts.mkdir(mode=0o700, parents=True, exist_ok=True)
for _left in _counts.glob("*.db"):
    _left.unlink()
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_counts)

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "twofa_site.settings")


class logger_class(Logger):
    """Write the server's lines as all others are written."""

    def setup(self, cfg: Any) -> None:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured

        super().setup(cfg)
        try:
            logging.config.dictConfig(settings.LOGGING)
        except ImproperlyConfigured as exc:
            # A sentence for the operator, as of every command: see manage.py.
            sys.exit(str(exc))
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        # At DEBUG it quotes what a client's connection failed on.
        self.error_log.setLevel(max(self.error_log.level, logging.INFO))


def when_ready(server: Any) -> None:
    """On SIGTERM, say "not ready" for ``STOP_DELAY`` seconds, then stop as usual.

    Meanwhile the server takes requests, so a load balancer has time to send them elsewhere.
    """
    from django.conf import settings

    from optin.runtime import stopping

    def announce(number: int, frame: object) -> None:
        if not stopping.announced():
            stopping.announce()
            signal.alarm(settings.STOP_DELAY)

    if settings.STOP_DELAY:
        signal.signal(signal.SIGTERM, announce)
        signal.signal(signal.SIGALRM, lambda number, frame: server.signal(signal.SIGTERM, frame))


def post_fork(server: object, worker: object) -> None:
    """Put each worker into a process group of its own.

    Ctrl-C then reaches only the master, which stops its workers in order. A worker that gets the
    signal from both the terminal and the master deadlocks one time in three.
    """
    os.setpgid(0, 0)


def post_worker_init(worker: object) -> None:
    """Exclude the objects made at startup from garbage collection.

    A full collection would visit all of them, and it stops all threads of the worker while it runs.
    """
    gc.collect()
    gc.freeze()


def child_exit(server: object, worker: Any) -> None:
    """Forget the gauges of a worker that has ended: its connections are closed."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: object) -> None:
    shutil.rmtree(_counts, ignore_errors=True)
