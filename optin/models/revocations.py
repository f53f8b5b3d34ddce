"""Removals of all second factors that wait: asked for by support (S-37) or by the person (P-17)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q

from optin.models.choices import ChoiceField
from optin.models.reasons import MAX_REASON
from optin.models.users import User


class RevocationQuerySet(models.QuerySet["Revocation"]):
    def open(self) -> Self:
        """Removals that wait: neither carried out nor called off."""
        return self.filter(closed_at=None)

    def open_of(self, user: User) -> Self:
        """The one that waits for *user*, if one does."""
        return self.open().filter(user=user)

    def due(self, now: datetime) -> Self:
        return self.open().filter(due_at__lte=now)

    def own(self) -> Self:
        """Removals that the person asked for."""
        return self.filter(actor_id=F("user_id"))

    def close(self, now: datetime, why: "Revocation.Closed") -> bool:
        """Close those of them that are open; return whether there was one.

        The caller holds the lock of their user. The condition keeps it true that each is
        closed once even if someone one day calls this without it.
        """
        return bool(self.open().update(closed_at=now, closed_as=why))


class Revocation(models.Model):
    """A removal of all second factors of one person, which takes effect after a while.

    Support asks for it, or the person who has lost all of them (``is_own``). Meanwhile the person
    can cancel it, with the link of the mail or text that told them of it, or on their pages. The
    reason of support is that of its audit event, for the event of the removal; it goes with the
    row (``operations.retention``). The person gives none.
    """

    class Closed(models.TextChoices):
        CANCELLED = "cancelled", "Cancelled by the person"
        WITHDRAWN = "withdrawn", "Withdrawn by staff"
        DONE = "done", "Carried out"
        OUT_OF_REACH = "out_of_reach", "Who asked for it may not do it any more"
        DEACTIVATED = "deactivated", "The account is deactivated"
        UNTOLD = "untold", "No mail, or no text, about it left in time"
        SET_UP_SINCE = "set_up_since", "A second factor was set up since"
        NOTHING = "nothing", "There was nothing to remove"
        SIGNED_IN = "signed_in", "The person has verified a second factor since"
        SWITCHED_OFF = "switched_off", "People may not ask for it any more"
        SECURED = "secured", "The account was secured"
        RESTORED = "restored", "The database was restored from a backup"
        REPLACED = "replaced", "Support was asked for one that is due sooner"

    user = models.ForeignKey(User, models.CASCADE, related_name="revocations")
    # Who asked: staff, the user, or nobody (a command). No foreign key, as in the audit trail.
    actor_id = models.BigIntegerField(null=True)
    reason = models.CharField(max_length=MAX_REASON)
    asked_at = models.DateTimeField()
    due_at = models.DateTimeField()
    # When the person was last told of one that they asked for: they are told each day.
    told_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    closed_as = ChoiceField(max_length=16, choices=Closed.choices, blank=True)

    objects = RevocationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=Q(closed_at=None), name="revocation_one_open_per_user"
            ),
            models.CheckConstraint(
                condition=Q(closed_at=None, closed_as="")
                | (Q(closed_at__isnull=False) & ~Q(closed_as="")),
                name="revocation_closed_says_how",
            ),
            models.CheckConstraint(
                condition=Q(due_at__gt=F("asked_at")), name="revocation_is_due_after_it_was_asked"
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(closed_at=None), name="revocation_waiting")
        ]

    def __str__(self) -> str:
        return f"revocation {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def is_own(self) -> bool:
        """Whether the person asked for it. Staff cannot plan their own (``operations.staff``)."""
        return self.actor_id == self.user_id

    def is_about(self, added_at: Sequence[datetime | None]) -> bool:
        """Whether the active factors are those that were to be removed: none is newer.

        :param added_at: when each was added.

        Who has set one up since has a way in, and has verified an older factor for it, or
        has removed those themself: what is left is not what was to be removed.
        """
        return bool(added_at) and all(at and at <= self.asked_at for at in added_at)
