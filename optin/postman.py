"""Work that leaves apart from the requests, which do not wait for it."""

import atexit
from collections.abc import Callable
from queue import SimpleQueue
from threading import BoundedSemaphore, Lock, Thread

GRACE = 3.0
"""Seconds that a process which ends waits for what it still has to do here."""


class Postman:
    """A thread that does one thing after the other, and a queue before it that has an end.

    It begins with the first thing to do in a process.
    What it is given must be lost without harm: where the queue is full, or the process ends.
    """

    def __init__(self, places: int) -> None:
        """:param places: how much may be under way and wait."""
        self._places = BoundedSemaphore(places)
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._beginning = Lock()
        self._thread: Thread | None = None

    def submit(self, work: Callable[[], object]) -> bool:
        """Have *work*, which raises nothing, done at its turn; False where the queue is full."""
        with self._beginning:
            if self._thread is None or not self._thread.is_alive():  # as in a forked process
                self._thread = Thread(target=self._go, name="postman", daemon=True)
                self._thread.start()  # before a place is taken: it fails where memory is short
                atexit.register(self._end, self._thread)
        if not self._places.acquire(blocking=False):
            return False
        self._waiting.put(work)
        return True

    def _go(self) -> None:
        while work := self._waiting.get():
            try:
                work()
            finally:
                self._places.release()

    def _end(self, thread: Thread) -> None:
        """Let a command's mail leave. A slow server holds up no end: the thread dies with us."""
        self._waiting.put(None)
        thread.join(GRACE)
