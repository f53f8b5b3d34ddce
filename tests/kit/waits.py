"""Texts that gateways took, for what is said of the time they take."""

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone

from optin.models import PendingOtp, ProviderUser, SmsMessage
from optin.models.messages import State


def texts(pending: ProviderUser, gateway: str, seen: Iterable[tuple[float, float | None]]) -> None:
    """*gateway* took texts so many seconds ago; each came after so many seconds, or not yet."""
    code, now = PendingOtp.objects.get(provider_user=pending), timezone.now()
    SmsMessage.objects.bulk_create(
        SmsMessage(
            pending_otp=code,
            gateway=gateway,
            created_at=now - timedelta(seconds=age),
            sent_at=now - timedelta(seconds=age),
            state=State.SENT if took is None else State.DELIVERED,
            delivered_at=None if took is None else now - timedelta(seconds=age - took),
        )
        for age, took in seen
    )


def each_second(
    took: float | None, count: int = 60, *, since: int = 0
) -> list[tuple[float, float | None]]:
    """A text a second, until so many seconds ago: those that can have come by now did."""
    return [
        (age, took if took is not None and took <= age else None)
        for age in range(since, since + count)
    ]
