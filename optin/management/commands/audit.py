import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin.conf import conf
from optin.management.commands import BaseCommand, GroupCommand
from optin.operations import audit_stream

_FOR_EVER = float("inf")


class Stream(BaseCommand):
    help = (
        "Write the audit events and seals that are not in the stream yet (OPTIN_AUDIT_STREAM). "
        "Workers and send_due do this by themselves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--follow", action="store_true", help="Then wait for more, until it is stopped."
        )
        parser.add_argument(
            "--from",
            dest="first",
            metavar="ID",
            help="First move the stream to the event with this id, or to the next new one: now.",
        )

    def handle(self, *args: Any, follow: bool, first: str | None, **options: Any) -> None:
        if not conf.audit_stream:
            raise CommandError("OPTIN_AUDIT_STREAM is not set.")
        if first:
            self._begin(first)
        stopping = threading.Event()

        def stop(signum: int, frame: FrameType | None) -> None:
            stopping.set()  # after this batch: it would be written twice otherwise

        if follow:
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
        while True:
            written = audit_stream.write_due(seconds=1 if follow else _FOR_EVER)
            if not follow:
                break
            if stopping.is_set() or (not written.lines and stopping.wait(1)):
                return
        # The lines may be on the standard output.
        self.stderr.write(f"Wrote {written.lines} lines.", self.style.SUCCESS)
        if written.fault:
            raise CommandError(f"The audit stream could not be written: {written.fault}.")

    def _begin(self, first: str) -> None:
        if first != "now" and not (first.isdecimal() and len(first) < 19):
            raise CommandError("--from takes the id of an event, or now.")
        try:
            audit_stream.begin(None if first == "now" else int(first))
        except TimeoutError:
            raise CommandError("A transaction that adds events stays open. Try again.") from None


class Command(GroupCommand):
    help = "Write the audit stream; verify_audit checks the trail."
    acts = {"stream": Stream}
