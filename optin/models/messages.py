"""What leaves the service, and how much of it."""

from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from optin import keys
from optin.models.factors import PendingOtp, ProviderUser
from optin.models.prepared import Insert
from optin.models.users import User

# Longer than any gateway may take (see gateways.Gateway.send), so that a lease runs out
# only when its sender is gone.
LEASE = timedelta(seconds=30)

MAX_TRIES = 2
"""A message whose sender died may be sent once more: at most twice, never lost."""


class State(models.TextChoices):
    """How far a message came."""

    QUEUED = "queued", "Waiting to be sent"
    SENDING = "sending", "Being sent"
    SENT = "sent", "Taken by the gateway"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"
    EXPIRED = "expired", "Not sent: its code was of no use any more"


M = TypeVar("M", bound="Outgoing")


class OutboxQuerySet(models.QuerySet[M]):
    def due(self, now: datetime) -> Self:
        """Messages that should leave at *now*: queued, or left by a sender that died."""
        return self.filter(
            Q(state=State.QUEUED)
            | Q(state=State.SENDING, claimed_at__lte=now - LEASE, tries__lt=MAX_TRIES)
        )

    def claim(self, pk: int, now: datetime) -> bool:
        """Take the message for sending; of many who try at once, one gets it."""
        return bool(
            self.due(now)
            .filter(pk=pk)
            .update(state=State.SENDING, claimed_at=now, tries=F("tries") + 1)
        )

    def give_up(self, now: datetime) -> int:
        """End the messages whose last sender died; returns how many."""
        return self.filter(
            state=State.SENDING, claimed_at__lte=now - LEASE, tries__gte=MAX_TRIES
        ).update(state=State.FAILED, reason="its sender stopped, twice")


class Outgoing(models.Model):
    """What a text and a mail have in common: an outbox entry and its delivery record."""

    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    tries = models.PositiveSmallIntegerField(default=0)
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    # Of the page that caused it; "" for the service's own language.
    language = models.CharField(max_length=8, blank=True)

    objects = OutboxQuerySet.as_manager()

    class Meta:
        abstract = True

    def save_claimed(self) -> None:
        """Save the new row as claimed by this process, from the time it was made."""
        self.state = State.SENDING
        self.claimed_at = self.created_at
        self.tries = 1
        self.save_queued()

    def save_queued(self) -> None:
        """Save the new row for another to claim."""
        _INSERT[type(self)].run(self)

    def finish(self, state: State, **changes: object) -> None:
        """Record what became of the message that this process claimed."""
        type(self)._default_manager.filter(
            pk=self.pk, state=State.SENDING, tries=self.tries
        ).update(state=state, **changes)


class SmsMessage(Outgoing):
    """One text message: a code, or the news to a number that another took its place.

    Its words are made when it is sent: no code is stored.
    """

    pending_otp = models.ForeignKey(
        PendingOtp, models.CASCADE, null=True, blank=True, related_name="messages"
    )
    replaced = models.ForeignKey(
        ProviderUser, models.CASCADE, null=True, blank=True, related_name="farewells"
    )
    gateway = models.CharField(max_length=32, blank=True)
    gateway_message_id = models.CharField(max_length=100, blank=True)
    segments = models.PositiveSmallIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=Q(state__in=[State.QUEUED, State.SENDING]),
                name="sms_message_waiting",
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(pending_otp__isnull=False, replaced__isnull=True)
                | Q(pending_otp__isnull=True, replaced__isnull=False),
                name="sms_message_is_a_code_or_a_farewell",
            )
        ]

    def __str__(self) -> str:
        return f"text message {self.pk}"

    @property
    def provider_user(self) -> ProviderUser:
        """The number that it goes to."""
        number = self.replaced or (self.pending_otp and self.pending_otp.provider_user)
        assert number  # by the constraint
        return number

    @property
    def reference(self) -> str:
        """The same for every attempt at this message: the gateway's idempotency key.

        No other message has it, not that of a restored copy of the database either: a
        gateway would take that for a message that it has sent.
        """
        made = f"{self.pk} {self.created_at.isoformat()}"
        return f"sms-{keys.digest('sms reference', made)[:20]}"


class Notice(Outgoing):
    """One e-mail that tells a user what happened to their account."""

    class Kind(models.TextChoices):
        ACTIVATED = "activated", _("Two-factor sign-in was turned on")
        RELEASED = "released", _("Two-factor sign-in was turned off")
        REVOKED = "revoked", _("Staff removed the mobile number")
        LOCKED = "locked", _("Codes are refused for a while")
        DISABLED = "disabled", _("Codes by text message were disabled")
        SUSPENDED = "suspended", _("Staff suspended the mobile number")
        RESUMED = "resumed", _("Staff ended the suspension")
        UNLOCKED = "unlocked", _("Staff unlocked the account")
        NUMBER_CLAIMED = "number_claimed", _("Somebody else proved this number")
        CHANGED = "changed", _("The mobile number was changed")
        APP_ADDED = "app_added", _("An authenticator app was added")
        APP_REMOVED = "app_removed", _("The authenticator app was removed")
        RECOVERY_CODES = "recovery_codes", _("New recovery codes were made")
        RECOVERED = "recovered", _("A recovery code was used")
        PASSWORD = "password", _("The password was changed")
        PASSWORD_RESET = "password_reset", _("A new password was asked for")
        DISOWNED = "disowned", _("A change was taken back")

    user = models.ForeignKey(User, models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    last_three = models.CharField(max_length=3, blank=True)
    # The id of the number or the app that was added, for such a mail. No foreign key: the
    # row may go, and the link must not lead to another one.
    about_id = models.BigIntegerField(null=True, blank=True)
    # When its "this was not me" link was used: it works once.
    disowned_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=Q(state__in=[State.QUEUED, State.SENDING]),
                name="notice_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"notice {self.pk}"


class SendCounter(models.Model):
    """How often something was done in one fixed window of time."""

    scope = models.CharField(max_length=40)
    key = models.CharField(max_length=64)  # a keyed digest: no number, name or address
    window_start = models.DateTimeField()
    count = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "key", "window_start"], name="send_counter_one_per_window"
            )
        ]

    def __str__(self) -> str:
        return f"{self.scope} counter"


_INSERT: dict[type[Outgoing], Insert[Any]] = {
    model: Insert(model) for model in (SmsMessage, Notice)
}
