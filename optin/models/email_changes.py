"""Changes of an email address that people asked for on their pages (S-39a)."""

from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Exact

from optin.models.choices import ChoiceField
from optin.models.users import User

LINK_FOR = timedelta(hours=24)
"""How long the link in the mail to the new address works."""


class EmailChangeQuerySet(models.QuerySet["EmailChange"]):
    def open(self) -> Self:
        """Changes that are not closed: they wait for the link to be used, or to take effect."""
        return self.filter(closed_at=None)

    def due(self, now: datetime) -> Self:
        return self.open().filter(due_at__lte=now)

    def close(self, now: datetime, why: "EmailChange.Closed") -> bool:
        """Close those of them that are open; return whether there was one.

        The caller holds the lock of their user.
        """
        return bool(self.open().update(closed_at=now, closed_as=why))


class EmailChange(models.Model):
    """A new email address of one person: asked for, proved by a mailed link, then in effect.

    It holds both addresses, because mails about it go to each of them. It goes with the mails
    (``operations.retention``).
    """

    class Closed(models.TextChoices):
        DONE = "done", "It took effect"
        CANCELLED = "cancelled", "Cancelled by the person"
        REPLACED = "replaced", "Another address was asked for"
        SECURED = "secured", "The account was secured, such as by a new password"
        DEACTIVATED = "deactivated", "The account was deactivated"
        TAKEN = "taken", "Another account has the address"
        OTHERWISE = "otherwise", "The address was changed in another way"
        UNTOLD = "untold", "The mail to the old address was not sent in time"
        RESTORED = "restored", "The database was restored from a backup"

    user = models.ForeignKey(User, models.CASCADE, related_name="email_changes")
    old_address = models.EmailField(blank=True)
    new_address = models.EmailField()
    asked_at = models.DateTimeField()
    proved_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    closed_as = ChoiceField(max_length=16, choices=Closed.choices, blank=True)

    objects = EmailChangeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=Q(closed_at=None), name="email_change_one_open_per_user"
            ),
            models.CheckConstraint(
                condition=Q(closed_at=None, closed_as="")
                | (Q(closed_at__isnull=False) & ~Q(closed_as="")),
                name="email_change_closed_says_how",
            ),
            models.CheckConstraint(
                condition=Q(proved_at=None, due_at=None)
                | Q(proved_at__isnull=False, due_at__gte=F("proved_at")),
                name="email_change_is_due_once_proved",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(closed_at=None, due_at__isnull=False),
                name="email_change_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"change of address {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def link_ends(self) -> datetime:
        return self.asked_at + LINK_FOR

    def waits(self, now: datetime) -> bool:
        """Whether something may come of it: its link still works, or was used."""
        return self.is_open and (self.proved_at is not None or now < self.link_ends)

    def is_taken(self) -> bool:
        """Whether another account signs in with the new address: as its own, or as its name."""
        return self._is_in_use(self.new_address, "email", "username")

    def is_old_taken(self) -> bool:
        """Whether another account has the old address by now, so that it cannot be put back."""
        return self._is_in_use(self.old_address, "email")

    def _is_in_use(self, address: str, *fields: str) -> bool:
        same = Q()
        for field in fields:
            same |= Q(Exact(Lower(field), Lower(Value(address))))
        taken: bool = User.objects.filter(same).exclude(pk=self.user_id).exists()
        return taken
