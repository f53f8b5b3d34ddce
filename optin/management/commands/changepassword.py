from typing import Any

from django.contrib.auth.management.commands import changepassword

from optin.management.commands import ORIGIN, Tells, recording
from optin.models import User
from optin.operations import people


class Command(Tells, changepassword.Command):
    help = "Give a person a password, and record it in the audit trail."

    def handle(self, *args: Any, **options: Any) -> str | None:
        with recording(User, lambda person: people.record_password(person, origin=ORIGIN)):
            return super().handle(*args, **options)
