"""The words that describe the events for endpoints, in ``/Help`` and in the schema.

Add a new kind of event to ``KINDS``, and a new property to ``serializers``: ``/Help`` and the
schema then show it. Tests compare both with what is sent, and with docs/events.md.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from optin.messaging import webhooks
from optin.models import WebhookEvent
from optin.models.webhooks import OLD_SECRET_FOR
from optin.operations.retention import EVENTS_KEPT


@dataclass(frozen=True, slots=True)
class News:
    """One kind of event: what happened, and the reasons that it can have."""

    meaning: str
    reasons: tuple[str, ...] = ()
    others: str = ""
    """Further reasons, in words."""


_WRONG_CODES = ("wrong_codes", "wrong_codes_of_programs")

KINDS = {
    "number.activated": News("A person verified a number and had none.", ("verified",)),
    "number.changed": News(
        "A person verified this number in place of another.",
        ("verified",),
    ),
    "number.removed": News(
        "The number is not active any more.", ("opted_out", "not_me", "revoked")
    ),
    "factor.locked": News(
        "No code is accepted for a while. The lock ends by itself. With wrong_codes_of_programs, "
        "it bars applications only.",
        _WRONG_CODES,
    ),
    "factor.disabled": News(
        "Texted codes were switched off. With wrong_codes_of_programs, for applications only.",
        _WRONG_CODES,
    ),
    "factor.unlocked": News("Staff ended a lock or a disabling.", ("staff",)),
    "revocation.planned": News(
        "A removal of all second factors was planned.", ("support", "person")
    ),
    "revocation.cancelled": News(
        "The planned removal was cancelled.",
        ("person", "staff", "signed_in", "secured"),
        "or why it was not carried out",
    ),
    "revocation.done": News("All second factors were removed.", ("revoked",)),
    "text.refused": News(
        "A text was asked for, but it was refused and will not be sent.",
        ("send_limit", "region_not_allowed", "opted_out", "gateway"),
    ),
    "text.failed": News(
        "A carrier reported that a text was not delivered, or all attempts to send it failed.",
        ("not_delivered", "not_sent", "opted_out"),
    ),
    "consent.given": News(
        "The person let an application act for them in this file, at /o/authorize/.", ("person",)
    ),
    "endpoint.test": News("Somebody sent a test. It has no Sequence."),
}

HEADERS = {
    "webhook-id": "The id of the event. It is the same in each attempt.",
    "webhook-timestamp": "The time of this attempt, in seconds since 1970.",
    "webhook-signature": "v1, a comma, and a signature in Base64. It is the HMAC-SHA256 of "
    "webhook-id, webhook-timestamp and the body, joined by full stops. Its key is the part of the "
    "secret after whsec_, decoded from Base64. After the secret is replaced, there are two "
    "signatures for a time, with a space between.",
}

ANSWERS = {
    "2XX": "You have received the event.",
    "default": "The attempt failed: a redirect is a failure too. The service tries again later.",
}

SAMPLE_SECRET = "whsec_YSBzYW1wbGUsIG5vdCB0aGUgc2VjcmV0IG9mIGFueWJvZHk="  # noqa: S105


def sample() -> tuple[dict[str, str], str]:
    """Return the headers and the body of an event, as they are sent."""
    event = WebhookEvent(
        message_id="msg_5f2c0e1b7d944a3c8e6f1a2b3c4d5e6f",
        file_id=777,
        kind=WebhookEvent.Kind.NUMBER_ACTIVATED,
        at=datetime(2026, 11, 2, 12, tzinfo=UTC),
        provider_user_id=1,
        sequence=12,
        reason="verified",
        reference="customer-4711",
    )
    headers, body = webhooks.signed(event, [SAMPLE_SECRET], event.at)
    return headers, body.decode()


def promises() -> dict[str, object]:
    """Return the limits and times for the page, as numbers or words."""
    *waits, last = map(_in_words, webhooks.WAITS)
    return {
        "patience": int(webhooks.PATIENCE),
        "waits": f"{', '.join(waits)} and {last}",
        "failures": len(webhooks.WAITS) + 1,
        "days": EVENTS_KEPT.days,
        "two_signatures": _in_words(OLD_SECRET_FOR),
    }


def _in_words(wait: timedelta) -> str:
    seconds = int(wait.total_seconds())
    units = {"hour": 3600, "minute": 60, "second": 1}
    unit = next(unit for unit, length in units.items() if seconds % length == 0)
    count = seconds // units[unit]
    return f"{count} {unit}{'' if count == 1 else 's'}"
