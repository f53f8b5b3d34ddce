"""The application server: threads, because a request mostly waits for the database.

Why gunicorn and these numbers: docs/measurements.md.
"""

import os

worker_class = "gthread"
workers = 2
threads = 8
timeout = 30
# Access logs are for the proxy in front; the request line here can hold a WsAccessKey.
accesslog = None
# No larger request line than the calls need.
limit_request_line = 4094
# Nothing manages the server while it runs; a socket for that is one more way in.
control_socket_disable = True


def post_fork(server: object, worker: object) -> None:
    """Put each worker into a process group of its own.

    Ctrl-C then reaches the master alone, which stops its workers in good order. A worker
    that gets both signals deadlocks one time in three.
    """
    os.setpgid(0, 0)
