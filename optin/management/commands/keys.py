from typing import Any

from django.core.management.base import CommandError, CommandParser

from optin import keys
from optin.management.commands import ORIGIN, GroupCommand, MendingCommand
from optin.operations import key_rotation
from optin.operations.key_rotation import KeysDoNotFit, Misfit, Rotation, Use

_WHY = {
    Misfit.KEY_MISSING: "a key that this database needs is not in OPTIN_KEYS",
    Misfit.KEY_CHANGED: "a key in OPTIN_KEYS has another value than when this database was written",
    Misfit.DIGEST_KEY: "OPTIN_DIGEST_KEY is not the one that this database was written with",
}
_SHOWN = 20
_ROWS = {
    "numbers": "provider users",
    "apps": "authenticator apps",
    "webhooks": "webhook endpoints",
    "proposed": "accounts",
}


class Rotate(MendingCommand):
    """With a lost key, no check is clean before."""

    help = (
        "Encrypt all numbers, and secrets of apps and webhook endpoints, with the first key of "
        "OPTIN_KEYS, while the service runs, and tell which older keys are still needed. Ends with "
        "0 once none is; until then with 1."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--lost",
            default="",
            metavar="KEY_ID",
            help="A key that is gone for good: what it closed stays closed.",
        )

    def handle(self, *args: Any, lost: str, **options: Any) -> None:
        if lost and keys.has(lost):
            raise CommandError(f"The key {lost} is not lost: it is in OPTIN_KEYS.")
        try:
            done = key_rotation.rotate(origin=ORIGIN, lost=lost, progress=self._progress)
        except KeysDoNotFit as exc:
            reasons = "; ".join(_WHY[misfit] for misfit in exc.misfits)
            raise CommandError(f"Nothing was done: {reasons}.") from None
        self.stdout.write(f"Encrypted with the key {keys.current_id()}: {_count(done.done)}.")
        self._report(done, lost)

    def _progress(self, done: Use) -> None:
        self.stdout.write(f"{_count(done)} so far.")
        self.stdout.flush()

    def _report(self, done: Rotation, lost: str) -> None:
        for use, rows in _ROWS.items():
            if not (left := done.unreadable[use]):
                continue
            ids = ", ".join(str(pk) for pk in left[:_SHOWN])
            more = ", ..." if len(left) > _SHOWN else ""
            self.stderr.write(
                f"{len(left)} {use} open with no key of OPTIN_KEYS and were left as they are; "
                f"{rows} {ids}{more}."
            )
        if needed := done.needed:
            uses = "; ".join(f"{kid} ({_used(use)})" for kid, use in sorted(needed.items()))
            raise CommandError(
                f"Older keys must stay in OPTIN_KEYS for now: {uses}. Codes are over within 10 "
                "minutes; then run this again."
            )
        self.stdout.write(
            f"No other key than {keys.current_id()} is in use: older ones may be removed."
        )


def _used(use: Use) -> str:
    return f"{_count(use)}, {use['codes']} codes on their way"


def _count(use: Use) -> str:
    return ", ".join(f"{use[name]} {name}" for name in _ROWS)


class Command(GroupCommand):
    help = "Encrypt with a new key of OPTIN_KEYS."
    acts = {"rotate": Rotate}
