"""The way off texts, the weakest second factor: the day on which a file stops taking them alone.

From that day, a number is opted in only beside another second factor. Numbers from before go on.
People who have nothing else are led to another factor from ``NOTICE`` before the day.
"""

from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone

from optin.errors import PastDay, Strands
from optin.models import AuditEvent, File, ProviderUser, User
from optin.models.reasons import fit_reason
from optin.operations import invitations
from optin.origin import Origin
from optin.outcomes import StaffOutcome

NOTICE = timedelta(days=28)
"""From the first time that people are led to another factor to the day."""


def set_day(file: File, day: date | None, *, reason: str, origin: Origin) -> StaffOutcome:
    """Let *file* take a new number only beside another second factor, from *day* on.

    :param day: None for never.
    :raises PastDay: if it is over.
    :raises Strands: unless it is later than the present one: while members with texts only have no
        password, or would have less than ``NOTICE``.
    :raises UnfitReason: without a reason, or with one of over 500 characters.
    """
    today = timezone.localdate()
    if day and day < today:
        raise PastDay
    with transaction.atomic(durable=True):
        old = File.objects.select_for_update(no_key=True).get(pk=file.pk).texts_end_on
        if day == old:
            return StaffOutcome.UNCHANGED
        if day and (old is None or day < old):
            _refuse_to_strand(file, day, today)
        File.objects.filter(pk=file.pk).update(texts_end_on=day)
        AuditEvent.objects.record(
            AuditEvent.Kind.FILE,
            "texts_end" if day else "texts_stay",
            origin=origin,
            file_id=file.pk,
            reason=fit_reason(reason),
            data={"day": day.isoformat()} if day else None,
        )
    return StaffOutcome.OK


def _refuse_to_strand(file: File, day: date, today: date) -> None:
    found = invitations.progress(file)
    if found["stranded"]:
        raise Strands(found["stranded"])
    if found["texts_only"] and day < today + NOTICE:
        raise Strands(found["texts_only"], today + NOTICE)


def near(user: User) -> File | None:
    """Return the first file of *user* for which they should add another factor now, if any."""
    soon = File.objects.open_to(user).filter(texts_end_on__lte=timezone.localdate() + NOTICE)
    file = soon.order_by("texts_end_on", "pk").first()
    return None if file is None or ProviderUser.objects.beyond_texts(user) else file
