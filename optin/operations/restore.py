"""After the database was restored: what was used up, revoked or refused since must not live again.

``after_restore`` first ends everything that is short-lived, of everybody: codes, sessions, tokens,
links, and texts and mails that wait. Then it reads the ledger (``audit.ledger``), and carries out
again, in their order, the decisions that the database has lost (``lost_decisions``).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import F, Max
from django.db.models.functions import Greatest
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from optin import codes
from optin.audit import homes, restores
from optin.audit.ledger import Line
from optin.audit.seals import drawn
from optin.messaging.wording import DISOWNABLE
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    Notice,
    PendingOtp,
    Revocation,
    SmsMessage,
    User,
)
from optin.models.messages import State, Unsent
from optin.operations import email_changes, lost_changes, lost_decisions, revocations
from optin.origin import Origin

SPARE = 100_000
"""How many ids after the newest line no later audit event gets. Lost events may have them:
a process writes no line for some seconds (``ledger.MARK_EVERY``), but never so many events."""

Kind = AuditEvent.Kind


@dataclass(slots=True)
class Restored:
    """What ``after_restore`` did."""

    ended: Counter[str] = field(default_factory=Counter)
    """Rows that were ended for everybody, by what they are."""
    again: Counter[str] = field(default_factory=Counter)
    """Decisions that were carried out again, by the kind of their event."""
    gone: int = 0
    """Decisions about accounts, keys or files that the backup does not have."""
    unknown: int = 0
    """Decisions that this release does not know."""
    set_up: list[int] = field(default_factory=list)
    """Ids of users who set up a second factor since the backup, which is lost: they have none now,
    or an old one that may not be accepted any more."""
    imports: list[Line] = field(default_factory=list)
    """Imports of people that are lost."""


def after_restore(lines: Iterable[Line], *, origin: Origin, force: bool = False) -> Restored:
    """Bring the restored database to a state in which the service may run again.

    The service must be stopped. If this is stopped in the middle, run it again. If you find another
    ledger later, run it with that one: then it only carries out what is in there.

    :param force: end what is short-lived, of everybody, in any case.
    :param lines: of the ledgers of all machines, in any order; a line may come more than once.
    """
    told: dict[tuple[int, str], Line] = {}
    newest: list[Line] = []
    for line in lines:
        if line.kind:
            told[line.event_id, line.digest] = line
        newest = [max([*newest, line], key=lambda each: each.event_id)]
    missing = restores.missing([line for _, line in sorted(told.items())])
    lost = restores.not_carried_out(missing)
    left = lost_changes.left_without(missing)
    until = max((gap.at for gap in restores.gaps("done")), default=None)
    done = Restored()
    is_new = force or bool(restores.unfinished() or restores.lost([*lost, *newest]))
    is_new = is_new or homes.is_elsewhere()
    gap: dict[str, int] = {}
    if is_new:
        gap = _skip_lost_ids(restores.missing(newest), origin)
        with transaction.atomic(durable=True):
            done.ended = _end_for_everybody(timezone.now())
        for waits in Revocation.objects.open().select_related("user"):
            # It does not count as withdrawn: whoever asked at sign-in may ask again.
            ended_as, why = Revocation.Closed.RESTORED, lost_decisions.REASON
            revocations.withdraw(waits.user, reason=why, origin=origin, closed_as=ended_as)
            done.ended["revocations"] += 1
        if stopped := email_changes.close_all(origin=origin):
            done.ended["email_changes"] = stopped
    for line in lost:
        if line.outcome == "import_ended":
            done.imports.append(line)
            outcome = lost_decisions.leave(line, origin=origin)
        elif line.gives_back and until and line.at <= until:
            outcome = lost_decisions.leave(line, origin=origin)
        else:
            outcome = lost_decisions.carry_out(line, left, origin=origin)
        done.again[line.kind] += outcome == "again"
        done.gone += outcome == "gone"
        done.unknown += outcome == "unknown"
    done.set_up = lost_changes.still_without(left)
    if is_new:
        counts = {"ended": done.ended, "again": +done.again, "gone": done.gone}
        _record("done", {**gap, **counts}, origin)
        homes.settle()
    return done


# -- the ids of lost events --------------------------------------------------------


def _skip_lost_ids(newest: list[Line], origin: Origin) -> dict[str, int]:
    """Let no later event get the id of a lost one; record these ids, and return that data.

    Copies of seals, the ledger and other logs still name the lost events by their ids.
    """
    last = max((line.event_id for line in newest), default=0)
    before = restores.unfinished()
    if before and before.outcome == "begun" and last <= before.data["lost_to"]:
        return {name: before.data[name] for name in ("lost_from", "lost_to")}
    newest_here = AuditEvent.objects.aggregate(id=Max("pk"))["id"] or 0
    gap = {
        # The event that noticed the restore has the id of a lost event.
        "lost_from": before.pk if before else newest_here + 1,
        "lost_to": max(drawn() or 0, last) + SPARE,
    }
    _skip_to(gap["lost_to"])
    _record("begun", gap, origin)
    return gap


def _skip_to(last: int) -> None:
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


# -- what is ended for everybody ---------------------------------------------------


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
    for model in (
        get_refresh_token_model(),
        get_access_token_model(),
        get_id_token_model(),
        get_grant_model(),
    ):
        ended["tokens"] += model.objects.all().delete()[0]
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
    return +ended


def _record(outcome: str, data: dict[str, Any], origin: Origin) -> None:
    with transaction.atomic(durable=True):
        AuditEvent.objects.record(Kind.RESTORE, outcome, origin=origin, data=data)
