from typing import Any

from optin.management.commands import ORIGIN, BaseCommand
from optin.operations import revocations


class Command(BaseCommand):
    help = (
        "Carry out the revocations that support asked for and nobody cancelled. Run it each minute."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        carried = revocations.carry_out(origin=ORIGIN)
        self.stdout.write(f"Carried out {carried.out}, called off {carried.off}.")
