"""A test text: an operator tries a gateway with a phone of their own.

It has no code and no account, so it is no ``SmsMessage``. The audit trail tells of it: "asked"
before it leaves, "sent" or "failed" after, "delivered" or "undelivered" when its receipt comes.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from optin import gateways, keys
from optin.conf import conf
from optin.gateways import Gateway, Receipt, Report, SmsError, Text
from optin.messaging.handover import receipt_url
from optin.models import AuditEvent, Guard, ProviderUser
from optin.origin import Origin
from optin.phones import MobileNumber

Kind = AuditEvent.Kind

_REFERENCE = re.compile(r"test-([1-9][0-9]{0,17})-[0-9a-f]{20}")
_ENDS = {
    Report.DELIVERED: "delivered",
    Report.FAILED: "undelivered",
    Report.OPTED_OUT: "undelivered",
}
_RECEIPTS_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Trial:
    """A test text that was handed to a gateway."""

    event_id: int
    """The id of the event "asked"."""
    is_sent: bool
    reason: str = ""
    """Why it was not sent, in no words of the gateway."""


def why_not(number: MobileNumber) -> str:
    """Say why no test text may go to *number*; "" if one may."""
    if number.region not in conf.sms_regions:
        return f"OPTIN_SMS_REGIONS does not allow {number.region}."
    if number.is_fiction and not conf.takes_fiction:
        return "Nobody has this number: it is for films and books."
    if Guard.objects.is_stopped():
        return "All texts are stopped."
    if Guard.objects.has_opted_out(ProviderUser.digest_of(number.e164)):
        return "STOP came from this number."
    return ""


def send(number: MobileNumber, gateway: Gateway, *, origin: Origin) -> Trial:
    """Send a test text through *gateway*, and record it. First ask ``why_not``."""
    asked = _record("asked", number, {"gateway": gateway.name}, origin)
    reference = _reference(asked.pk)
    text = Text(
        to=number.e164,
        body=f"{conf.service_name}: this is a test. Nobody asked for a code.",
        reference=reference,
        sender=dict(conf.senders).get(number.region, ""),
        receipt_url=receipt_url(gateway, reference),
    )
    facts: dict[str, Any] = {"gateway": gateway.name, "test": asked.pk}
    try:
        theirs = gateway.send(text)
    except SmsError as exc:
        reason = str(exc)[:200]
    except Exception as exc:  # a bug of that gateway; its words may hold the number
        reason = f"{type(exc).__name__} in the gateway's module"
    else:
        facts["message_id"] = gateways.kept_id(theirs, text)
        _record("sent", number, facts, origin)
        return Trial(asked.pk, True)
    _record("failed", number, facts | {"reason": reason}, origin)
    return Trial(asked.pk, False, reason)


def take(gateway: str, receipt: Receipt, now: datetime, origin: Origin) -> bool:
    """Record what *gateway* reports of a test text; return whether it is about one."""
    event_id = _named(receipt, now)
    if event_id is None:
        return False
    asked = AuditEvent.objects.filter(pk=event_id, kind=Kind.TEST_TEXT).first()
    if asked is None or asked.data.get("gateway") != gateway:
        return False
    outcome = _ENDS.get(receipt.report)
    if outcome and outcome_of(asked.pk) != outcome:
        with transaction.atomic():
            AuditEvent.objects.record(
                Kind.TEST_TEXT,
                outcome,
                now=now,
                origin=origin,
                number_digest=asked.number_digest,
                last_three=asked.last_three,
                data={"gateway": gateway, "test": asked.pk, "reason": receipt.reason[:200]},
            )
    return True


def outcome_of(event_id: int) -> str:
    """Return what the newest receipt says of the text: "delivered", "undelivered", or "" yet."""
    later = AuditEvent.objects.led_by("kind", Kind.TEST_TEXT, above=event_id)
    told = later.filter(outcome__in=_ENDS.values(), data__test=event_id).first()
    return told.outcome if told else ""


def _record(
    outcome: str, number: MobileNumber, data: Mapping[str, Any], origin: Origin
) -> AuditEvent:
    with transaction.atomic(durable=True):
        return AuditEvent.objects.record(
            Kind.TEST_TEXT,
            outcome,
            origin=origin,
            number_digest=ProviderUser.digest_of(number.e164),
            last_three=number.last_three,
            data=data,
        )


def _reference(event_id: int) -> str:
    return f"test-{event_id}-{keys.digest('test text', str(event_id))[:20]}"


def _named(receipt: Receipt, now: datetime) -> int | None:
    """Return the id of the event "asked" of the text that *receipt* names."""
    found = _REFERENCE.fullmatch(receipt.reference)
    if found:
        event_id = int(found[1])
        return event_id if hmac.compare_digest(_reference(event_id), receipt.reference) else None
    theirs = receipt.gateway_message_id
    if receipt.reference or not theirs or not theirs.isprintable():
        return None
    sent = AuditEvent.objects.led_by("kind", Kind.TEST_TEXT).filter(outcome="sent")
    sent = sent.filter(at__gt=now - _RECEIPTS_FOR, data__message_id=theirs)
    one = sent.first()
    return one.data["test"] if one else None
