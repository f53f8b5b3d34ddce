from typing import Any

from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import email_changes, own_removals, revocations


class Command(BaseCommand):
    help = (
        "Carry out the revocations and the changes of e-mail addresses that nobody cancelled, and "
        "remind people of the removals that they asked for. Run it each minute."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        own_removals.remind(origin=ORIGIN)
        carried = revocations.carry_out(origin=ORIGIN)
        self.stdout.write(f"Carried out {carried.out}, called off {carried.off}.")
        changed = email_changes.carry_out(origin=ORIGIN)
        self.stdout.write(f"E-mail addresses: changed {changed.out}, called off {changed.off}.")
