from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from optin.audit import seals
from optin.conf import conf
from optin.management.commands import BaseCommand
from optin.operations import notary


class Command(BaseCommand):
    help = (
        "Give a note of the newest seals to each place outside that does not have it yet "
        "(OPTIN_NOTARY). Workers and purge do this by themselves, once a day."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not conf.notary:
            raise CommandError("OPTIN_NOTARY is not set.")
        seals.seal(timezone.now())
        given = notary.give_new()
        for one in given:
            if one.fault:
                self.stdout.write(f"{one.place}: {one.fault}.")
            else:
                self.stdout.write(f"{one.place}: given.")
        if not given:
            self.stdout.write("No seal is new: each place has its note.")
        if any(one.fault for one in given):
            raise CommandError("Not every place took its note.")
