"""Whether this server is about to stop.

``gunicorn.conf.py`` says so in the master process, and ``/readyz`` tells it in each worker. A load
balancer then sends new requests elsewhere before the server closes its socket. Without this, the
requests that wait in the socket would get no answer.
"""

import mmap

# Memory that is shared with all processes forked after this.
_flag = mmap.mmap(-1, 1)


def announce() -> None:
    """Say from now on, in all processes, that the server is about to stop."""
    _flag[0] = 1


def announced() -> bool:
    """Return whether the server is about to stop."""
    return _flag[0] == 1
