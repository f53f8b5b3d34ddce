"""Work in a thread of its own, for which no request waits."""

import atexit
from collections.abc import Callable
from queue import SimpleQueue
from threading import BoundedSemaphore, Event, Lock, Thread

GRACE = 3.0
"""Seconds that a process waits at its end for the work that is left here."""


class Postman:
    """A thread that does one piece of work after the other, with a queue of limited length.

    The first piece of work starts it in each process.
    Give it only work that may be lost: it is dropped if the queue is full or the process ends.
    """

    def __init__(self, places: int) -> None:
        """:param places: how many pieces of work may run or wait."""
        self._places = BoundedSemaphore(places)
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._beginning = Lock()
        self._thread: Thread | None = None

    def submit(self, work: Callable[[], object]) -> bool:
        """Queue *work*, which must not raise; return False if the queue is full."""
        with self._beginning:
            if self._thread is None or not self._thread.is_alive():  # as in a forked process
                self._thread = Thread(target=self._go, name="postman", daemon=True)
                self._thread.start()  # before a place is taken: it fails where memory is short
                atexit.register(self._end, self._thread)
        if not self._places.acquire(blocking=False):
            return False
        self._waiting.put(work)
        return True

    def wait(self) -> None:
        """Wait until the work that is queued now is done, or twice ``GRACE`` seconds."""
        done = Event()
        if self._thread and self._thread.is_alive() and self._places.acquire(timeout=GRACE):
            self._waiting.put(done.set)
            done.wait(GRACE)

    def _go(self) -> None:
        while work := self._waiting.get():
            try:
                work()
            finally:
                self._places.release()

    def _end(self, thread: Thread) -> None:
        """Let the mail of a command leave, but end even if the mail server is slow."""
        self._waiting.put(None)
        thread.join(GRACE)
