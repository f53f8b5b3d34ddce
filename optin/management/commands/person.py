import sys
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from optin.conf import conf
from optin.errors import Refusal
from optin.gateways import Simulator
from optin.management.commands import (
    ORIGIN,
    GroupCommand,
    MendingCommand,
    acts_of,
)
from optin.messaging import delivery
from optin.models import ProviderUser
from optin.operations import opt_ins, people
from optin.outcomes import CodeOutcome


class EndTrial(MendingCommand):
    """Numbers of a trial are refused by a check (optin.E305)."""

    help = (
        "End a trial, once OPTIN_GATEWAYS names a real gateway: remove the numbers that got their "
        "codes from the simulator, and ask for real ones of staff."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if Simulator.name in conf.gateways:
            raise CommandError("The trial goes on: OPTIN_GATEWAYS has the simulator.")
        ended = people.end_trial(origin=ORIGIN)
        for number in ended:
            name = number.user.get_username()
            self.stdout.write(f"{name}: the number of the trial was removed.")
            if not (number.user.is_staff and sys.stdin.isatty() and self._is_replaced(number)):
                self.stdout.write(f"{name} signs in with the password, and gives a number then.")

    def _is_replaced(self, old: ProviderUser) -> bool:
        """Ask for a number, and for the code that is texted to it."""
        given = input(f"Mobile number of {old.user.get_username()} (empty: later): ").strip()
        if not given:
            return False
        try:
            sent = opt_ins.opt_in(old.user, old.file, given, origin=ORIGIN)
            if sent.provider_user_id is None:
                self.stdout.write(f"No text was sent: {sent.outcome}.")
                return False
            delivery.send_due(timezone.now())  # no worker runs yet
            code, number_id = input("The code that arrived: "), sent.provider_user_id
            judged = opt_ins.verify_opt_in(old.user, old.file, number_id, code, origin=ORIGIN)
        except Refusal as exc:
            self.stdout.write(exc.message)
            return False
        self.stdout.write(f"The code: {judged.outcome}.")
        return judged.outcome is CodeOutcome.OK


class Command(GroupCommand):
    help = "Make a person, end their access or a lock, remove their second factors, or erase them."
    acts = {**acts_of("person"), "end-trial": EndTrial}
