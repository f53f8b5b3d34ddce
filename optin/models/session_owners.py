"""Whose a session is: Django's row does not say, and a person may see and end their own."""

from datetime import datetime
from typing import TYPE_CHECKING

from django.contrib.sessions.models import Session
from django.db import models

from optin.models.users import User

if TYPE_CHECKING:
    from django.db.models import QuerySet


class SessionOwnerQuerySet(models.QuerySet["SessionOwner"]):
    def sessions_of(self, user: User, now: datetime) -> "QuerySet[Session]":
        """The door to sessions: the rows of *user* that have not expired, newest use first."""
        own = self.filter(user=user).values("session_key")
        found: QuerySet[Session] = Session.objects.filter(session_key__in=own, expire_date__gt=now)
        return found.order_by("-expire_date", "session_key")


class SessionOwner(models.Model):
    """One id of a session of *user*. Written once; it may outlive the session."""

    # The key of Django's row. No foreign key: Django deletes from that table.
    session_key = models.CharField(max_length=40, primary_key=True)
    user = models.ForeignKey(User, models.CASCADE, related_name="session_owners")
    # When the session is over at the latest: ``purge`` deletes the row then.
    ends_at = models.DateTimeField(db_index=True)

    objects = SessionOwnerQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"session of user {self.user_id}"
