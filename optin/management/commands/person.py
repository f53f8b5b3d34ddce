from typing import Any

from django.core.management.base import CommandError

from optin.conf import conf
from optin.gateways import Simulator
from optin.management.commands import (
    ORIGIN,
    GroupCommand,
    MendingCommand,
    acts_of,
)
from optin.models.factors import has_active_factor
from optin.operations import people


class EndTrial(MendingCommand):
    """Numbers of a trial are refused by a check (optin.E305)."""

    help = (
        "End a trial, once OPTIN_GATEWAYS names a real gateway: remove the numbers that got their "
        "codes from the simulator."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if Simulator.name in conf.gateways:
            raise CommandError("The trial goes on: OPTIN_GATEWAYS has the simulator.")
        for number in people.end_trial(origin=ORIGIN):
            said = f"{number.user.get_username()}: the number of the trial was removed."
            if not has_active_factor(number.user):
                said += " They sign in with the password, and give a number then."
            self.stdout.write(said)


class Command(GroupCommand):
    help = "Make a person, end their access or a lock, remove their second factors, or erase them."
    acts = {**acts_of("person"), "end-trial": EndTrial}
