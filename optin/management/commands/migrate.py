import time
from importlib import import_module
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from psycopg.errors import DeadlockDetected, LockNotAvailable

from optin.migrations._tables import Together

EARLIER = {("optin", "0001_initial"), ("optin", "0047_trusted_clients")}
"""A database that 0.25.0 or an earlier release made has one of these."""
LAST = ("optin", "0063_names_of_lists")
"""The last of those that the migrations 0001 to 0003 replace, which 0.25.0 has all."""
PAUSE = 1.0
"""Seconds in which the requests that waited behind a migration are answered."""
PATIENCE = 600.0
"""Seconds until ``migrate`` fails: a backup, for example, uses all tables until its end."""


class Command(migrate.Command):
    help = (
        f"{migrate.Command.help} Waits for a table that is in use without making requests wait: "
        "it tries for a moment, again and again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        # It changes labels, and no table. One by one, its operations take a second.
        labels = import_module("oauth2_provider.migrations.0021_translatable_field_labels")
        labels.Migration.operations = [Together(labels.Migration.operations)]
        applied = MigrationRecorder(connection).applied_migrations()
        if EARLIER & applied.keys() and LAST not in applied:
            raise CommandError(
                "The database is older than release 0.25.0: first migrate it with 0.25.0. If it is "
                "older than 0.17.0, migrate it with 0.19.0 before that."
            )
        until = time.monotonic() + PATIENCE
        while True:
            try:
                super().handle(*args, **options)
                return
            except OperationalError as exc:
                in_use = isinstance(exc.__cause__, DeadlockDetected | LockNotAvailable)
                if not in_use or time.monotonic() > until:
                    raise
            if options["verbosity"]:
                self.stdout.write("  A table is in use: trying again.")
            time.sleep(PAUSE)
