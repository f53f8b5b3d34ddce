"""The words that describe the events for endpoints, in ``/Help`` and in the schema.

The kinds of events have theirs in ``optin.events``, and the properties in ``serializers``. Tests
compare all with what is sent.
"""

from datetime import UTC, datetime, timedelta

from optin.messaging import webhooks
from optin.models import WebhookEvent
from optin.models.webhooks import OLD_SECRET_FOR
from optin.operations.retention import EVENTS_KEPT

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
