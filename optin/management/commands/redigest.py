from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from optin.management.commands import ORIGIN, refuse_faulty_keys
from optin.operations import key_rotation
from optin.operations.key_rotation import KeysDoNotFit, StillRunning, Unreadable


class Command(BaseCommand):
    help = "Make all look-up digests anew with a new OPTIN_DIGEST_KEY, while the service is off."
    # The new key is what a check refuses until this command has run.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--offline",
            action="store_true",
            help="Says that every process of the service is stopped, on all machines.",
        )
        parser.add_argument(
            "--leave-unreadable",
            action="store_true",
            help="Go on though some numbers open with no key; nothing will find them any more.",
        )

    def handle(self, *args: Any, offline: bool, leave_unreadable: bool, **options: Any) -> None:
        refuse_faulty_keys()
        if not offline:
            raise CommandError(
                "Stop every process of the service first, on all machines: one that runs on with "
                "the old key finds no number, and could make one active for two people. Then say "
                "so with --offline."
            )
        try:
            done = key_rotation.redigest(origin=ORIGIN, leave_unreadable=leave_unreadable)
        except KeysDoNotFit:
            raise CommandError(
                "Nothing was done: OPTIN_KEYS is not the ring that this database was written "
                "with, so its numbers cannot be read."
            ) from None
        except StillRunning:
            raise CommandError(
                "Nothing was done: the service decided something within the last minute. Stop "
                "it, and run this again a minute later."
            ) from None
        except Unreadable as exc:
            ids = ", ".join(str(pk) for pk in exc.provider_user_ids[:20])
            raise CommandError(
                f"Nothing was done: {exc} with OPTIN_KEYS. The first are those of the provider "
                f"users {ids}. --leave-unreadable goes on without them."
            ) from None
        if done is None:
            self.stdout.write("All digests are made with this OPTIN_DIGEST_KEY already.")
            return
        self.stdout.write(
            f"Made the digests of {done.numbers} numbers anew; {len(done.unreadable)} were left; "
            f"{done.codes_closed} codes on their way ended."
        )
        if not done.checks_older_events:
            self.stdout.write(
                "Put the former key into OPTIN_OLD_DIGEST_KEYS: verify_audit needs it for older "
                "events."
            )
