"""Ask whether the SIM of a number was swapped, before a code is texted to it.

The service asks before the transaction that decides. The decision reads only the stored answer
(``models.SimAnswer``).
"""

import logging
import time
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from optin import keys, limits
from optin.causes import Why
from optin.conf import CLOCK_SLACK, conf
from optin.conf.sim_swaps import ENFORCE, OFF, REFUSE
from optin.gateways import sim_swap
from optin.gateways.sim_swap import PATIENCE, SimUnknown
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    GatewayHealth,
    Notice,
    ProviderUser,
    Purpose,
    SimAnswer,
    User,
)
from optin.models.messages import SIM_SWAPS
from optin.operations.factors import read_locked, record
from optin.operations.sending import Sending
from optin.origin import Origin
from optin.outcomes import SendOutcome
from optin.runtime import metrics

logger = logging.getLogger(__name__)

KEPT = timedelta(minutes=5)
"""How long an answer counts for further texts."""

ASK_AGAIN = timedelta(minutes=1)
"""How long to wait with the next text if the provider gave no answer (``TRIPPED_FOR``)."""

_HOUR = timedelta(hours=1)


def ask(user: User, *, origin: Origin, at_page: bool = False) -> None:
    """Ask about the active number of *user*, unless the last answer is younger than ``KEPT``.

    Call it outside a transaction, before the one that decides about a text: it waits for the
    network. If the provider fails, nothing is stored. The provider is not asked if no text would
    leave, or about a number that was verified less than an hour ago: it counts in hours.

    :param at_page: the password was right on the sign-in page, where people with another factor
        get a text only if they ask for it.
    """
    now = timezone.now()
    if conf.sim_swap == OFF or user.is_test or user.own.bars(now):
        return
    if at_page and not user.text_first and any(ProviderUser.objects.others_of(user)):
        return
    number = ProviderUser.objects.filter(user=user, confirmed=True, suspended_at=None).first()
    if number is None or not (hours := _hours(number, now)):
        return
    if (known := SimAnswer.objects.of(number)) and now < known.asked_at + KEPT:
        return
    try:
        mobile = number.open_number()
    except keys.UndecryptableError:
        return  # no text leaves either
    begun = time.perf_counter()
    try:
        swapped = _answer(mobile, hours, now)
        said = "swapped" if swapped else "not_swapped"
        _keep(number, swapped, origin)
    except SimUnknown as exc:
        logger.warning("It is not known whether a SIM was swapped: %s", exc)
        said = "unknown"
        if not exc.is_fault:
            _keep(number, None, origin)
    metrics.SIM_SWAPS.labels(said).observe(time.perf_counter() - begun)


def judge(
    number: ProviderUser, purpose: str, now: datetime
) -> tuple[Sending | None, dict[str, str]]:
    """Return the refusal of a text to the active *number*, or None and data for its event.

    Call it under the lock of the user. The clocks of two servers may differ, so an answer counts a
    little longer here than in ``ask``.
    """
    if conf.sim_swap == OFF or number.user.is_test or not _hours(number, now - CLOCK_SLACK):
        return None, {}
    known = SimAnswer.objects.of(number)
    enforced = conf.sim_swap == ENFORCE
    if known and known.is_swapped(now):
        if known.lets_through(purpose, now):
            return None, {"sim": "let_through"}
        if not enforced:
            return None, {"sim": "swapped"}
        data = {"rule": Why.SIM_SWAPPED.value}
        return Sending(SendOutcome.FACTOR_DISABLED, data=data), {}
    if known and known.is_known and now < known.asked_at + KEPT + CLOCK_SLACK:
        return None, {}
    if not (enforced and conf.sim_swap_unknown == REFUSE):
        return None, {"sim": "unknown"}
    data = {"rule": Why.SIM_UNKNOWN.value}
    return Sending(SendOutcome.SEND_LIMIT, retry_after=ASK_AGAIN, data=data), {}


def _hours(number: ProviderUser, now: datetime) -> int:
    """Return how many hours the provider looks back: to the verification of *number* at most."""
    verified_at = number.taken_over_at or number.verified_at
    since = (now - verified_at) // _HOUR if verified_at else 0
    return max(min(conf.sim_swap_hours, since), 0)


def _answer(number: str, hours: int, now: datetime) -> bool:
    """Ask the provider.

    :raises SimUnknown: if there is no answer.
    """
    health = GatewayHealth.objects.filter(gateway=SIM_SWAPS).first()
    if health and health.is_tripped(now):
        raise SimUnknown("the provider failed 3 times in a row, and is not asked for a minute")
    if not limits.reserve_sim_swap(now):
        raise SimUnknown("the budget of questions is used up")
    if health and not health.claim_trial(now):
        raise SimUnknown("the provider failed, and only one question tries it again")
    is_fault = False
    try:
        return sim_swap.provider().swapped(number, hours=hours, patience=PATIENCE)
    except SimUnknown as exc:
        is_fault = exc.is_fault
        raise
    except Exception as exc:
        # A bug there must not keep anybody from signing in. Its words may hold the number.
        is_fault = True
        raise SimUnknown(f"the provider failed: {type(exc).__name__}") from None
    finally:
        with transaction.atomic(durable=True):
            if is_fault:
                GatewayHealth.objects.failed(SIM_SWAPS, timezone.now())
            else:
                GatewayHealth.objects.worked(SIM_SWAPS)


def _keep(asked: ProviderUser, swapped: bool | None, origin: Origin) -> None:
    """Store the answer about the number *asked*. Record a new "swapped", and mail the person.

    With ``observe`` there is no mail: texts still leave.

    :param swapped: None if the provider does not know the number: an earlier "swapped" stands.
    """
    with transaction.atomic(durable=True):
        factors = read_locked(asked.user, Purpose.SIGN_IN)
        number, now = factors.number, factors.now
        if number is None or number.pk != asked.pk:
            return  # it was removed meanwhile
        answer = SimAnswer.objects.of(number) or SimAnswer(number=number, swapped_until=now)
        is_new = bool(swapped) and not answer.is_swapped(now)
        answer.asked_at, answer.is_known = now, swapped is not None
        if is_new:
            answer.swapped_until = now + timedelta(hours=conf.sim_swap_hours)
        elif swapped is False:
            answer.swapped_until, answer.let_through_until = now, None
        answer.save()
        if is_new and conf.sim_swap == ENFORCE:
            delivery.notify(factors.user, Notice.Kind.SIM_SWAPPED, now, number)
        if is_new:
            data = {"swapped_until": answer.swapped_until.isoformat()}
            record(AuditEvent.Kind.SIM, "swapped", factors, number, origin, data=data)
