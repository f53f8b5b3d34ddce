"""How long a number waits for its next text.

The waits follow from the texts that are stored, without a counter of their own.
"""

from datetime import datetime, timedelta

from optin.conf import conf
from optin.limits.counters import Refused
from optin.limits.rules import Rule
from optin.models import PendingOtp, Purpose, SmsMessage
from optin.models.messages import State

SERIES_ENDS_AFTER = timedelta(minutes=10)
"""So long after the last text to a number its waits start from the first again."""


def resend_wait(
    number_digest: str, purpose: Purpose, now: datetime, user_id: int | None = None
) -> Refused | None:
    """Say how long the number must wait for its next text for *purpose*, if it must.

    :param user_id: count only the texts of this user, and withheld ones too: the user does not know
        that they were withheld.
    """
    waits = conf.resend_wait
    found = SmsMessage.objects.filter(
        pending_otp__provider_user__number_digest=number_digest, pending_otp__purpose=purpose
    )
    if user_id is None:
        found = found.exclude(state=State.WITHHELD)
    else:
        found = found.filter(pending_otp__provider_user__user=user_id)
    texts = found.order_by("-id")[: len(waits)]
    newest: datetime | None = None
    length, later = 0, now
    for sent_at, closed_as in texts.values_list("created_at", "pending_otp__closed_as"):
        if later - sent_at >= SERIES_ENDS_AFTER or closed_as == PendingOtp.Closed.VERIFIED:
            break
        newest = newest or sent_at
        length, later = length + 1, sent_at
    if newest is None:
        return None
    wait = timedelta(seconds=waits[length - 1])
    # A clock that jumped back must not stretch the wait.
    left = min(newest + wait - now, wait)
    return Refused(Rule.RESEND_WAIT, length, length, left) if left > timedelta(0) else None
