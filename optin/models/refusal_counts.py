"""Counts of repeated refusals, so that nobody can fill the audit trail with them.

Anybody, with or without a credential, can cause any number of refusals. The first refusal of
its kind in an hour writes an audit event at once. Equal ones after it only raise a count. When
the hour is over, one more event tells how many there were.

Some refusals are only counted, the first one too: passwords beyond a limit, wrong passwords for a
name that nobody has, and refused requests for a password link. Otherwise the number of statements
would tell whether somebody has the name (S-38). Each other wrong password has an event of its own.

Refusals are equal if they have the same kind, outcome, rule (or fault of a passkey) and purpose,
came through the same face, by the same client and from the same bucket of networks, and are about
the same subject. What the client can choose (an id, a number, a user agent) makes no difference.
Anybody may have any number of networks, so these share a fixed number of buckets.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, Self

from django.db import models
from django.db.models import F, Q

from optin import events, keys
from optin.database import Insert
from optin.origin import CUSTOMER_V6, Origin, network_of
from optin.outcomes import CodeOutcome, SendOutcome, SignInOutcome

WINDOW = timedelta(hours=1)
"""How long equal refusals are counted together. An attack of one day from one network writes 48
events of each kind, or 24 where the first is only counted; from all networks, ``BUCKETS`` times as
many."""

BUCKETS = 10
"""Networks share so many buckets. With fewer, a stranger would often share one with the person
whom they attack; with more, an attack from many networks would write more events."""

NAMED = 12
"""Characters of a request id that a row keeps."""

RECENT = 16
"""Requests of one row that staff find by their ids. An attack cannot make the row longer."""

SEVERAL = "*"
"""In place of the network, where several were in one bucket."""

BEYOND = frozenset[str]({SignInOutcome.INVALID_GRANT})
"""Outcomes that a limit bounds. Beyond it they are only counted (``AuditEvent.objects.record``)."""

COUNTED = {
    kind: {outcome for outcome, row in rows.items() if row.counted}
    for kind, rows in events.EVENTS.items()
}

CHANGE_NOTHING = set[str]().union(*COUNTED.values()) - BEYOND - {SendOutcome.UNREADABLE}
"""What anybody can cause. A number that cannot be read is refused to its person only, or to staff,
who give a reason."""


def may_repeat(kind: str, outcome: str, reason: str, data: Mapping[str, Any]) -> bool:
    """Whether a decision can repeat without end.

    It cannot if it raised the count of wrong codes, which has a limit, or if staff gave a
    reason for it.
    """
    is_counted = events.row_of(kind, outcome).counted and outcome not in BEYOND
    return is_counted and not reason and "failures" not in data


class RefusalCountQuerySet(models.QuerySet["RefusalCount"]):
    def untold(self) -> Self:
        """Counts with refusals of which no event tells yet."""
        return self.filter(count__gt=F("told"))

    def without_event(self, user: models.Model) -> Self:
        """Counts about *user* that have no event yet. Pages show them as if they had."""
        return self.filter(user_id=user.pk, told=0)

    def due(self, now: datetime) -> Self:
        """Counts whose hour is over, with refusals of which no event tells yet.

        Only of what is counted. Rows here have no digest, and the event of one gets a valid one:
        who writes to the database could have any decision signed.
        """
        pairs = (Q(kind=kind, outcome__in=outcomes) for kind, outcomes in COUNTED.items())
        counted = self.untold().filter(reduce(or_, pairs))
        return counted.filter(ends_at__lte=now).order_by("pk")

    def raise_for(
        self, event: Any, subject: str, origin: Origin, *, first_is_told: bool
    ) -> "RefusalCount":
        """Count the refusal of *event*, which is not saved, and return its row.

        The row is locked until the transaction ends: so of two first ones at the same time,
        only one counts as the first.

        :param first_is_told: whether the first one has an event of its own.
        """
        row = RefusalCount(
            key=_key(event, subject, origin),
            ends_at=_end_of_window(event.at),
            kind=event.kind,
            outcome=event.outcome,
            user_id=event.user_id,
            network=network(origin.ip),
            last={name: getattr(event, name) for name in LAST_FIELDS},
            told=int(first_is_told),
            first_at=event.at,
            last_at=event.at,
            recent=f"{event.request_id[:NAMED]:{NAMED}} ",
        )
        _RAISE.run(row)
        return row


class RefusalCount(models.Model):
    """The count of equal refusals in one hour."""

    key = models.CharField(max_length=64)  # a keyed digest of what they have in common
    ends_at = models.DateTimeField()
    kind = models.CharField(max_length=16)
    outcome = models.CharField(max_length=32)
    # No foreign key, as in the audit trail. Nothing where they are about several accounts.
    user_id = models.BigIntegerField(null=True)
    network = models.CharField(max_length=43, blank=True, default="", db_default="")  # or SEVERAL
    last = models.JSONField()  # the content that an event of the last one would have
    count = models.PositiveBigIntegerField(default=1)
    # How many of them an event has told of: that of the first, if it has one, and the closing one.
    told = models.PositiveBigIntegerField(default=1)
    first_at = models.DateTimeField()  # the time of the event of the first, if it has one
    last_at = models.DateTimeField()
    # How the ids of the last ``RECENT`` requests begin, newest first.
    recent = models.TextField(blank=True, default="", db_default="")

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


# All fields of an event, except those of the single request and those that the row has.
LAST_FIELDS = (
    *("face", "actor_id", "client", "ip", "file_id", "provider_user_id"),
    *("number_digest", "last_three", "data", "key_id"),
)


def _key(event: Any, subject: str, origin: Origin) -> str:
    # The fault of a passkey: after one, a copied key must not stay untold.
    rule = event.data.get("why" if event.outcome == CodeOutcome.PASSKEY_REFUSED else "rule", "")
    purpose = event.data.get("purpose", "")
    bucket = int(keys.digest("refusals of", network(origin.ip)), 16) % BUCKETS
    subject = subject or f"{event.user_id} {event.actor_id}"
    # By client: what a stolen key asks for must not go unseen among what the others ask for.
    by = [event.face, event.client, bucket]
    same = [event.kind, event.outcome, *by, rule, purpose, subject]
    return keys.digest("refusals", "\n".join(map(str, same)))


def network(ip: str) -> str:
    """Return the network of *ip* that one attacker is likely to have: a /24, or an IPv6 /48."""
    return network_of(ip, 24, CUSTOMER_V6)


def _end_of_window(now: datetime) -> datetime:
    seconds = int(WINDOW.total_seconds())
    stamp = int(now.timestamp())
    return datetime.fromtimestamp(stamp - stamp % seconds, tz=now.tzinfo) + WINDOW


_RAISE = Insert(
    RefusalCount,
    or_else=f"""ON CONFLICT (key, ends_at) DO UPDATE SET count = optin_refusalcount.count + 1,
last = excluded.last,
last_at = excluded.last_at,
recent = substr(excluded.recent || optin_refusalcount.recent, 1, {RECENT * (NAMED + 1)}),
network = CASE WHEN optin_refusalcount.network = excluded.network
THEN excluded.network ELSE '{SEVERAL}' END,
user_id = CASE WHEN optin_refusalcount.user_id = excluded.user_id THEN excluded.user_id END
""",
    returning=["count"],
)
