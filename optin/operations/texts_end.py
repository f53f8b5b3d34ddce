"""The day on which texts, the weakest second factor, end in a file.

From that day, the file takes a new number only from people who have another second factor. Numbers
from before keep working. From ``NOTICE`` before the day, people who have nothing else are asked to
add another factor.
"""

from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone

from optin.errors import PastDay, Strands
from optin.models import AuditEvent, File, ProviderUser, User
from optin.models.reasons import fit_reason
from optin.models.second_factors import SecondFactors
from optin.operations import invitations
from optin.origin import Origin
from optin.outcomes import StaffOutcome

NOTICE = timedelta(days=28)
"""How long before the day people are first asked to add another factor."""


def set_day(file: File, day: date | None, *, reason: str, origin: Origin) -> StaffOutcome:
    """From *day* on, let *file* take a new number only from people with another second factor.

    A later day than the present one is always accepted.

    :param day: None for never.
    :raises PastDay: if the day is in the past.
    :raises Strands: if members with texts only have no password, or would have less than
        ``NOTICE``.
    """
    today = timezone.localdate()
    if day and day < today:
        raise PastDay
    with transaction.atomic(durable=True):
        old = File.objects.select_for_update(no_key=True).get(pk=file.pk).texts_end_on
        if day and (old is None or day < old):
            _refuse_to_strand(file, day, today)
        return put_day(file, day, reason=reason, origin=origin)


def put_day(file: File, day: date | None, *, reason: str, origin: Origin) -> StaffOutcome:
    """``set_day`` without its checks, in the transaction of the caller."""
    if not File.objects.filter(pk=file.pk).exclude(texts_end_on=day).update(texts_end_on=day):
        return StaffOutcome.UNCHANGED
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
    if file is None:
        return None
    others = SecondFactors(user, None, *ProviderUser.objects.others_of(user))
    return None if others.works_without_texts else file
