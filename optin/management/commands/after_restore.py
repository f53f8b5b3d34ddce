from typing import Any

from optin.management.commands import ORIGIN, MendingCommand
from optin.operations import restore


class Command(MendingCommand):
    """A restored database is refused by a check (optin.E303)."""

    help = (
        "After a restore, while the service is stopped: end all codes, sessions, tokens and links, "
        "and all texts, mails, removals and email addresses that wait."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for what, count in sorted(restore.after_restore(origin=ORIGIN).items()):
            self.stdout.write(f"Ended {what}: {count}")
        self.stdout.write("The service may start.")
