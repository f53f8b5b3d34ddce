"""Keep a number of workers running; one that dies is followed by another.

Each is a fork of this process, which has loaded all there is to load: a second of work
that a test which kills hundreds of them does once.

    python -m tests.workers.many COUNT
"""

import os
import signal
import sys
from contextlib import suppress

import django
from django.core.management import call_command

django.setup()

WORKERS: set[int] = set()


def start() -> None:
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        call_command("procrastinate", "worker")
        os._exit(0)
    WORKERS.add(pid)


def stop(*_: object) -> None:
    for pid in WORKERS:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    with suppress(ChildProcessError):
        while True:
            os.wait()
    sys.exit()


signal.signal(signal.SIGTERM, stop)
for _ in range(int(sys.argv[1])):
    start()
while True:
    WORKERS.discard(os.wait()[0])
    start()
