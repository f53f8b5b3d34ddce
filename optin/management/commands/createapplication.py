from typing import Any

from django.db import transaction
from oauth2_provider.management.commands import createapplication
from oauth2_provider.models import get_application_model

from optin.management.commands import ORIGIN, Tells, recording
from optin.operations import tenants


class Command(Tells, createapplication.Command):
    help = "Make an OAuth application, and record it in the audit trail."

    def handle(self, *args: Any, **options: Any) -> None:
        with (
            transaction.atomic(durable=True),
            recording(
                get_application_model(),
                lambda made: tenants.record_application(made, origin=ORIGIN),
            ),
        ):
            super().handle(*args, **options)
