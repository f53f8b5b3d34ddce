from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from optin.management.commands import BaseCommand
from tools import guesses


class GuessBudget(BaseCommand):
    help = (
        "Print how many guesses at the codes of one account the settings in force let through, and "
        "the chance that one is right. It assumes the worst: the guesser knows the password, and "
        "the owner signs in daily."
    )

    # They stop the start above a bound: then somebody wants to see why.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        for setting in guesses.COUNTED:
            if fault := setting.fault(getattr(settings, setting.name)):
                raise CommandError(f"{setting.name} {fault}.")
        line = "{:<10} {:>10} {:>10} {:>12} {:>18}".format
        self.stdout.write(line("codes", "an hour", "a day", "a year", "chance in a year"))
        for row in guesses.budget():
            name = guesses.NAMES[row.kind]
            self.stdout.write(line(name, row.hour, row.day, row.year, guesses.percent(row.chance)))
