"""What gateways report of the texts that they took."""

from datetime import datetime, timedelta

from optin import keys, phones, sandbox
from optin.conf import conf
from optin.errors import InvalidMobileNumber
from optin.gateways import Receipt, Report
from optin.gateways.sandbox import Sandbox, receipts_of
from optin.messaging import delivery, trials
from optin.messaging.handover import keep
from optin.models import GatewayTry, SmsMessage
from optin.models.messages import LEASE, State
from optin.origin import Face, Origin

_WISHES = frozenset({Report.OPTED_OUT, Report.OPTED_IN})


class TooEarly(Exception):
    """A receipt for a text that may still be on its way to that gateway."""


def take(gateway: str, receipt: Receipt, now: datetime, origin: Origin) -> bool:
    """Record what a gateway reports of a text; return whether it is one of ours.

    Receipts come late, twice, out of order, and before the gateway's answer. Delivered is
    the last word. Failed counts only for a text that this gateway holds: another may have
    been handed it since. STOP and START count for the number, with or without a text.

    :raises TooEarly: if it names the text by an id that may not be known yet.
    """
    number = _number_in(receipt)
    message = _message_of(gateway, receipt, now, waits=number is None)
    if message:
        keep(message, gateway, receipt, now)
    asks = message.provider_user if message else number
    if asks and receipt.report in _WISHES:
        stop = receipt.report is Report.OPTED_OUT
        delivery.record_opt_out(asks, stop, now, origin, _named(gateway, receipt))
    return bool(asks) or trials.take(gateway, receipt, now, origin)


def report_of_sandboxes(now: datetime) -> None:
    """Take the receipts that the texts of sandboxes are due to get by *now*.

    Nobody sends them. So this is called where somebody looks, and each minute.
    """
    waiting = SmsMessage.objects.filter(
        state=State.SENT, gateway=Sandbox.name, created_at__gt=now - _REPORTED_FOR
    )
    for message in waiting.select_related(*_NUMBERS):
        digits = message.provider_user.last_three
        if message.created_at + timedelta(seconds=sandbox.of(digits).after) <= now:
            for receipt in receipts_of(digits, message.reference):
                take(Sandbox.name, receipt, now, Origin(Face.API, client="gateway:sandbox"))


_REPORTED_FOR = timedelta(hours=1)
_NUMBERS = ("pending_otp__provider_user", "news_to")


def _message_of(gateway: str, receipt: Receipt, now: datetime, *, waits: bool) -> SmsMessage | None:
    if message := SmsMessage.of_reference(receipt.reference):
        # A receipt counts only from a gateway that got this text.
        tries = message.gateway_tries.filter(gateway=gateway)
        return message if message.gateway == gateway or tries.exists() else None
    theirs = receipt.gateway_message_id
    if not theirs or not theirs.isprintable():  # the others no database keeps
        return None
    known = GatewayTry.objects.filter(gateway=gateway, gateway_message_id=theirs)
    if made := known.select_related("message").order_by("-pk").first():
        return made.message
    on_its_way = SmsMessage.objects.filter(
        state=State.SENDING, gateway=gateway, claimed_at__gt=now - LEASE
    )
    if waits and on_its_way.exists():
        raise TooEarly
    return None


def _number_in(receipt: Receipt) -> phones.MobileNumber | None:
    """Return the number from which STOP or START came, where the gateway says it."""
    if receipt.report not in _WISHES or not receipt.number:
        return None
    try:
        return phones.parse(receipt.number, home_region=conf.sms_regions[0])
    except InvalidMobileNumber:
        return None


def _named(gateway: str, receipt: Receipt) -> str:
    """Return what a receipt and its repetition have in common; "" if it names nothing."""
    names = receipt.reference, receipt.gateway_message_id
    return keys.digest("receipt", f"{gateway} {' '.join(names)}")[:20] if any(names) else ""
