"""The application server: threads, because a request mostly waits for the database.

Why gunicorn and these numbers: docs/measurements.md.
"""

import os
from typing import Any

worker_class = "gthread"
workers = 2
threads = 8
timeout = 30
# Access logs are for the proxy in front; the request line here can hold a WsAccessKey.
accesslog = None
# Nothing manages the server while it runs; a socket for that is one more way in.
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Keep what clients send out of the log: a malformed request line may hold a key."""
    server.log.error_log.addFilter(lambda r: not str(r.msg).startswith("Invalid request"))


def post_fork(server: object, worker: object) -> None:
    """Put each worker into a process group of its own.

    Ctrl-C then reaches the master alone, which stops its workers in good order. A worker
    that gets both signals deadlocks one time in three.
    """
    os.setpgid(0, 0)
