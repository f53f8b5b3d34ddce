from typing import Any

from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import email_changes, revocations


class Command(BaseCommand):
    help = (
        "Carry out the revocations that support asked for and the new e-mail addresses that people "
        "asked for, if nobody cancelled them. Run it each minute."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        carried = revocations.carry_out(origin=ORIGIN)
        self.stdout.write(f"Carried out {carried.out}, called off {carried.off}.")
        changed = email_changes.carry_out(origin=ORIGIN)
        self.stdout.write(f"E-mail addresses: changed {changed.out}, called off {changed.off}.")
