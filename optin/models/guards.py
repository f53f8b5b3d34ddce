"""What stops texts, or lets them through, beside the counters."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from django.db import connection, models
from django.db.models import Q

from optin import keys
from optin.database import Param, Select
from optin.models.choices import ChoiceField

LINE = 4
"""Digits at the end of a number that its prefix is without."""


class GuardQuerySet(models.QuerySet["Guard"]):
    def in_force(self, now: datetime | Param) -> Self:
        return self.filter(Q(until=None) | Q(until__gt=now))

    def about(
        self, number_digest: str, prefix: str, now: datetime
    ) -> "dict[tuple[str, str], Guard]":
        """All that is in force at *now* for a number, by its kind and what it covers.

        That is for the number itself, for its prefix ("": not asked for), and for all texts.
        """
        return by_kind(ABOUT.rows(number=number_digest, prefix=prefix, now=now))

    def closed_prefixes(self, now: datetime) -> Self:
        """The breakers that refuse opt-ins at *now*: staff have not opened their prefixes."""
        in_force = self.in_force(now)
        opened = in_force.filter(kind=Guard.Kind.LIFT).values("key")
        return in_force.filter(kind=Guard.Kind.BREAKER).exclude(key__in=opened)

    def is_stopped(self) -> bool:
        """Whether no text may leave."""
        return bool(_OF_KIND.rows(kind=Guard.Kind.STOP, key=""))

    def has_opted_out(self, number_digest: str) -> bool:
        """Whether the person answered STOP from this number."""
        return bool(_OF_KIND.rows(kind=Guard.Kind.OPTED_OUT, key=number_digest))

    def opt_out(self, number_digest: str, last_three: str, now: datetime) -> bool:
        """Remember a STOP, until somebody takes it back; return whether it is new.

        One statement: of many who report it at once, one makes it.
        """
        values = [Guard.Kind.OPTED_OUT, Guard.Covers.NUMBER, number_digest, last_three]
        made_at = connection.ops.adapt_datetimefield_value(now)
        with connection.cursor() as cursor:
            cursor.execute(_OPT_OUT, [*values, made_at])
            return cursor.fetchone() is not None

    def close_to_strangers(
        self, number_digest: str, last_three: str, now: datetime, until: datetime
    ) -> None:
        """Let no account that never verified a number opt it in until *until* (G-08)."""
        self.update_or_create(
            key=number_digest,
            kind=Guard.Kind.NOT_ME,
            defaults={
                "covers": Guard.Covers.NUMBER,
                "last_three": last_three,
                "made_at": now,
                "until": until,
            },
        )

    def opt_in(self, number_digest: str) -> bool:
        """Forget a STOP; return whether there was one."""
        deleted, _ = self.filter(kind=Guard.Kind.OPTED_OUT, key=number_digest).delete()
        return bool(deleted)

    def close(
        self,
        key: str,
        *,
        region: str,
        unverified: int,
        now: datetime,
        begins: datetime,
        until: datetime,
    ) -> int:
        """Close a prefix, or extend its closing. Return the breaker's id, or 0 if nothing changed.

        This is one statement: if many requests close a prefix at once, one of them does it.

        :param begins: when this closing begins. If the stored breaker ends after that, it stays as
            it is.
        """
        adapt = connection.ops.adapt_datetimefield_value
        values: list[Any] = [Guard.Kind.BREAKER, Guard.Covers.PREFIX, key, region, unverified]
        with connection.cursor() as cursor:
            cursor.execute(_CLOSE, [*values, adapt(now), adapt(until), adapt(begins)])
            row = cursor.fetchone()
        return row[0] if row else 0


class Guard(models.Model):
    """One send control: a closed breaker, a lift of one, an entry of a list, or a stop.

    One whose time is over counts for nothing; ``purge`` deletes it. The model keeps its name,
    because permissions and the addresses of the admin have it.
    """

    class Kind(models.TextChoices):
        STOP = "stop", "All texts are stopped"
        BREAKER = "breaker", "Closed prefix"
        LIFT = "lift", "Opened prefix"
        DENY = "deny", "Deny list"
        SAFE = "safe", "Safe list"
        OPTED_OUT = "no_texts", "Answered STOP"
        NOT_ME = "not_me", "Closed to strangers by its owner"

    class Covers(models.TextChoices):
        NUMBER = "number", "One number"
        PREFIX = "prefix", "All numbers but for the last 4 digits"
        ALL = "all", "All texts"

    kind = ChoiceField(max_length=8, choices=Kind.choices)
    covers = ChoiceField(max_length=8, choices=Covers.choices)
    key = models.CharField(max_length=64, blank=True)  # a keyed digest: no number, no prefix
    last_three = models.CharField(max_length=3, blank=True)
    region = models.CharField(max_length=3, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    unverified = models.PositiveIntegerField(default=0)  # that closed the breaker
    made_at = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)  # nothing: until it is taken away

    objects = GuardQuerySet.as_manager()

    class Meta:
        verbose_name = "stop or list entry"
        verbose_name_plural = "stops and lists"
        permissions = [("manage_guards", "Can stop all texts, keep the lists, and open prefixes")]
        constraints = [
            models.UniqueConstraint(fields=["key", "kind"], name="guard_one_of_a_kind"),
            models.CheckConstraint(
                condition=Q(kind="stop", covers="all", key="")
                | (Q(kind="no_texts", covers="number", until__isnull=True) & ~Q(key=""))
                | (
                    ~Q(kind__in=["stop", "no_texts"])
                    & Q(until__isnull=False)
                    & ~Q(covers="all")
                    & ~Q(key="")
                ),
                name="guard_ends_but_for_the_stops",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @staticmethod
    def prefix_of(e164: str) -> str:
        """Return the keyed digest by which the prefix of a number is found and counted."""
        return keys.digest("prefix", e164[:-LINE])


def by_kind(found: Iterable[Guard]) -> dict[tuple[str, str], Guard]:
    """Return them by their kind and what they cover."""
    return {(control.kind, control.covers): control for control in found}


ABOUT = Select(
    lambda: Guard.objects.in_force(Param("now", Guard, "until")).filter(
        key__in=["", Param("number", Guard, "key"), Param("prefix", Guard, "key")]
    )
)
_OF_KIND = Select(
    lambda: Guard._base_manager.filter(kind=Param("kind", Guard), key=Param("key", Guard))
)
_CLOSE = """
INSERT INTO optin_guard
(kind, covers, key, region, unverified, made_at, until, last_three, reason)
VALUES (%s, %s, %s, %s, %s, %s, %s, '', '')
ON CONFLICT (key, kind) DO UPDATE SET
unverified = excluded.unverified, made_at = excluded.made_at, until = excluded.until
WHERE optin_guard.until <= %s
RETURNING id
"""

_OPT_OUT = """
INSERT INTO optin_guard (kind, covers, key, last_three, made_at, region, reason, unverified)
VALUES (%s, %s, %s, %s, %s, '', '', 0)
ON CONFLICT (key, kind) DO NOTHING
RETURNING id
"""
