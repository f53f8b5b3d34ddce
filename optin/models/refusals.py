"""Refusals that repeat: counted, so that nobody fills the audit trail with them.

Whoever has a credential, or none at all, can be refused as often as they ask. The first
refusal of its kind in an hour writes an audit event at once; equal ones after it raise a
count. When the hour is over, one more event tells how many there were.

Refusals are equal if they have the same kind, outcome, rule and purpose, came through the
same face, by the same client and from the same network, and are about the same subject. What
whoever asks can choose (an id, a number, a user agent) makes no difference.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q

from optin import keys
from optin.models.prepared import Insert
from optin.origin import Origin, network_of

WINDOW = timedelta(hours=1)
"""Refusals are counted together for so long. An attack that goes on for a day writes 48 events
of each kind, from each network."""

CHANGE_NOTHING = frozenset(
    {
        # Codes that were not compared, and codes asked for in vain.
        *("otp_incorrect", "otp_expired", "otp_exhausted", "factor_disabled", "locked"),
        *("already_verified", "already_opted_in", "not_opted_in", "region_not_allowed"),
        *("send_limit", "waiting", "nothing_waiting", "unchanged"),
        # Sign-ins and tokens. A password alone, where a code is needed too, opens nothing.
        *("temporarily_unavailable", "invalid_scope", "invalid_refresh", "2fa_code_required"),
        # Doors.
        *("file_access_denied", "insufficient_scope", "denied", "search_limit"),
    }
)
"""Outcomes that change nothing, and that no limit bounds: they may repeat without end."""


def may_repeat(outcome: str, reason: str, data: Mapping[str, Any]) -> bool:
    """Whether a decision may repeat without end.

    Not if it raised the count of wrong codes, which is bounded; and not what staff did, who
    gave a reason each time.
    """
    return outcome in CHANGE_NOTHING and not reason and "failures" not in data


class RefusalCountQuerySet(models.QuerySet["RefusalCount"]):
    def untold(self) -> Self:
        """Those with refusals of which no event tells yet."""
        return self.filter(count__gt=F("told"))

    def due(self, now: datetime) -> Self:
        """Those whose hour is over, with refusals of which no event tells yet.

        Only of what is counted. Rows here have no digest, and the event of one gets a valid one:
        who writes to the database could have any decision signed.
        """
        counted = self.untold().filter(outcome__in=CHANGE_NOTHING)
        return counted.filter(ends_at__lte=now).order_by("pk")

    def raise_for(self, event: Any, subject: str, origin: Origin) -> "RefusalCount":
        """Count the refusal of *event*, which is not saved, and return its row.

        The row is locked until the transaction ends: of two that are first at the same time,
        one is.
        """
        row = RefusalCount(
            key=_key(event, subject, origin),
            ends_at=_end_of_window(event.at),
            kind=event.kind,
            outcome=event.outcome,
            user_id=event.user_id,
            last={name: getattr(event, name) for name in _KEPT},
            first_at=event.at,
            last_at=event.at,
        )
        _RAISE.run(row)
        return row


class RefusalCount(models.Model):
    """So many equal refusals in one hour."""

    key = models.CharField(max_length=64)  # a keyed digest of what they have in common
    ends_at = models.DateTimeField()
    kind = models.CharField(max_length=16)
    outcome = models.CharField(max_length=32)
    # No foreign key, as in the audit trail. Nothing where they are about several accounts.
    user_id = models.BigIntegerField(null=True)
    last = models.JSONField()  # what the event of the last one would have held
    count = models.PositiveBigIntegerField(default=1)
    # Of those, how many events tell of: the first one's, and later the closing one.
    told = models.PositiveBigIntegerField(default=1)
    first_at = models.DateTimeField()  # as the event of the first one has it
    last_at = models.DateTimeField()

    objects = RefusalCountQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["key", "ends_at"], name="refusal_count_one_per_window"),
            models.CheckConstraint(
                condition=Q(count__gte=F("told")), name="refusal_count_tells_no_more_than_it_has"
            ),
        ]
        indexes = [
            models.Index(
                fields=["ends_at"], condition=Q(count__gt=F("told")), name="refusal_count_untold"
            ),
            models.Index(fields=["user_id", "-last_at"], name="refusal_count_by_user"),
            # For figures.
            models.Index(fields=["first_at"], name="refusal_count_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.outcome}, {self.count} times"

    @property
    def untold(self) -> int:
        return self.count - self.told


# All that an event says, but for what names the single request and what the row itself has.
_KEPT = (
    *("face", "actor_id", "client", "ip", "file_id", "provider_user_id"),
    *("number_digest", "last_three", "data", "key_id"),
)


def _key(event: Any, subject: str, origin: Origin) -> str:
    rule, purpose = event.data.get("rule", ""), event.data.get("purpose", "")
    # By /24, as wrong passwords for one name: an attacker has other addresses nearby.
    network = network_of(origin.ip, 24)
    subject = subject or f"{event.user_id} {event.actor_id}"
    # By client: what a stolen key asks for must not go unseen among what the others ask for.
    by = [event.face, event.client, network]
    same = [event.kind, event.outcome, *by, rule, purpose, subject]
    return keys.digest("refusals", "\n".join(map(str, same)))


def _end_of_window(now: datetime) -> datetime:
    seconds = int(WINDOW.total_seconds())
    stamp = int(now.timestamp())
    return datetime.fromtimestamp(stamp - stamp % seconds, tz=now.tzinfo) + WINDOW


_RAISE = Insert(
    RefusalCount,
    or_else="""
ON CONFLICT (key, ends_at) DO UPDATE SET
count = optin_refusalcount.count + 1,
last = excluded.last,
last_at = excluded.last_at,
user_id = CASE WHEN optin_refusalcount.user_id = excluded.user_id THEN excluded.user_id END
""",
    returning=["count"],
)
