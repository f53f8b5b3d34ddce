"""What the service sends to the endpoints of files, in words: for ``/Help`` and the schema.

A new kind of event has its row in ``KINDS``, a new property its field in ``serializers``: both
faces show it, and tests compare them with what is sent and with docs/events.md.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from optin.messaging import webhooks
from optin.models import WebhookEvent
from optin.models.webhooks import OLD_SECRET_FOR
from optin.operations.retention import EVENTS_KEPT


@dataclass(frozen=True, slots=True)
class News:
    """One kind of event: what happened, and which reasons there are."""

    meaning: str
    reasons: tuple[str, ...] = ()
    others: str = ""
    """Which further reasons there are, in words."""


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
        "No code is accepted for a while. The lock ends by itself.", ("wrong_codes",)
    ),
    "factor.disabled": News("Texted codes were switched off.", ("wrong_codes",)),
    "factor.unlocked": News("Staff ended a lock or a disabling.", ("staff",)),
    "revocation.planned": News("All second factors will be removed.", ("support", "person")),
    "revocation.cancelled": News(
        "They will not be removed.",
        ("person", "staff", "signed_in", "secured"),
        "or why it was not carried out",
    ),
    "revocation.done": News("They were removed.", ("revoked",)),
    "text.refused": News(
        "A text was asked for and will not leave.",
        ("send_limit", "region_not_allowed", "opted_out", "gateway"),
    ),
    "text.failed": News(
        "A text was not delivered (a carrier said so), or no attempt to send it worked.",
        ("not_delivered", "not_sent", "opted_out"),
    ),
    "consent.given": News(
        "The person let an application act for them in this file, at /o/authorize/.", ("person",)
    ),
    "endpoint.test": News("Somebody sent a test. It has no Sequence."),
}

HEADERS = {
    "webhook-id": "The id of the event, the same at each attempt.",
    "webhook-timestamp": "When this attempt was made, in seconds since 1970.",
    "webhook-signature": "v1, a comma, and the HMAC-SHA256 in Base64 of webhook-id, "
    "webhook-timestamp and the body, with full stops between. The key is what follows whsec_ in "
    "the secret, in Base64. While a secret is replaced, there are two signatures, with a space "
    "between.",
}

ANSWERS = {
    "2XX": "You have the event. The next one follows.",
    "default": "You do not have it, also if this is a redirect. It comes again later.",
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
    """Return how long and how often, for the page: numbers, or words."""
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
