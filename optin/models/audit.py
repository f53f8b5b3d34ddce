"""The audit trail: what was decided, for whom, by whom, from where.

Rows are added and never changed; only ``purge`` deletes old ones. Each has a keyed digest of its
content, which shows a change, and names the event that the same thread wrote before it: two rows
that name one event show a copy, and a row that names a missing event shows a removal.
"""

import hmac
import json
import logging
import os
import secrets
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from django.db import DataError, models, transaction
from django.db.models import Q
from django.dispatch import Signal
from django.utils import timezone

from optin import events, keys
from optin.database import Insert, run
from optin.models.append_only import AppendOnly, AppendOnlyQuerySet
from optin.models.choices import ChoiceField
from optin.models.reasons import MAX_REASON
from optin.models.refusal_counts import (
    LAST_FIELDS,
    SEVERAL,
    RefusalCount,
    RefusalCountQuerySet,
    may_repeat,
)
from optin.models.webhooks import WebhookEvent
from optin.origin import Face, Origin
from optin.runtime import metrics
from optin.runtime.commits import after_commit, waiting_hooks

if TYPE_CHECKING:
    from optin.models.factors import ProviderUser

MAX_USER_AGENT = 200
"""Characters of a user agent that are kept."""

logger = logging.getLogger("optin.audit")

committed = Signal()
"""Sent after the commit of an event, with ``event``."""

REDIGESTED = "redigested"
"""The first event under a new digest key, from releases before 0.29 that could change it."""

LAST = 2**63 - 1
"""Above all ids."""


class _Thread(threading.local):
    """The newest event that one thread of this process wrote to the trail."""

    newest: str
    """The name of its newest event that is known to be committed; a random one before the first."""
    is_followed: bool
    """Whether an event was added that names it, and may or may not be committed."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.newest, self.is_followed = secrets.token_hex(16), False

    def take(self) -> str:
        """Return the name that the next event gives for the one before it.

        A name is kept until an event that gives it is known to be committed. Otherwise whoever
        lets transactions fail could make threads forget what they wrote, and then remove it.
        """
        if open_event := _newest_of_transaction():
            run([])  # it has its id after that
            return open_event.name()
        if self.is_followed:  # it was rolled back, or the connection was lost during the commit
            self.newest = _last_from(self.newest)
        self.is_followed = True
        return self.newest

    def keep(self, event: "AuditEvent") -> None:
        """Remember *event*, which is committed.

        Not if a later one was committed already: something else that runs after the same commit
        may have written it.
        """
        if event.previous == self.newest:
            self.newest, self.is_followed = event.name(), False


_thread = _Thread()


def forget_thread() -> None:
    """Let the next event of this thread name no event before it."""
    _thread.forget()


# Otherwise each child would name the last event of its parent.
os.register_at_fork(after_in_child=forget_thread)


class AuditEventQuerySet(AppendOnlyQuerySet["AuditEvent"]):
    def about(self, user: "models.Model", *, below: int = LAST) -> Self:
        """What happened to *user*, newest first."""
        return self.led_by("user_id", user.pk, below=below)

    def led_by(self, name: str, value: object, *, above: int = 0, below: int = LAST) -> Self:
        """The events between two ids whose *name* is *value*, newest first.

        Always by the index of *name*. PostgreSQL would go through all events instead, if it
        knows that the value is common. So it is asked for one of two values, and no event has the
        second one; only the index of *name* has these in order.
        """
        nothing = "-" if isinstance(value, str) else -1
        events = self.filter(**{f"{name}__in": [value, nothing]}, pk__gt=above, pk__lt=below)
        return events.order_by(name, "-pk")

    def record(
        self,
        kind: "AuditEvent.Kind",
        outcome: str,
        *,
        origin: Origin,
        now: datetime | None = None,
        user_id: int | None = None,
        file_id: int | None = None,
        provider_user_id: int | None = None,
        other_user_id: int | None = None,
        number_digest: str = "",
        last_three: str = "",
        reason: str = "",
        data: Mapping[str, Any] | None = None,
        subject: str = "",
        only_count: bool = False,
        number: "ProviderUser | None" = None,
    ) -> "AuditEvent":
        """Add one event. Call it last, in the transaction of the change.

        The endpoints of the file are told of it, if it is one of the decisions that they are told.

        If an equal refusal already has an event within the hour, only a count is raised, and this
        event is not saved: ``tell_repeats`` adds one for all of them (``refusal_counts``).

        :param now: when it was decided; by default, at this moment.
        :param data: the rule and the counts that decided: plain JSON, no secret.
        :param subject: what equal refusals are about; by default the account and the actor.
        :param only_count: this is a refusal, and has no event of its own even if it is the first.
        :param number: the number that it is about, as the endpoints of its file are told.
        """
        now = now or timezone.now()
        event = AuditEvent(
            at=now,
            kind=kind,
            outcome=outcome,
            face=origin.face,
            actor_id=origin.actor_id,
            client=origin.client,
            ip=origin.ip or None,
            # PostgreSQL keeps no NUL.
            user_agent=origin.user_agent.replace("\0", "")[:MAX_USER_AGENT],
            request_id=origin.request_id,
            user_id=user_id,
            file_id=file_id,
            provider_user_id=provider_user_id,
            other_user_id=other_user_id,
            number_digest=number_digest,
            last_three=last_three,
            reason=reason,
            data=dict(data or {}),
            key_id=keys.digest_key_id(),
        )
        # Count only what was committed.
        count = partial(metrics.count_decision, event.kind, event.outcome, event.data)
        after_commit(count)
        if only_count:
            RefusalCount.objects.raise_for(event, subject, origin, first_is_told=False)
            return event
        if may_repeat(kind, outcome, reason, event.data):
            row = RefusalCount.objects.raise_for(event, subject, origin, first_is_told=True)
            if row.count > 1:
                return event
            self.tell_repeats(RefusalCount.objects.due(now).filter(key=row.key), now)
        event.add()
        _tell_webhooks(event, number)
        return event

    def tell_repeats(self, rows: RefusalCountQuerySet, now: datetime) -> list["AuditEvent"]:
        """Add one event for each of *rows*, about the refusals that no event tells of yet.

        Call it in a transaction. Each refusal is told once, however many processes do this at
        the same time: a row that another one holds is left to it.

        :returns: the events that were added.
        """
        told: list[AuditEvent] = []
        locked = rows.select_for_update(skip_locked=True, no_key=True)
        for pk in locked.values_list("pk", flat=True):
            try:
                with transaction.atomic():
                    row = RefusalCount.objects.get(pk=pk)
                    event = AuditEvent.of_repeats(row, now)
                    event.add()
                    RefusalCount.objects.filter(pk=pk).update(told=row.count)
            except _UNTELLABLE as exc:
                # The service did not write it like this. The others must be told all the same.
                logger.error("row %s of refusals cannot be told: %s", pk, type(exc).__name__)
            else:
                told.append(event)
        return told


# What reading a row of refusals can raise if somebody tampered with its values.
_UNTELLABLE = (ValueError, TypeError, AttributeError, OverflowError, DataError)


class AuditEvent(AppendOnly):
    """One decision. It holds ids, not names: names are looked up when shown."""

    Kind: TypeAlias = events.Kind

    at = models.DateTimeField()
    kind = ChoiceField(max_length=16, choices=Kind.choices)
    outcome = models.CharField(max_length=32)
    face = ChoiceField(max_length=8, choices=Face.choices)
    # Plain numbers, no foreign keys: history outlives the rows it tells of.
    actor_id = models.BigIntegerField(null=True)
    user_id = models.BigIntegerField(null=True)
    other_user_id = models.BigIntegerField(null=True)
    file_id = models.BigIntegerField(null=True)
    provider_user_id = models.BigIntegerField(null=True)
    number_digest = models.CharField(max_length=64, blank=True)
    last_three = models.CharField(max_length=3, blank=True)
    client = models.CharField(max_length=32, blank=True)
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=MAX_USER_AGENT, blank=True)
    request_id = models.CharField(max_length=36, blank=True)
    reason = models.CharField(max_length=MAX_REASON, blank=True)
    data = models.JSONField(default=dict)
    key_id = models.CharField(max_length=8)
    digest = models.CharField(max_length=64)
    # Null in events from before this column: the index would allow an empty text only once.
    previous = models.CharField(max_length=36, null=True)  # noqa: DJ001

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        permissions = [("export_events", "Can take audit events away as a file")]
        constraints = [
            models.UniqueConstraint(
                fields=["previous"],
                condition=Q(previous__isnull=False),
                name="audit_event_follows_another_alone",
            ),
        ]
        indexes = [
            models.Index(fields=["user_id", "-id"], name="audit_event_by_user"),
            models.Index(fields=["-at", "-id"], name="audit_event_by_time"),
            # Events that concern a second account: both are flagged for staff.
            models.Index(
                fields=["other_user_id", "-id"],
                condition=Q(other_user_id__isnull=False),
                name="audit_event_by_other_user",
            ),
            models.Index(
                fields=["number_digest", "-id"],
                condition=~Q(number_digest=""),
                name="audit_event_by_number",
            ),
            # For events about a number without an account: lists, STOP.
            models.Index(
                fields=["number_digest", "-id"],
                condition=Q(user_id__isnull=True) & ~Q(number_digest=""),
                name="audit_event_by_lone_number",
            ),
            models.Index(
                fields=["file_id", "-id"],
                condition=Q(file_id__isnull=False),
                name="audit_event_by_file",
            ),
            # What staff filter by (P-22): each has one, so that no value is looked for in vain
            # among all events. They take some microseconds of an insertion.
            models.Index(fields=["kind", "-id"], name="audit_event_by_kind"),
            models.Index(fields=["outcome", "-id"], name="audit_event_by_outcome"),
            models.Index(fields=["face", "-id"], name="audit_event_by_face"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.outcome}"

    @classmethod
    def of_repeats(cls, row: RefusalCount, now: datetime) -> Self:
        """Return the event, not saved, about refusals of *row* that no event tells of yet.

        It holds the content of the last of them, how many there were, and between which times.
        No address, if they came from several networks. ``alone`` says that no event told of the
        first one.
        """
        # A row of a later release may know more fields. Null is the default where it may stand.
        kept = {k: value for k, value in row.last.items() if k in LAST_FIELDS and value is not None}
        event = cls(at=now, kind=row.kind, outcome=row.outcome, user_id=row.user_id, **kept)
        if event.key_id != keys.digest_key_id():
            event.number_digest, event.key_id = "", keys.digest_key_id()
        since, until = row.first_at.isoformat(), row.last_at.isoformat()
        event.data = {**event.data, "repeated": row.untold, "since": since, "until": until}
        if not row.told:
            event.data["alone"] = True
        if row.network == SEVERAL:
            event.ip, event.data["networks"] = None, "several"
        return event

    def add(self) -> None:
        """Insert this event, with its digest. It names the event before it of this thread."""
        self.previous = _thread.take()
        self.digest = self.content_digest()
        _INSERT.run_later(self)
        after_commit(partial(_committed, self))

    def content_digest(self) -> str:
        """Return the keyed digest of all that this row says, in hex, with the key that it names.

        The id is not part of it, because the database gives it on insertion. The next event of
        the same thread holds the id, and so does the seal.

        :raises UnknownDigestKeyError: if that key is not here.
        """
        content = {name: getattr(self, name) for name in _CONTENT}
        if self.previous is None:
            del content["previous"]  # the event is older than the column
        content["at"] = int(self.at.timestamp() * 1_000_000)
        return keys.digest("audit event", _JSON.encode(content), key_id=self.key_id)

    def is_proved(self) -> bool:
        """Whether its digest proves its content; no, if the key of the digest is not here."""
        if not keys.has_digest_key(self.key_id):
            return False
        # A forged one may be no ASCII, which is not compared as text.
        return hmac.compare_digest(str(self.digest).encode(), self.content_digest().encode())

    def name(self) -> str:
        """Return what the next event of this thread names as ``previous``."""
        return f"{self.pk}:{self.digest[:NAMED]}"


# Made once: a check computes the digest of millions of events.
_CONTENT = [f.attname for f in AuditEvent._meta.concrete_fields if f.name not in {"id", "digest"}]
_JSON = json.JSONEncoder(sort_keys=True, default=str)

NAMED = 16
"""Characters of the digest in the name of an event: 64 bits of a keyed digest."""

_INSERT = Insert(AuditEvent)


def _committed(event: AuditEvent) -> None:
    _thread.keep(event)
    committed.send(AuditEvent, event=event)


def _newest_of_transaction() -> AuditEvent | None:
    """Return the event that this thread added last in the open transaction.

    Django forgets what is to be done after the commit as soon as its savepoint is rolled back.
    """
    for hook in waiting_hooks():
        if isinstance(hook, partial) and hook.func is _committed:
            event: AuditEvent = hook.args[0]
            return event
    return None


def _last_from(name: str) -> str:
    """Return the name of the last event that follows the one with *name*, itself if none does.

    Without the key nobody can add one that would be taken for the service's.
    """
    while event := AuditEvent.objects.filter(previous=name).first():
        if not event.is_proved():
            break
        name = event.name()
    return name


def _tell_webhooks(event: AuditEvent, number: "ProviderUser | None") -> None:
    """Tell the file of *number* of *event*; without a number, the file of *event*."""
    file_id = number.file_id if number else event.file_id
    if file_id is None:
        return
    for kind, reason in events.news_of(event.kind, event.outcome, event.data):
        if number or kind is not events.News.NUMBER_REMOVED:
            WebhookEvent.objects.tell(
                kind, reason, event.at, file_id, number, event.provider_user_id
            )
