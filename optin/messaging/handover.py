"""Hand one text to a gateway, and record the try.

Which gateways are asked, in which order and for how long is here. What becomes of the text after
the try is in ``delivery``; how to talk to a gateway is in ``gateways``.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from optin import gateways
from optin.conf import conf
from optin.events import News
from optin.gateways import Fate, Gateway, Receipt, Report, Sandbox, SmsError, Text
from optin.models import GatewayHealth, GatewayTry, PendingOtp, SmsMessage
from optin.models.messages import CARRIER, State
from optin.runtime import metrics

logger = logging.getLogger("optin.messaging.delivery")  # operators know this name

_SHORTEST = 0.5  # seconds: with less left, no further gateway is asked

NEWS_FOR = 86_400
"""Seconds for which a text without a code, or a mail, is tried."""


def gateways_to_try(
    message: SmsMessage, region: str, patience: float, health: Mapping[str, GatewayHealth]
) -> Iterator[tuple[Gateway, float]]:
    """The gateways for *message* to a number of *region*, in their order, and the seconds for each.

    For a test account it is the sandbox, and no other.

    Those that fail at the moment are left out. One that hangs must leave time for the
    next, so each but the last may take half of what is left.
    """
    if message.provider_user.user.is_test:
        yield (
            Sandbox(lambda receipt: keep(message, Sandbox.name, receipt, timezone.now())),
            patience,
        )
        return
    ends = time.monotonic() + patience
    now = timezone.now()
    able = [
        gateway
        for gateway in gateways.for_region(region)
        if gateway.name not in health or not health[gateway.name].is_tripped(now)
    ]
    for gateway in able:
        left = ends - time.monotonic()
        if left < _SHORTEST:
            return
        known = health.get(gateway.name)
        if known is None or known.claim_trial(timezone.now()):
            yield gateway, min(gateways.TIMEOUT, left if gateway is able[-1] else left / 2)


def for_gateway(
    gateway: Gateway, text: Text, message: SmsMessage, region: str, seconds: float, now: datetime
) -> Text:
    """Return *text* as this gateway is handed it now."""
    return replace(
        text,
        sender=dict(conf.senders).get(region, ""),
        valid_for=_valid_for(message.pending_otp, now),
        receipt_url=receipt_url(gateway, message.reference),
        patience=seconds,
    )


def hand_over(gateway: Gateway, message: SmsMessage, text: Text) -> GatewayTry:
    """Give the text to *gateway*, and record what came of it."""
    made = GatewayTry(message=message, gateway=gateway.name, at=timezone.now())
    begun = time.perf_counter()
    _give(gateway, text, made)
    metrics.GATEWAYS.labels(gateway.name, made.fate).observe(time.perf_counter() - begun)
    now = timezone.now()
    with transaction.atomic():
        made.insert()
        if made.fate in {Fate.TRY_ANOTHER, Fate.UNKNOWN}:
            GatewayHealth.objects.failed(gateway.name, now)
        elif gateway.name == gateways.Simulator.name:
            GatewayHealth.objects.tried(gateway.name)
        else:
            GatewayHealth.objects.worked(gateway.name)
        if made.fate == Fate.ACCEPTED:
            message.taken(
                sent_at=now,
                gateway=gateway.name,
                gateway_message_id=made.gateway_message_id,
                segments=1,
                cost=gateway.price,
            )
    return made


def _give(gateway: Gateway, text: Text, made: GatewayTry) -> None:
    """Give the text to *gateway*; note in *made* what came of it."""
    try:
        theirs = gateway.send(text)
        made.fate, made.gateway_message_id = Fate.ACCEPTED, gateways.kept_id(theirs, text)
    except SmsError as exc:
        made.fate = exc.fate if isinstance(exc.fate, Fate) else Fate.UNKNOWN
        made.reason = str(exc)[:200]
    except Exception as exc:
        # A bug there must not keep the next gateway from its turn.
        logger.error("the gateway %s failed: %s", gateway.name, type(exc).__name__)
        made.fate, made.reason = Fate.UNKNOWN, type(exc).__name__


def keep(message: SmsMessage, gateway: str, receipt: Receipt, now: datetime) -> None:
    """Record with *message* what *gateway* reports of it; see ``receipts.take``."""
    rows = SmsMessage.objects.filter(pk=message.pk)
    if receipt.report is Report.DELIVERED:
        state = State.DELIVERED
        changed = rows.exclude(state=state).update(
            state=state, delivered_at=now, gateway=gateway, reason=""
        )
    elif receipt.report in {Report.FAILED, Report.OPTED_OUT}:
        state = State.FAILED
        held = rows.filter(state__in=[State.SENDING, State.SENT], gateway=gateway)
        reason = f"{CARRIER}{receipt.reason or receipt.report}"
        why = "opted_out" if receipt.report is Report.OPTED_OUT else "not_delivered"
        with transaction.atomic():
            changed = held.update(state=state, reason=reason[:200])
            if changed:
                message.tell(News.TEXT_FAILED, why, now)
    else:
        return
    if changed:
        metrics.TEXTS.labels(gateway, state.value).inc()


def _valid_for(pending: PendingOtp | None, now: datetime) -> int:
    """Seconds for which the text is of use, once the gateway has taken its time to answer."""
    if pending is None:
        return NEWS_FOR
    return int((pending.expires_at - now).total_seconds()) - gateways.TIMEOUT


def receipt_url(gateway: Gateway, reference: str) -> str:
    """Return where *gateway* reports of the text called *reference*; "" without receipts."""
    if not conf.receipt_secret:
        return ""
    address = f"{conf.base_url}/receipts/{gateway.name}/{conf.receipt_secret}"
    return f"{address}?reference={reference}"
