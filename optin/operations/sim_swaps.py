"""Ask whether the SIM of a number was swapped, before a code is texted to it.

The service asks before the transaction that decides. That transaction stores the answer, and
decides by what is stored.
"""

import logging
import time
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from optin import keys, limits
from optin.causes import Why
from optin.conf import CLOCK_SLACK, conf
from optin.conf.sim_swaps import ENFORCE, OFF, REFUSE
from optin.database import Param, Select, run
from optin.gateways import sim_swap
from optin.gateways.sim_swap import PATIENCE, SimUnknown
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    GatewayHealth,
    Notice,
    Passkey,
    ProviderUser,
    SimAnswer,
    User,
)
from optin.models.factors import kinds_of
from optin.models.messages import SIM_SWAPS
from optin.operations.factors import Factors, record
from optin.operations.sending import Sending
from optin.origin import Origin
from optin.outcomes import SendOutcome
from optin.passkeys import rp_id
from optin.runtime import metrics

logger = logging.getLogger(__name__)

KEPT = timedelta(minutes=5)
"""How long an answer counts for further texts."""

ASK_AGAIN = timedelta(minutes=1)
"""How long to wait with the next text if the provider gave no answer (``TRIPPED_FOR``)."""

_HOUR = timedelta(hours=1)


class Sim(StrEnum):
    """What is known of the SIM that would get a text. The event of the text stores it."""

    SAME = ""  # or nobody needs to know
    SWAPPED = "swapped"
    LET_THROUGH = "let_through"  # swapped, but staff let a sign-in through
    UNKNOWN = "unknown"


def ask(user: User, *, at_page: bool = False) -> SimAnswer | None:
    """Ask about the active number of *user*; return the answer, if there is one, for ``keep``.

    Call it outside a transaction, before the one that decides about a text: it waits for the
    network. The provider is not asked within ``KEPT`` after its last answer, if no text would
    leave, or about a number that was verified less than an hour ago: it counts in hours.

    :param at_page: the password was right on the sign-in page, where people with another factor
        get a text only if they ask for it.
    """
    now = timezone.now()
    if conf.sim_swap == OFF or user.is_test or user.own.bars(now):
        return None
    numbers, health = run([_NUMBER.bind(user_id=user.pk, rp_id=rp_id()), _HEALTH.bind()])
    number = next(iter(numbers), None)
    if not number or (at_page and (number.app or number.passkey) and not user.text_first):
        return None
    hours, known = _hours(number, now), SimAnswer.of(number)
    if not hours or (known and now < known.asked_at + KEPT):
        return None
    try:
        mobile = number.open_number()
    except keys.UndecryptableError:
        return None  # no text leaves either
    begun, is_fault = time.perf_counter(), False
    try:
        said = "swapped" if _is_swapped(mobile, hours, health, now) else "not_swapped"
    except SimUnknown as exc:
        logger.warning("It is not known whether a SIM was swapped: %s", exc)
        said, is_fault = "unknown", exc.is_fault
    metrics.SIM_SWAPS.labels(said).observe(time.perf_counter() - begun)
    if is_fault:
        return None
    until = now + timedelta(hours=conf.sim_swap_hours) if said == "swapped" else now
    is_known = said != "unknown"
    return SimAnswer(number=number, asked_at=now, is_known=is_known, swapped_until=until)


def keep(answer: SimAnswer | None, factors: Factors, origin: Origin) -> None:
    """Store what ``ask`` returned. Record a new "swapped", and mail the person.

    An earlier "swapped" stands if the provider does not know the number any more. With ``observe``
    there is no mail: texts still leave.
    """
    number, now = factors.number, factors.now
    if not answer or not number or not answer.is_about(number):
        return  # it was removed meanwhile, or verified again
    known = SimAnswer.of(number)
    if known and known.asked_at > answer.asked_at:
        return  # the answer to a later question came first
    is_swapped = answer.is_swapped(now)
    was_swapped = known is not None and known.is_swapped(now)
    if known and was_swapped and (is_swapped or not answer.is_known):
        answer.swapped_until = known.swapped_until
        answer.let_through_until = known.let_through_until
    answer.number = number  # ``SimAnswer.of`` finds it from now on
    answer.keep()
    if is_swapped and not was_swapped:
        if conf.sim_swap == ENFORCE:
            delivery.notify(factors.user, Notice.Kind.SIM_SWAPPED, now, number)
        data = {"swapped_until": answer.swapped_until.isoformat()}
        record(AuditEvent.Kind.SIM, "swapped", factors, number, origin, data=data)


def state(number: ProviderUser, purpose: str, now: datetime) -> Sim:
    """Return what is known of the SIM of the active *number*, which was read under the lock.

    The clocks of two servers may differ, so an answer counts a little longer here than in ``ask``.
    """
    if conf.sim_swap == OFF or number.user.is_test or not _hours(number, now - CLOCK_SLACK):
        return Sim.SAME
    known = SimAnswer.of(number)
    if known and known.is_swapped(now):
        return Sim.LET_THROUGH if known.lets_through(purpose, now) else Sim.SWAPPED
    counts = known and known.is_known and now < known.asked_at + KEPT + CLOCK_SLACK
    return Sim.SAME if counts else Sim.UNKNOWN


def refusal(sim: Sim) -> Sending | None:
    """Return the refusal of a text to such a SIM, if it is refused."""
    if conf.sim_swap != ENFORCE:
        return None
    if sim is Sim.SWAPPED:
        return Sending(SendOutcome.FACTOR_DISABLED, data={"rule": Why.SIM_SWAPPED.value})
    if sim is Sim.UNKNOWN and conf.sim_swap_unknown == REFUSE:
        data = {"rule": Why.SIM_UNKNOWN.value}
        return Sending(SendOutcome.SEND_LIMIT, retry_after=ASK_AGAIN, data=data)
    return None


def _hours(number: ProviderUser, now: datetime) -> int:
    """Return how many hours the provider looks back: to the verification of *number* at most."""
    verified_at = number.taken_over_at or number.verified_at
    since = (now - verified_at) // _HOUR if verified_at else 0
    return max(min(conf.sim_swap_hours, since), 0)


def _is_swapped(number: str, hours: int, health: list[GatewayHealth], now: datetime) -> bool:
    """Ask the provider.

    :param health: has one row if the provider ever failed.
    :raises SimUnknown: if there is no answer.
    """
    if any(one.is_tripped(now) for one in health):
        raise SimUnknown("the provider failed 3 times in a row, and is not asked for a minute")
    if not limits.reserve_sim_swap(now):
        raise SimUnknown("the budget of questions is used up")
    if not all(one.claim_trial(now) for one in health):
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
        if is_fault:
            with transaction.atomic(durable=True):
                GatewayHealth.objects.failed(SIM_SWAPS, timezone.now())
        elif any(one.failures for one in health):
            GatewayHealth.objects.worked(SIM_SWAPS)


_NUMBER = Select(
    lambda: (
        ProviderUser._base_manager.filter(
            user=Param("user_id", ProviderUser, "user"), confirmed=True, suspended_at=None
        )
        .select_related("sim_answer")
        .annotate(
            app=kinds_of("user")["app"],
            passkey=Exists(
                Passkey._base_manager.filter(user=OuterRef("user"), rp_id=Param("rp_id", Passkey))
            ),
        )
    )
)
_HEALTH = Select(lambda: GatewayHealth.objects.filter(gateway=SIM_SWAPS))
