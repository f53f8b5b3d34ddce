"""What is deleted in time.

``purge`` deletes what nobody needs any more, in many short transactions. If it is killed, the next
run does the rest. It skips rows that another transaction has locked; the next run deletes them. It
resets no count and no lock of a user. It shortens no wait and no limit, because these look only at
newer rows.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from oauth2_provider.models import (
    clear_expired,
    get_access_token_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from optin import limits
from optin.audit import repeats, seals
from optin.conf import conf
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    EmailChange,
    Figure,
    GatewayTry,
    Guard,
    IdempotencyKey,
    KnownNetwork,
    Notice,
    PendingOtp,
    ProposedNumber,
    ProviderUser,
    RefusalCount,
    Revocation,
    SendCounter,
    SessionOwner,
    SimAnswer,
    SmsMessage,
    Span,
    UsedCode,
    User,
    WebhookEvent,
    WebhookTry,
    idempotency,
)
from optin.models.messages import LEASE, State
from optin.origin import Origin
from optin.support import statistics

logger = logging.getLogger(__name__)

ENDED_KEPT = timedelta(hours=24)
"""Codes, texts, numbers and apps without proof, counters: so long after their end (S-55)."""

NETWORKS_KEPT = timedelta(days=90)
"""How long a network is kept after the person last signed in from it."""

NOTICES_KEPT = timedelta(days=30)
"""Mails that left, or never will."""

EVENTS_KEPT = timedelta(days=30)
"""Events for webhook endpoints, sent or not, and the log of the attempts."""

PROPOSALS_KEPT = timedelta(days=400)
"""Numbers that were proposed, and with which nobody opted in."""

CLOCKS_APART = timedelta(minutes=5)
"""The database guards young audit events by its own clock, which may be behind."""

CHUNK = 500
"""Rows in one transaction: a few milliseconds, for those who wait."""

Kind = AuditEvent.Kind
Counts = Counter[str]
_WAITING = (State.QUEUED, State.SENDING)


def purge(*, origin: Origin) -> Counts:
    """Delete what is past its time; return how many rows of each kind.

    One audit event tells of a run that deleted anything.
    """
    now = timezone.now()
    repeats.tell(now)
    _count_first(now)
    deleted: Counts = Counter()
    for step in (
        _codes,
        _news,
        _numbers,
        _apps,
        _past,
        _figures,
        _sessions,
        _tokens,
        _audit_events,
    ):
        deleted += step(now)
    if deleted:
        # At the time of its end, as it may have taken long: events stand by their times.
        with transaction.atomic(durable=True):
            AuditEvent.objects.record(Kind.PURGE, "ok", origin=origin, data=deleted)
    return deleted


# -- one kind of rows after the other ----------------------------------------------


def _codes(now: datetime) -> Counts:
    """Codes that were closed, or expired, a day ago; their texts go with them.

    Later if the limits on texts look back further.
    """
    before = now - max(ENDED_KEPT, limits.reach())
    past = PendingOtp.objects.filter(
        Q(closed_at__lte=before) | Q(closed_at=None, expires_at__lte=before)
    )
    return _in_chunks(past, lambda ids: _drop_codes(ids, now))


def _news(now: datetime) -> Counts:
    """Texts of news to a number, a day after they left, or could not.

    They have no code that they would go with. One that warns of a removal is kept while that
    waits: the service looks whether it left.
    """
    open_removals = Revocation.objects.open().filter(pk=OuterRef("about_id"))
    past = (
        SmsMessage.objects.filter(pending_otp=None)
        .exclude(state__in=_WAITING)
        .exclude(Exists(open_removals))
        .alias(ended_at=Coalesce("sent_at", "claimed_at", "created_at"))
        .filter(ended_at__lte=now - ENDED_KEPT)
    )

    def drop(ids: Sequence[Any]) -> Counts:
        _delete(GatewayTry.objects.filter(message__in=ids))
        return Counter(texts=_delete(SmsMessage.objects.filter(pk__in=ids)))

    return _in_chunks(past, drop)


def _numbers(now: datetime) -> Counts:
    """Numbers that were never verified, a day after their last text.

    Under the lock of their user, as every operation: an opt-in that finds the row still
    has it when it commits. What the user counted stays with the user.
    """
    idle = _idle_numbers(now)

    def drop(user_ids: Sequence[Any]) -> Counts:
        ids = list(idle.filter(user__in=user_ids).values_list("pk", flat=True))
        deleted = _drop_codes(_locked(PendingOtp.objects.filter(provider_user__in=ids)), now)
        # Not one with a code that is held, or whose text is under way.
        empty = ProviderUser.objects.filter(pk__in=ids).exclude(
            Exists(PendingOtp.objects.filter(provider_user=OuterRef("pk")))
        )
        deleted["numbers"] = _delete(empty)
        return deleted

    return _in_chunks(User.objects.filter(pk__in=idle.values("user")), drop)


def _idle_numbers(now: datetime) -> "models.QuerySet[ProviderUser]":
    before = now - max(ENDED_KEPT, limits.reach())
    texts = SmsMessage.objects.filter(pending_otp__provider_user=OuterRef("pk"))
    news = SmsMessage.objects.filter(news_to=OuterRef("pk"))
    return ProviderUser.objects.filter(
        ~Exists(texts.filter(created_at__gt=before)),
        ~Exists(news),
        verified_at=None,
        created_at__lte=before,
    )


def _apps(now: datetime) -> Counts:
    """Secrets of apps that were never verified. Under the lock of their user, as ``_numbers``."""
    idle = AuthenticatorApp.objects.filter(confirmed=False, created_at__lte=now - ENDED_KEPT)

    def drop(user_ids: Sequence[Any]) -> Counts:
        return Counter(apps=_delete(idle.filter(user__in=user_ids)))

    return _in_chunks(User.objects.filter(pk__in=idle.values("user")), drop)


def _drop_codes(ids: Sequence[Any], now: datetime) -> Counts:
    """Delete these codes and their texts, but for a text that is just being sent."""
    under_way = Q(state=State.SENDING, claimed_at__gt=now - LEASE)
    past = SmsMessage.objects.filter(~under_way, pending_otp__in=ids)
    _delete(GatewayTry.objects.filter(message__in=past))
    texts = _delete(past)
    codes = _delete(
        PendingOtp.objects.filter(pk__in=ids).exclude(
            Exists(SmsMessage.objects.filter(pending_otp=OuterRef("pk")))
        )
    )
    return Counter(texts=texts, codes=codes)


def _past(now: datetime) -> Counts:
    """Rows of which nothing else needs to go, or to be locked, with them."""
    deleted: Counts = Counter()
    for name, find in _PAST.items():
        past = find(now)
        deleted += _in_chunks(past, _dropping(name, past.model))
    return deleted


def _counters(now: datetime) -> "models.QuerySet[SendCounter]":
    """Counters whose window ended a day ago; how long a window is stands in its scope."""
    ended = Q(pk__in=[])
    for scope in SendCounter.objects.values_list("scope", flat=True).distinct():
        _, _, seconds = scope.rpartition("/")
        # A window longer than the time since 1970 has not ended yet.
        if seconds.isdecimal() and int(seconds) < now.timestamp():
            began = now - ENDED_KEPT - timedelta(seconds=int(seconds))
            ended |= Q(scope=scope, window_start__lte=began)
    return SendCounter.objects.filter(ended)


_PAST: dict[str, Callable[[datetime], "models.QuerySet[Any]"]] = {
    "counters": _counters,
    # Events told of them all.
    "refusals": lambda now: RefusalCount.objects.filter(
        count=F("told"), ends_at__lte=now - ENDED_KEPT
    ),
    "guards": lambda now: Guard.objects.filter(until__lte=now - ENDED_KEPT),
    "idempotency_keys": lambda now: IdempotencyKey.objects.filter(
        answered_at__lte=now - idempotency.KEPT
    ),
    "networks": lambda now: KnownNetwork.objects.filter(last_used_at__lte=now - NETWORKS_KEPT),
    "sim_answers": lambda now: SimAnswer.objects.filter(asked_at__lte=now - ENDED_KEPT).exclude(
        swapped_until__gt=now
    ),
    "notices": lambda now: Notice.objects.filter(created_at__lte=now - NOTICES_KEPT).exclude(
        state__in=_WAITING
    ),
    "proposed_numbers": lambda now: ProposedNumber.objects.filter(
        proposed_at__lte=now - PROPOSALS_KEPT
    ),
    # As the mails with their links.
    "revocations": lambda now: Revocation.objects.filter(closed_at__lte=now - NOTICES_KEPT),
    # Those whose link nobody used, too.
    "email_changes": lambda now: EmailChange.objects.filter(
        Q(closed_at__lte=now - NOTICES_KEPT)
        | Q(closed_at=None, proved_at=None, asked_at__lte=now - NOTICES_KEPT)
    ),
    # Those, too, that an endpoint which is switched off never got.
    "webhook_events": lambda now: WebhookEvent.objects.filter(at__lte=now - EVENTS_KEPT),
    "webhook_tries": lambda now: WebhookTry.objects.filter(at__lte=now - EVENTS_KEPT),
}
"""What is past its time, by the words of the audit event."""

KINDS = (
    *("codes", "texts", "numbers", "apps"),
    *_PAST,
    *("figures", "sessions", "tokens", "audit_events"),
)
"""What ``purge`` counts, in the words of its audit event."""


def _count_first(now: datetime) -> None:
    """Count the figures while there still is what they are counted from.

    What must go in time goes all the same (S-55), if that cannot be done.
    """
    try:
        statistics.roll_up(now)
    except DatabaseError as exc:
        logger.error("figures could not be counted before a purge: %s", type(exc).__name__)


def _oldest_day(now: datetime) -> date:
    return statistics.day_of(now) - timedelta(days=conf.audit_retention)


def _figures(now: datetime) -> Counts:
    """Figures as old as the oldest audit events."""
    past = Span.objects.filter(day__lt=_oldest_day(now))

    def drop(ids: Sequence[Any]) -> Counts:
        deleted = _delete(Figure.objects.filter(span__in=ids))
        _delete(Span.objects.filter(pk__in=ids))
        return Counter(figures=deleted)

    return _in_chunks(past, drop)


def _sessions(now: datetime) -> Counts:
    expired = Session.objects.filter(expire_date__lt=now)
    owners = SessionOwner.objects.filter(ends_at__lt=now)
    _in_chunks(owners, _dropping("sessions", SessionOwner))  # counted once, with the sessions
    return _in_chunks(expired, _dropping("sessions", Session))


def _tokens(now: datetime) -> Counts:
    """Tokens and authorization codes past use, by the rules of django-oauth-toolkit.

    A refresh token that was used stays as long as it could be used again: that is how a
    theft shows (S-34). So does the digest of a code that was used, for a day.
    """
    used = UsedCode.objects.filter(used_at__lte=now - ENDED_KEPT)
    dropped = _in_chunks(used, _dropping("tokens", UsedCode))
    kinds = [
        get_refresh_token_model(),
        get_access_token_model(),
        get_id_token_model(),
        get_grant_model(),
    ]
    rows = [kind.objects.filter(pk__lte=_newest(kind)) for kind in kinds]
    before = sum(row.count() for row in rows)
    clear_expired()
    return dropped + Counter(tokens=before - sum(row.count() for row in rows))


def _newest(kind: type[models.Model]) -> Any:
    newest = kind._default_manager.order_by("-pk").values_list("pk", flat=True).first()
    return newest or 0


def _audit_events(now: datetime) -> Counts:
    """Sealed events past retention, a whole range at a time (``seals``)."""
    deleted: Counts = Counter()
    seals.seal(now)
    before = now - timedelta(days=conf.audit_retention) - CLOCKS_APART
    for one in seals.sealed_before(before):
        if not _may_delete_events():
            # As it should be for the role of the service (docs/deploy.md).
            logger.warning("This role of the database may not delete from the audit trail.")
            break
        sealed = AuditEvent.objects.filter(pk__gte=one.first_id, pk__lte=one.last_id)
        with transaction.atomic(durable=True):
            deleted["audit_events"] += _delete(sealed)
    return deleted


def _may_delete_events() -> bool:
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege(%s, 'DELETE')", [AuditEvent._meta.db_table])
        (may,) = cursor.fetchone()
    return bool(may)


# -- chunks ------------------------------------------------------------------------


def _in_chunks(rows: "models.QuerySet[Any]", drop: Callable[[Sequence[Any]], Counts]) -> Counts:
    """Lock a chunk of *rows* and drop it, each in a transaction of its own, to the end.

    Forward by key: so it comes to an end though some rows stay.
    """
    deleted: Counts = Counter()
    rest = rows
    while True:
        with transaction.atomic(durable=True):
            ids = _locked(rest, CHUNK)
            if ids:
                deleted += drop(ids)
        if len(ids) < CHUNK:
            return deleted
        rest = rows.filter(pk__gt=ids[-1])


def _locked(rows: "models.QuerySet[Any]", limit: int | None = None) -> list[Any]:
    """Lock *rows*, in the order of their keys, but for those that somebody holds."""
    free = rows.select_for_update(skip_locked=True, no_key=True).order_by("pk")
    return list(free.values_list("pk", flat=True)[:limit])


def _dropping(name: str, model: type[models.Model]) -> Callable[[Sequence[Any]], Counts]:
    return lambda ids: Counter({name: _delete(model._default_manager.filter(pk__in=ids))})


def _delete(rows: "models.QuerySet[Any]") -> int:
    """Delete *rows* by one statement, whatever their number.

    ``QuerySet.delete`` would fetch them, and what hangs off them, in many.
    """
    return rows._raw_delete(rows.db) or 0  # nothing where the condition is empty
