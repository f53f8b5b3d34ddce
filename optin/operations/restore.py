"""After the database was restored from a backup: what was used up since must not live again.

``after_restore`` ends everything that is short-lived, of everybody: codes, sessions, tokens, links,
kept answers, and texts and mails that wait. What was decided after the backup is lost.

Webhook events that wait stay: they tell of decisions that the database has. An endpoint that got
one before knows it by its ``webhook-id``.
"""

from collections import Counter
from datetime import datetime
from typing import Any

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.sessions.models import Session
from django.db import connection, models, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from optin import codes
from optin.audit import restores
from optin.audit.seals import drawn
from optin.conf import conf
from optin.messaging.wording import DISOWNABLE
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    IdempotencyKey,
    Notice,
    PendingOtp,
    Revocation,
    SmsMessage,
    User,
)
from optin.models.messages import State, Unsent
from optin.operations import email_changes, revocations
from optin.origin import Origin

SPARE = 100_000
"""How many ids above the newest one known here no later event gets: other machines may have seen
newer ones, and copies of seals may name them."""

REASON = "The database was restored from a backup"


def after_restore(*, origin: Origin) -> Counter[str]:
    """End what is short-lived, of everybody; return how many rows were ended, by what they are.

    The service must be stopped. If this is stopped in the middle, run it again.
    """
    called_off: Counter[str] = Counter()
    for waits in Revocation.objects.open().select_related("user"):
        # It does not count as withdrawn: whoever asked at sign-in may ask again.
        ended_as = Revocation.Closed.RESTORED
        revocations.withdraw(waits.user, reason=REASON, origin=origin, closed_as=ended_as)
        called_off["removals"] += 1
    called_off["email_changes"] = email_changes.close_all(origin=origin)
    lost_from = restores.newest_here() + 1
    lost_to = max(drawn() or 0, _newest_seen(), lost_from) + SPARE
    with transaction.atomic(durable=True):
        now = timezone.now()
        ended = +(called_off + _end_for_everybody(now))
        _skip_to(lost_to)
        data: dict[str, Any] = {"lost_from": lost_from, "lost_to": lost_to, "ended": ended}
        done = AuditEvent.objects.record(
            AuditEvent.Kind.RESTORE, "done", now=now, origin=origin, data=data
        )
    if conf.newest_event:
        restores.write(done.pk)
    return ended


def _newest_seen() -> int:
    """Return the number of this machine, 0 if it has none that can be read."""
    try:
        return (restores.newest_seen() if conf.newest_event else None) or 0
    except (OSError, ValueError):
        return 0


def _skip_to(last: int) -> None:
    """Let no later event get an id up to *last*: copies of seals still name the lost events."""
    with connection.cursor() as cursor:
        cursor.execute(_DRAW[connection.vendor], [last])


_DRAW = {
    # The role of the service may draw from the sequence, but not set it.
    "postgresql": """
        SELECT max(nextval(name)) FROM
        (SELECT pg_get_serial_sequence('optin_auditevent', 'id')::regclass AS name) AS it,
        generate_series(coalesce(pg_sequence_last_value(name), 0) + 1, %s)
    """,
    "sqlite": "UPDATE sqlite_sequence SET seq = %s WHERE name = 'optin_auditevent'",
}


def _end_for_everybody(now: datetime) -> Counter[str]:
    """End codes, sign-ins and links, and what waits to be sent; return how many rows of each."""
    ended: Counter[str] = Counter()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")  # many rows, and nobody waits
    ended["codes"] = PendingOtp.objects.open().close(now, PendingOtp.Closed.RESTORED)
    # The code that an app shows now may have been used.
    step = codes.app_step_at(now) + 1
    AuthenticatorApp.objects.update(last_step=Greatest("last_step", step))
    AuthenticatorApp.objects.filter(confirmed=False).delete()
    ended["sessions"], _ = Session.objects.all().delete()
    tokens: list[type[models.Model]] = [
        get_refresh_token_model(),
        get_access_token_model(),
        get_id_token_model(),
        get_grant_model(),
    ]
    for model in tokens:
        ended["tokens"] += model._default_manager.all().delete()[0]
    ended["answers"], _ = IdempotencyKey.objects.all().delete()
    User.objects.update(
        session_epoch=F("session_epoch") + 1,
        sign_ins_ended_at=now,
        last_attempt="",
        passkey_challenge_at=now,  # an answer to one from before may have been used
    )
    User.objects.filter(password__startswith=UNUSABLE_PASSWORD_PREFIX).update(invited_at=None)
    links = Notice.objects.filter(kind__in=DISOWNABLE, disowned_at=None)
    ended["links"] = links.update(disowned_at=now)
    for model, state in ((SmsMessage, State.EXPIRED), (Notice, State.FAILED)):
        waiting = model.objects.filter(state__in=[State.QUEUED, State.SENDING])
        ended["messages"] += waiting.update(state=state, reason=Unsent.RESTORED)
    return ended
