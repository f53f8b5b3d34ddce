"""Webhooks: what the endpoints of a file are told, in which order, and how each attempt went.

An event is written in the transaction of the decision that it tells of. Later it gets its number
in the sequence of its file (``messaging.webhooks``), and each endpoint of the file gets the events
in this order. An event holds ids and codes of reasons only: no number, name or address.
"""

import base64
import secrets
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import connection, models
from django.db.models import Case, Exists, F, OuterRef, Q, Subquery, Value, When
from django.utils.functional import cached_property

from optin import keys
from optin.database import Insert
from optin.events import News
from optin.models.choices import ChoiceField
from optin.models.files import File, Membership
from optin.models.users import User

if TYPE_CHECKING:
    from optin.models.factors import ProviderUser

LEASE = timedelta(seconds=30)
"""Longer than any attempt takes: then its sender is gone."""

OLD_SECRET_FOR = timedelta(days=1)
"""How long the secret before the present one signs too."""

ANSWER_KEPT = 200
"""Characters of an answer that are kept."""

SECRET_BYTES = 32

MAX_SEQUENCE = 2**63 - 1
"""The highest number that the column holds."""
MAX_DESCRIPTION = 100
MAX_KINDS = 500  # characters of all their names


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def due(self, now: datetime) -> Self:
        """Endpoints to which something is to be sent at *now*, and nobody sends now.

        A test is sent at once, also to an endpoint that is off, but not to one that is paused.
        """
        # Both are found by an index. For an ``Exists``, PostgreSQL would look at all events.
        tests = WebhookEvent.objects.filter(endpoint__isnull=False).values("endpoint")
        later = WebhookEvent.objects.filter(
            file=OuterRef("file"), sequence__gt=OuterRef("cursor")
        ).order_by("sequence")
        free = Q(claimed_at=None) | Q(claimed_at__lte=now - LEASE)
        waits = Q(off_at=None, due_at__lte=now, next_one__isnull=False)
        rows = (
            self.alias(pause=_pause())
            .filter(pause="")
            .alias(next_one=Subquery(later.values("sequence")[:1]))
        )
        return rows.filter(free, waits | Q(pk__in=tests))

    def paused(self) -> "dict[int, WebhookEndpoint.Paused]":
        """Return why nothing is sent to those that are paused, by id."""
        rows = self.annotate(pause=_pause()).exclude(pause="").values_list("pk", "pause")
        return {pk: WebhookEndpoint.Paused(pause) for pk, pause in rows}

    def switch_off(self, why: str, now: datetime) -> int:
        """Send nothing to those that are on, until somebody switches them on."""
        return self.filter(off_at=None).update(off_at=now, off_why=why)

    def managed_by(self, user: User) -> Self:
        """The door to endpoints: those of files that *user* manages."""
        return self.filter(file__in=File.objects.managed_by(user))

    def claim(self, now: datetime) -> "WebhookEndpoint | None":
        """Take the endpoint that has waited longest, in an open transaction. No other gets it."""
        waiting = self.due(now).order_by("due_at", "pk")
        row = waiting.select_for_update(skip_locked=True, no_key=True).first()
        # The condition is for SQLite, which locks no rows.
        mine = {"claimed_at": now, "claims": F("claims") + 1}
        if row is None or not self.filter(pk=row.pk, claims=row.claims).update(**mine):
            return None
        row.claims += 1
        return row


def _pause() -> Case:
    """Why an endpoint is paused, a ``Paused`` or "": what ends an access key pauses it too."""
    paused = WebhookEndpoint.Paused
    files = File.objects.filter(pk=OuterRef("file"), active=True)
    person = User.objects.filter(pk=OuterRef("made_by"), is_active=True)
    manager = {"user": OuterRef("made_by"), "file": OuterRef("file"), "active": True}
    return Case(
        When(~Exists(files), then=Value(paused.FILE)),
        When(made_by=None, then=Value("")),  # staff answer for it
        When(~Exists(person), then=Value(paused.GONE)),
        When(~Exists(Membership.objects.filter(**manager, manages=True)), Value(paused.NO_MANAGER)),
        default=Value(""),
    )


class WebhookEndpoint(models.Model):
    """An address of a client, to which the events of a file are sent."""

    class Off(models.TextChoices):
        """Why nothing is sent to an endpoint."""

        STAFF = "staff", "switched off by staff"
        MEMBER = "member", "switched off by a member of the file"
        FAILING = "failing", "switched off: all attempts failed"
        GONE = "gone", "switched off: it answered 410 Gone"
        NOT_ME = "not_me", "switched off: whoever answers for it said “that was not me”"

    class Paused(models.TextChoices):
        """Why nothing is sent to an endpoint that is on. Another manager can switch it on."""

        FILE = "file", "the file is closed"
        GONE = "gone", "whoever answers for it is deactivated"
        NO_MANAGER = "no_manager", "whoever answers for it does not manage the file any more"

    file = models.ForeignKey(File, models.CASCADE, related_name="webhook_endpoints")
    url = models.CharField(max_length=500)
    description = models.CharField(
        max_length=MAX_DESCRIPTION, blank=True, default="", db_default=""
    )
    # The kinds of events that it wants, with spaces between; "" for all, later ones too.
    kinds = models.CharField(max_length=MAX_KINDS, blank=True, default="", db_default="")
    # Who answers for it: whoever made it, changed its address or switched it on last. Null for
    # staff. Without an index: there are few rows.
    made_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    # The present secret, and after a space the one before, which signs too until
    # ``old_secret_ends_at``.
    secrets_encrypted = models.CharField(max_length=300)
    old_secret_ends_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    off_at = models.DateTimeField(null=True, blank=True)
    off_why = ChoiceField(max_length=8, choices=Off.choices, blank=True)
    # The number in the sequence of the file of the last event that it has.
    cursor = models.BigIntegerField(default=0)
    failures = models.PositiveSmallIntegerField(default=0)  # in a row
    due_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True, blank=True)
    claims = models.BigIntegerField(default=0)  # so that a late sender knows that it is late

    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        verbose_name = "webhook endpoint"
        constraints = [
            models.CheckConstraint(
                condition=Q(off_at__isnull=True, off_why="")
                | (Q(off_at__isnull=False) & ~Q(off_why="")),
                name="webhook_endpoint_off_for_a_reason",
            )
        ]

    def __str__(self) -> str:
        return f"webhook endpoint {self.pk}"

    @staticmethod
    def new_secret() -> str:
        """Return a secret as Standard Webhooks writes it."""
        return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"

    @staticmethod
    def seal(secrets: str, file_id: int) -> str:
        """Return *secrets* encrypted so that only an endpoint of the file can open them."""
        return keys.encrypt(secrets, context=_context(file_id))

    def open_secrets(self) -> list[str]:
        """Return the present secret, and the one before, if there was one.

        :raises keys.UndecryptableError: if they do not open.
        """
        return keys.decrypt(self.secrets_encrypted, context=_context(self.file_id)).split()

    def seal_anew(self) -> None:
        """Encrypt the secrets with the current key; the caller saves the row.

        :raises keys.UndecryptableError: if they do not open.
        """
        self.secrets_encrypted = self.seal(" ".join(self.open_secrets()), self.file_id)

    def secrets_at(self, now: datetime) -> list[str]:
        """Return the secrets that sign at *now*, the present one first.

        :raises keys.UndecryptableError: if they do not open.
        """
        return self.open_secrets()[: 2 if self.has_old_secret(now) else 1]

    @cached_property
    def paused(self) -> "WebhookEndpoint.Paused | None":
        """Why nothing is sent to it, if somebody has to answer for it first."""
        return WebhookEndpoint.objects.filter(pk=self.pk).paused().get(self.pk)

    @property
    def wanted(self) -> list[str]:
        """The kinds of events that it wants; none named: all."""
        return self.kinds.split()

    def events(self) -> "WebhookEventQuerySet":
        """The events of its file that it wants, in their order."""
        events = WebhookEvent.objects.filter(file=self.file_id, sequence__isnull=False)
        return (events.filter(kind__in=self.wanted) if self.kinds else events).order_by("sequence")

    def next_events(self, count: int) -> "list[WebhookEvent]":
        """Return what is to be sent: a test, or up to *count* events that it wants."""
        if test := self.tests.order_by("pk").first():
            return [test]
        if self.off_at:
            return []
        return list(self.events().filter(sequence__gt=self.cursor)[:count])

    def has_old_secret(self, now: datetime) -> bool:
        """Whether the secret before the present one signs too."""
        return self.old_secret_ends_at is not None and now < self.old_secret_ends_at

    @cached_property
    def failed(self) -> "WebhookTry | None":
        """The last attempt at the event for which the others wait, if it failed."""
        if not (self.failures or self.off_at):
            return None
        first = self.events().filter(sequence__gt=self.cursor).first()
        if first is None:
            return None
        tries = self.tries.filter(sequence=first.sequence).exclude(status__range=(200, 299))
        return tries.order_by("-pk").first()

    def finish(self, **changes: Any) -> bool:
        """Give the claimed endpoint back, with *changes*; False if its lease was over."""
        mine = WebhookEndpoint.objects.filter(pk=self.pk, claims=self.claims)
        return bool(mine.update(claimed_at=None, **changes))


def _context(file_id: int) -> str:
    return f"webhook secret of file {file_id}"


class _TransactionId(models.Expression):
    """The id of the open transaction; 0 on SQLite, which has one writer at a time."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        on_postgresql = connection.vendor == "postgresql"
        return "pg_current_xact_id()::text::bigint" if on_postgresql else "0", []


def _of_snapshot(end: str) -> models.Func:
    template = f"pg_snapshot_{end}(pg_current_snapshot())::text::bigint"
    return models.Func(template=template, output_field=models.BigIntegerField())


class WebhookEventQuerySet(models.QuerySet["WebhookEvent"]):
    def tell(
        self,
        kind: str,
        reason: str,
        at: datetime,
        file_id: int,
        number: "ProviderUser | None" = None,
        number_id: int | None = None,
    ) -> None:
        """Write what happened in a file. Call it in the transaction in which it did.

        :param number: the number that it is about; *number_id* where there is only its id.
        """
        event = WebhookEvent(
            message_id=WebhookEvent.new_id(),
            file_id=file_id,
            kind=kind,
            at=at,
            provider_user_id=number.pk if number else number_id,
            reason=reason,
            reference=number.client_reference if number else "",
        )
        _INSERT.run_later(event)

    def without_sequence(self) -> Self:
        """Events that can get their number now, in their order.

        Not those behind which an earlier one may still appear: its transaction is open. An id from
        the future is from before a restore, of another server.
        """
        rows = self.filter(sequence=None, endpoint=None).order_by("pk")
        if connection.vendor != "postgresql":
            return rows
        over = Q(transaction__lt=_of_snapshot("xmin"))
        return rows.filter(over | Q(transaction__gte=_of_snapshot("xmax")))


class WebhookEvent(models.Model):
    """Something that happened in a file, as its endpoints are told."""

    Kind = News

    message_id = models.CharField(max_length=40, unique=True)
    file = models.ForeignKey(File, models.CASCADE, related_name="webhook_events")
    kind = models.CharField(max_length=24)  # of ``Kind``
    at = models.DateTimeField()
    # A plain number, as in the audit trail. Null once the person is erased.
    provider_user_id = models.BigIntegerField(null=True)
    reason = models.CharField(max_length=32, blank=True)
    # The number's ``client_reference`` then, so that each attempt sends the same. None once the
    # person is erased.
    reference = models.CharField(max_length=64, blank=True, default="", db_default="")
    # The id of the transaction that wrote it. Rows are not committed in the order of their ids.
    transaction = models.BigIntegerField(default=0)
    sequence = models.BigIntegerField(null=True)
    # A test is for one endpoint, and no part of the sequence.
    endpoint = models.ForeignKey(
        WebhookEndpoint, models.CASCADE, null=True, blank=True, related_name="tests"
    )

    objects = WebhookEventQuerySet.as_manager()

    class Meta:
        verbose_name = "webhook event"
        constraints = [
            models.UniqueConstraint(fields=["file", "sequence"], name="webhook_event_sequence"),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(sequence__isnull=True),
                name="webhook_event_no_sequence",
            ),
            models.Index(fields=["at"], name="webhook_event_by_time"),
            # Erasing a person looks for theirs.
            models.Index(
                fields=["provider_user_id"],
                condition=Q(provider_user_id__isnull=False),
                name="webhook_event_by_number",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.message_id}"

    @staticmethod
    def new_id() -> str:
        """Return a new ``webhook-id``."""
        return f"msg_{uuid.uuid4().hex}"

    def body(self) -> dict[str, Any]:
        """Return what is sent, the same at each attempt."""
        return {
            "type": self.kind,
            "timestamp": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {
                "FileId": self.file_id,
                "ProviderUserId": self.provider_user_id,
                "Sequence": self.sequence,
                "Reason": self.reason,
                "Reference": self.reference,
            },
        }


_INSERT = Insert(WebhookEvent, computed={"transaction": _TransactionId(models.BigIntegerField())})


class WebhookTry(models.Model):
    """One attempt to send an event to an endpoint."""

    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="tries")
    message_id = models.CharField(max_length=40)
    kind = models.CharField(max_length=24)
    sequence = models.BigIntegerField(null=True)
    at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(default=0)  # 0: there was no answer
    milliseconds = models.PositiveIntegerField()
    answer = models.CharField(max_length=ANSWER_KEPT, blank=True)
    reason = models.CharField(max_length=200, blank=True)  # why there was no answer
    # Whether the endpoint went on to the next event after this attempt failed.
    skipped = models.BooleanField(default=False, db_default=False)

    class Meta:
        verbose_name = "attempt at a webhook"
        indexes = [
            models.Index(fields=["at"], name="webhook_try_by_time"),
            models.Index(
                fields=["endpoint"], condition=Q(skipped=True), name="webhook_try_skipped"
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.pk} at {self.message_id}"
