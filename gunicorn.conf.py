"""The application server: threads, because a request mostly waits for the database."""

import atexit
import fcntl
import gc
import logging
import logging.config
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

# gthread, which waits for whole request heads.
worker_class = "twofa_site.gunicorn_worker.Worker"
workers = 2
threads = 96  # most of them only wait, with a password: optin.runtime.hashing
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


# Another prefix than up to 0.11: those servers lock nothing, and may still run.
_PREFIX = "optin-counts-"


def _lock(folder: Path, how: int) -> int:
    """Lock *folder* for this process and its workers; return the descriptor that holds the lock.

    :raises OSError: if it is locked, and *how* does not say to wait.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _new_folder(parent: Path) -> Path:
    """Make and lock a folder. Try again if another server that starts has just deleted it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        with suppress(FileNotFoundError):
            _lock(folder, fcntl.LOCK_EX)
            if folder.exists():
                return folder


def _make_metrics_folder() -> str:
    """Make the folder for the metrics of the workers; this process deletes it at its end.

    This process and its workers lock it. The folder of a killed server has no lock, and is deleted
    here.
    """
    # In memory if possible: writing to a full disk would kill a worker.
    parent = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())  # noqa: S108
    for left in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # in use, or of another user
            lock = _lock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    folder = _new_folder(parent)
    master = os.getpid()

    def remove() -> None:
        if os.getpid() == master:  # the workers have inherited this
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return str(folder)


# Set before the settings are read and prometheus_client is imported. A reload makes a new folder:
# its counters start at zero, which Prometheus treats as a restart.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _make_metrics_folder()

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


def pre_request(worker: object, req: object) -> None:
    """Work on a few requests at once. The other threads wait."""
    from optin.runtime import hashing

    hashing.at_work.acquire()


def post_request(worker: object, req: object, environ: object, resp: object) -> None:
    from optin.runtime import hashing

    hashing.at_work.release()


def child_exit(server: object, worker: Any) -> None:
    """Forget the gauges of a worker that has ended: its connections are closed."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
