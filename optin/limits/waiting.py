"""How long a number waits for its next text.

The waits follow from the texts that are stored, without a counter of their own.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db.models import F, QuerySet

from optin.conf import CLOCK_SLACK, conf
from optin.limits.counters import Refused
from optin.limits.rules import Rule
from optin.models import PendingOtp, ProviderUser, Purpose, SmsMessage
from optin.models.messages import State
from optin.models.statements import Select, param

SERIES_ENDS_AFTER = timedelta(minutes=10)
"""So long after the last text to a number its waits start from the first again."""


def resend_wait(
    number_digest: str, purpose: Purpose, now: datetime, user_id: int | None = None
) -> Refused | None:
    """Say how long the number must wait for its next text for *purpose*, if it must.

    :param user_id: count only the texts of this user, and withheld ones too: the user does not know
        that they were withheld.
    """
    texts: list[Any] = _texts(len(conf.resend_wait), of_user=user_id is not None).rows(
        number_digest=number_digest, purpose=purpose, user_id=user_id
    )
    verified = PendingOtp.Closed.VERIFIED
    return wait_after(((text.created_at, text.closed_as == verified) for text in texts), now)


def wait_after(texts: Iterable[tuple[datetime, bool]], now: datetime) -> Refused | None:
    """Say how long to wait after *texts*, if at all.

    :param texts: of a number, the newest first, as many as there are waits: when each was sent,
        and whether its code was used.
    """
    waits = conf.resend_wait
    newest: datetime | None = None
    length, later = 0, now
    for sent_at, is_used in texts:
        if sent_at - now > CLOCK_SLACK:
            continue  # the clock was set back since: that must not stretch the wait
        if later - sent_at >= SERIES_ENDS_AFTER or is_used:
            break
        newest = newest or sent_at
        length, later = length + 1, sent_at
    if newest is None:
        return None
    wait = timedelta(seconds=waits[length - 1])
    left = newest + min(wait, SERIES_ENDS_AFTER) - now
    if not wait or left <= timedelta(0):
        return None
    return Refused(Rule.RESEND_WAIT, length, length, left)


@cache
def _texts(count: int, *, of_user: bool) -> Select[SmsMessage]:
    """The last texts to a number for a purpose: not more than *count*, the newest first."""

    def build() -> QuerySet[SmsMessage]:
        found = SmsMessage.objects.filter(
            pending_otp__provider_user__number_digest=param("number_digest", ProviderUser),
            pending_otp__purpose=param("purpose", PendingOtp),
        )
        if of_user:
            user = param("user_id", ProviderUser, "user")
            found = found.filter(pending_otp__provider_user__user=user)
        else:
            found = found.exclude(state=State.WITHHELD)
        told = found.annotate(closed_as=F("pending_otp__closed_as")).only("created_at")
        return told.order_by("-id")[:count]

    return Select(build)
