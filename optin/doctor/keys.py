"""The keys and the seals: they fit the database."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.utils import timezone

from optin import keys
from optin.audit import integrity
from optin.conf import conf
from optin.doctor.findings import Finding, fault, skipped
from optin.models import AuthenticatorApp, ProviderUser
from optin.support.wording import section

Row = TypeVar("Row", bound=Model)

_KEYS, _TRAIL = section("run", "Keys"), section("audit-trail", "The audit trail")

SAMPLE = 5
"""Rows of each kind that are decrypted: the newest ones and the oldest."""


def fit() -> Iterator[Finding]:
    """They are those of the database, and open the oldest and newest numbers and apps."""
    numbers = _sample(ProviderUser.objects.select_related("user"))
    apps = _sample(AuthenticatorApp.objects.all())
    closed: list[Model] = [row for row in numbers if not _opens(row)]
    closed += [app for app in apps if not app.opens()]
    opened = [row for row in numbers if row not in closed]
    lost = [row for row in opened if not _is_found(row)]
    if closed:
        yield fault(
            f"{len(closed)} of {len(numbers) + len(apps)} sampled rows cannot be decrypted: "
            f"{', '.join(map(str, closed[:3]))}.",
            do=f"Put the key that is missing back into the ring. {_KEYS}",
        )
    if lost:
        yield fault(
            f"{len(lost)} sampled numbers are not found by OPTIN_DIGEST_KEY: "
            f"{', '.join(map(str, lost[:3]))}.",
            do=_KEYS,
        )


def _sample(rows: QuerySet[Row]) -> list[Row]:
    newest, oldest = rows.order_by("-pk")[:SAMPLE], rows.order_by("pk")[:SAMPLE]
    return list({row.pk: row for row in (*newest, *oldest)}.values())


def _opens(row: ProviderUser) -> bool:
    try:
        row.open_number()
    except keys.UndecryptableError:
        return False
    return True


def _is_found(row: ProviderUser) -> bool:
    return ProviderUser.digest_of(row.open_number(), row.user) == row.number_digest


def newest_seal() -> Iterator[Finding]:
    """The newest seal, its events and those after it are unchanged. For all, run
    `verify_audit`."""
    tally = integrity.Tally()
    kept = timedelta(days=conf.audit_retention)
    found = list(integrity.verify_newest(timezone.now(), tally, kept=kept))
    for one in found:
        if one.unchecked:
            yield skipped(f"{one.text}.")
        else:
            yield fault(
                f"The audit trail was changed: {one.text}.",
                seen=f"{tally.events} newest events, and their seal, were checked.",
                do=f"Run manage verify_audit, and compare with copies of the seals. {_TRAIL}",
            )
