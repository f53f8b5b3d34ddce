"""Texts that a gateway delivered, for what is said of the time they take."""

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone

from optin.models import PendingOtp, ProviderUser, SmsMessage
from optin.models.messages import State


def receipts(pending: ProviderUser, gateway: str, took: Iterable[float], *, ago: int = 60) -> None:
    """*gateway* took texts a minute ago; each came after so many seconds."""
    code, sent = PendingOtp.objects.get(provider_user=pending), timezone.now()
    sent -= timedelta(seconds=ago)
    SmsMessage.objects.bulk_create(
        SmsMessage(
            pending_otp=code,
            gateway=gateway,
            created_at=sent,
            sent_at=sent,
            state=State.DELIVERED,
            delivered_at=sent + timedelta(seconds=seconds),
        )
        for seconds in took
    )
