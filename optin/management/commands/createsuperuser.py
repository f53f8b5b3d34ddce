from typing import Any

from django.contrib.auth.management.commands import createsuperuser

from optin.management.commands import ORIGIN, Tells, recording
from optin.models import User
from optin.operations import people


class Command(Tells, createsuperuser.Command):
    help = "Make a person who may do everything, and record it in the audit trail."

    def handle(self, *args: Any, **options: Any) -> None:
        with recording(User, lambda person: people.record_made(person, origin=ORIGIN)):
            super().handle(*args, **options)
