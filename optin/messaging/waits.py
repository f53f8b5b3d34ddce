"""How long texts usually take, by the last receipts of their gateway (G-10)."""

from datetime import datetime, timedelta
from statistics import median

from optin import gateways, keys, phones
from optin.models import GatewayHealth, ProviderUser, SmsMessage
from optin.models.messages import State

LOOKS_BACK = timedelta(hours=1)

_RECEIPTS = 100
"""Receipts that are read, at most: the newest."""

_ENOUGH = 10
"""Fewer receipts say nothing."""


def expected(
    text: SmsMessage, number: ProviderUser, now: datetime, *, open_to_anybody: bool
) -> timedelta | None:
    """Return how long *text* to *number* may take, or nothing if too little is known.

    :param open_to_anybody: whether a stranger may have asked for it. Then it is the gateway that
        would take it now, sent or withheld: which one did take it would tell them apart (S-38).
    """
    if text.gateway and not open_to_anybody:
        return usual(text.gateway, now)
    try:
        region = phones.region_of(number.open_number())
    except keys.UndecryptableError:
        return None  # no gateway can be handed it
    health = GatewayHealth.objects.all_known()
    able = (
        each.name
        for each in gateways.for_region(region)
        if each.name not in health or not health[each.name].is_tripped(now)
    )
    gateway = next(able, "")
    return usual(gateway, now) if gateway else None


def usual(gateway: str, now: datetime) -> timedelta | None:
    """Return the median time from the gateway's answer to its receipt."""
    delivered = SmsMessage.objects.filter(
        gateway=gateway,
        state=State.DELIVERED,
        created_at__gt=now - LOOKS_BACK,
        sent_at__isnull=False,
        delivered_at__isnull=False,
    )
    times = delivered.order_by("-created_at").values_list("sent_at", "delivered_at")[:_RECEIPTS]
    # The receipt may have come before the gateway's answer.
    took = [max((came - sent).total_seconds(), 0) for sent, came in times if sent and came]
    return timedelta(seconds=median(took)) if len(took) >= _ENOUGH else None
