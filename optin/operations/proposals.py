"""Numbers that another system knows of a person: proposed on the opt-in page.

A proposed number is no second factor and no opt-in, and no text leaves for it. The person opts in
with it or with another one, by a code as everybody does. Then it goes.
"""

from collections.abc import Collection
from datetime import datetime

from optin import phones
from optin.conf import conf
from optin.errors import FictionalNumber, OtherRegion
from optin.models import ProposedNumber, ProviderUser, User
from optin.models.factors import has_factor
from optin.phones import MobileNumber

Source = ProposedNumber.Source


def fit(text: str) -> MobileNumber:
    """Return the mobile number in *text*, which may opt in outside of sandboxes.

    :raises InvalidMobileNumber: if there is none.
    :raises FictionalNumber: if nobody has it.
    :raises OtherRegion: if it is of a region that gets no texts.
    """
    number = phones.parse(text, home_region=conf.sms_regions[0])
    if number.is_fiction and not conf.takes_fiction:
        raise FictionalNumber
    if number.region not in conf.sms_regions:
        raise OtherRegion
    return number


def propose(user: User, e164: str, *, source: Source, now: datetime) -> bool:
    """Propose to *user* the number *e164*, as ``fit`` returns it, in place of an earlier one.

    Call inside a transaction that holds the lock of *user*, and record the event there. Nobody
    is told.

    :returns: whether anything changed. Nothing does for somebody who is ``settled``: they decided
        about their number themselves.
    """
    proposed = ProposedNumber.objects.filter(user=user)
    if settled([user.pk]) or any(row.is_of(e164) for row in proposed):
        return False
    proposed.delete()
    ProposedNumber.of(user, e164, source, now).save(force_insert=True)
    return True


def withdraw(user: User) -> bool:
    """Forget what is proposed to *user*; return whether there was anything. Call as ``propose``."""
    deleted, _ = ProposedNumber.objects.filter(user=user).delete()
    return bool(deleted)


def settled(user_ids: Collection[int]) -> set[int]:
    """Return who of these has a second factor, or has ever had a number here."""
    numbers = ProviderUser.objects.filter(user__in=user_ids).exclude(verified_at=None)
    on = User.objects.filter(has_factor(), pk__in=user_ids)
    return {*numbers.values_list("user_id", flat=True), *on.values_list("pk", flat=True)}
