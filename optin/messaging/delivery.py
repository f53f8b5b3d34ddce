"""Send one message, and record what became of it.

A row is saved inside the operation's transaction and sent after its commit: no
network inside a transaction, and no text for an operation that did not happen. The
process that saved the row sends it, or a worker does (``tasks``); if that dies in
between, ``send_due`` or another worker sends the message once more, with the same
reference.
"""

import logging
import random
import time
from collections.abc import Container
from datetime import datetime, timedelta
from functools import partial
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused
from typing import Any

import django
from django.conf import settings
from django.core import mail
from django.db import OperationalError, connection, transaction
from django.db.models import Count, F, Min
from django.utils import timezone
from django.utils.translation import get_language, override
from procrastinate.contrib.django import app as jobs
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager

from optin import fiction, gateways, phones
from optin.conf import conf
from optin.database import run
from optin.events import News
from optin.gateways import Fate, Text
from optin.messaging import wording
from optin.messaging.handover import NEWS_FOR, for_gateway, gateways_to_try, hand_over
from optin.messaging.postman import Postman
from optin.models import AuditEvent, GatewayTry, Guard, Notice, ProviderUser, SmsMessage, User
from optin.models.guards import ABOUT, by_kind
from optin.models.messages import HEALTH, MAX_UNKNOWN_ATTEMPTS, Outgoing, State, Unsent
from optin.origin import Face, Origin
from optin.runtime import metrics
from optin.runtime.commits import after_commit

logger = logging.getLogger(__name__)

PATIENCE = 5.5
"""Seconds that all gateways together may take while somebody waits for the answer."""

WORKERS_PATIENCE = 20.0
"""And while nobody does: less than ``LEASE``, by a clock that is ``CLOCK_SLACK`` ahead too."""

WORTH_IT = timedelta(seconds=60 + gateways.TIMEOUT)
"""A text whose code dies sooner is not sent: some gateways count its validity in minutes."""

MAX_ALIKE = 3
"""Mails about the same thing that a person gets within an hour, however often it changes."""

_NOT_SENT = News.TEXT_FAILED, "not_sent"
_REFUSED = News.TEXT_REFUSED, "gateway"
_OPTED_OUT = News.TEXT_REFUSED, "opted_out"

TASK: dict[type[Outgoing], str] = {SmsMessage: "send_text", Notice: "send_mail"}
"""The worker's task for each kind of row; see ``tasks``."""


_BY_DJANGO = JobManager(DjangoConnector())
"""Saves jobs by Django's connection: also in a worker, which has others of its own."""


def dispatch(row: SmsMessage | Notice, pause: float = 0.0) -> None:
    """Save the new *row*, and have it sent once the transaction around this call commits.

    Workers send it, if there are any. Otherwise this process does: a text before the answer, a
    mail in another thread. The answer does not depend on success: an error while sending is
    recorded with the row.

    :param pause: seconds that a mail waits at least.
    """
    row.language = get_language() or _language_of(row) or settings.LANGUAGE_CODE
    if conf.delivery == "worker":
        row.save_queued()
        _defer(row)
    elif isinstance(row, SmsMessage):
        row.save_claimed()
        after_commit(partial(_send, row, PATIENCE))
    else:
        row.save_queued_later()
        leaves = time.monotonic() + pause
        # If the queue is full, the row stays queued, and send_due sends it.
        after_commit(lambda: postman.submit(partial(_send_queued, row.pk, leaves)))


def _language_of(row: SmsMessage | Notice) -> str:
    """Return the language of whom *row* goes to: where no page is open, no language is active."""
    user: User = row.provider_user.user if isinstance(row, SmsMessage) else row.user
    return user.language


def withhold(row: SmsMessage) -> None:
    """Save the new *row* of a withheld text, and take as long as if it was sent (S-38)."""
    row.state = State.WITHHELD
    row.save_queued()
    if conf.delivery == "inline":
        after_commit(_wait_as_for_a_text)


def _wait_as_for_a_text() -> None:
    """Take as long as the gateway took for the last text."""
    taken = GatewayTry.objects.filter(fate=Fate.ACCEPTED, message__sent_at__gte=F("at"))
    # One of a sandbox takes no time.
    last = taken.exclude(gateway=gateways.Sandbox.name)
    if made := last.select_related("message").order_by("-pk").first():
        took = (made.message.sent_at or made.at) - made.at
        time.sleep(min(took.total_seconds(), PATIENCE))


def notify(
    user: User,
    kind: Notice.Kind,
    now: datetime,
    row: ProviderUser | None = None,
    *,
    about_id: int | None = None,
) -> None:
    """Tell *user* by email, with no more of the number of *row* than may be shown.

    :param about_id: of what the mail is about (``Notice.about_id``): its link may take it back.
    """
    last_three = row.last_three if row else ""
    dispatch(Notice(user=user, kind=kind, last_three=last_three, about_id=about_id, created_at=now))


def notify_again(user: User, kind: Notice.Kind, now: datetime, *, about_id: int | None) -> None:
    """``notify``, if *user* had fewer than ``MAX_ALIKE`` such mails in the last hour.

    Not only one: after a change by the person, a thief's must not stay untold.
    """
    alike = Notice.objects.filter(user=user, kind=kind, about_id=about_id)
    if alike.filter(created_at__gt=now - timedelta(hours=1)).count() < MAX_ALIKE:
        notify(user, kind, now, about_id=about_id)


def notify_apart(user: User, kind: Notice.Kind, now: datetime) -> None:
    """Tell *user* by email, and let no answer wait for it.

    The answer to a stranger must not take longer where there is a mail to send (S-38), nor
    may the next one on the same connection.
    """
    # Not while the answer is on its way, nor at a time that could be waited for: what the
    # processor has to do then takes from others.
    pause = random.uniform(*POSTMANS_PAUSE)  # noqa: S311  (no secret)
    dispatch(Notice(user=user, kind=kind, created_at=now), pause)


postman = Postman(100)
"""Sends mails outside the requests, so that no answer waits for a slow mail server. ``send_due``
sends what is left when the process stops or the queue is full."""

POSTMANS_PAUSE = 0.5, 2.0
"""Seconds before a mail leaves: from, to."""


def _send_queued(pk: int, leaves: float) -> None:
    time.sleep(max(leaves - time.monotonic(), 0))
    try:
        if notice := Notice.objects.claim(pk, timezone.now()):
            _send(notice)
    except Exception as exc:
        # It is left to send_due. Not its words, as in _send.
        logger.error("mail %s could not be sent: %s", pk, type(exc).__name__)
    finally:
        connection.close()


def _defer(row: SmsMessage | Notice) -> None:
    """Leave the *row* to a worker.

    In the transaction that saved it, by its connection: neither is there without the other.

    :raises OperationalError: if the database goes away. Every caller knows that one.
    """
    try:
        job = jobs.configure_task(TASK[type(row)])
        job.job_manager = _BY_DJANGO
        job.defer(pk=row.pk)
    except ConnectorException as exc:
        raise OperationalError("no job could be saved") from exc


def send_one(model: type[Outgoing], pk: int) -> bool:
    """Send one row, if nobody else does; return whether it must be tried again later.

    Call it outside a transaction: it waits for the network.
    """
    row: Any = model.objects.claim(pk, timezone.now())
    if row and _send(row):
        return False
    waiting = (State.QUEUED, State.SENDING)
    return model.objects.filter(pk=pk, state__in=waiting).exists()


def send_due(now: datetime) -> int:
    """Send what was left queued or half sent; return how many messages left.

    Call it outside a transaction: it waits for the network.
    """
    sent = 0
    for model in (SmsMessage, Notice):
        give_up(model, now)
        for pk in list(model.objects.due(now).order_by("pk").values_list("pk", flat=True)):
            # *now* would be too early: the lease of a later row would be too short.
            if row := model.objects.claim(pk, timezone.now()):
                sent += _send(row)
    return sent


def give_up(model: type[Outgoing], now: datetime) -> None:
    """End the messages whose last sender died."""
    rows: Any = model._default_manager.abandoned(now)
    for row in rows:
        _finish(row, State.FAILED, reason=Unsent.SENDER_DIED)


def backlog(now: datetime) -> dict[str, tuple[int, float]]:
    """Return how many texts and mails wait, and the oldest for how many seconds."""
    waiting = {}
    for kind, model in (("text", SmsMessage), ("mail", Notice)):
        left = model.objects.filter(state__in=[State.QUEUED, State.SENDING])
        found = left.aggregate(count=Count("pk"), oldest=Min("created_at"))
        age = (now - found["oldest"]).total_seconds() if found["oldest"] else 0.0
        waiting[kind] = found["count"], max(age, 0.0)
    return waiting


# -- STOP and START ----------------------------------------------------------------


def record_opt_out(
    asks: ProviderUser | phones.MobileNumber,
    stop: bool,
    now: datetime,
    origin: Origin,
    receipt: str = "",
) -> None:
    """Record that the person answered STOP to a text, or START.

    The number's active owner is told, whoever had the text sent: their sign-in ends with it.

    :param receipt: by which it came; once recorded, it counts no more (S-45).
    """
    asked_for = asks if isinstance(asks, ProviderUser) else None
    digest = asked_for.number_digest if asked_for else ProviderUser.digest_of(asks.e164)
    with transaction.atomic():
        outcome, stops = ("stopped" if stop else "allowed"), Guard.objects
        if receipt and _was_recorded(digest, outcome, receipt):
            return
        if not (stops.opt_out(digest, asks.last_three, now) if stop else stops.opt_in(digest)):
            return
        owner = ProviderUser.objects.active_owner(digest)
        if owner and stop:
            with override(None):
                notify(owner.user, Notice.Kind.NO_TEXTS, now, owner)
        users = dict.fromkeys(row.user_id for row in (owner, asked_for) if row)
        user_id, other_id = [*users, None, None][:2]
        AuditEvent.objects.record(
            AuditEvent.Kind.NO_TEXTS,
            outcome,
            now=now,
            origin=origin,
            user_id=user_id,
            other_user_id=other_id,
            number_digest=digest,
            last_three=asks.last_three,
            data={"receipt": receipt} if receipt else None,
        )


def _was_recorded(number_digest: str, outcome: str, receipt: str) -> bool:
    events = AuditEvent.objects.filter(kind=AuditEvent.Kind.NO_TEXTS, number_digest=number_digest)
    return events.filter(outcome=outcome, data__receipt=receipt).exists()


# -- one message -------------------------------------------------------------------


def _send(row: SmsMessage | Notice, patience: float = WORKERS_PATIENCE) -> bool:
    """Send the *row* that this process claimed, in so many seconds; return whether it left."""
    if timezone.now() - row.created_at > timedelta(seconds=NEWS_FOR):
        _finish(row, State.FAILED, reason=Unsent.TOO_OLD)
        return False
    try:
        with override(row.language or None):
            if isinstance(row, SmsMessage):
                return _send_text(row, patience)
            return _send_notice(row)
    except Exception as exc:
        # A bug, here or in a gateway: the messages after this one must still leave. Not
        # its words, which may hold the number or the code.
        logger.error("%s could not be sent: %s", row, type(exc).__name__)
        # Or what broke the connection would keep the row from being taken up again.
        connection.close_if_unusable_or_obsolete()
        _finish(row, _later(row), reason=type(exc).__name__)
        return False


def _later(row: SmsMessage | Notice) -> State:
    """Whether *row*, with its unknown attempts, may be tried again."""
    return State.FAILED if row.unknown_attempts >= MAX_UNKNOWN_ATTEMPTS else State.QUEUED


def _finish(
    row: SmsMessage | Notice,
    state: State,
    *,
    news: tuple[News, str] | None = None,
    **changes: object,
) -> None:
    """Record what became of the *row*, and count it.

    :param news: what the endpoints of the file are told of a text, and why. Of one that failed,
        by default, that it was not sent.
    """
    if state is State.FAILED:
        news = news or _NOT_SENT
    if isinstance(row, SmsMessage) and news:
        with transaction.atomic():
            is_mine = row.finish(state, **changes)
            if is_mine:
                row.tell(*news, timezone.now())
    else:
        is_mine = row.finish(state, **changes)
    if not is_mine:
        return
    if isinstance(row, SmsMessage):
        metrics.TEXTS.labels(changes.get("gateway", "none"), state.value).inc()
    else:
        metrics.MAILS.labels(row.kind, state.value).inc()


def _send_text(message: SmsMessage, patience: float) -> bool:
    """Hand the text to one gateway after the other, until one takes it or nobody will."""
    number, now = message.provider_user, timezone.now()
    if too_late := _why_not(message, number, now):
        _expire(message, too_late)
        return False
    about = {"number": number.number_digest, "prefix": "", "now": now}
    found, gateways_known = run([ABOUT.bind(**about), HEALTH.bind()])
    controls, health = by_kind(found), {one.gateway: one for one in gateways_known}
    if _is_barred(message, number, controls):
        return False
    e164 = number.open_number()
    if fiction.region_of(e164) and not (number.user.is_test or conf.takes_fiction):
        _finish(message, State.FAILED, reason=Unsent.FICTION)
        return False
    text = Text(to=e164, body=wording.text_for(message), reference=message.reference)
    region = phones.region_of(e164)
    reason: str = Unsent.NO_GATEWAY
    message.unknown_attempts -= 1  # a gateway, not this process, makes it one
    for gateway, seconds in gateways_to_try(message, region, patience, health):
        now = timezone.now()
        if too_late := _why_not(message, number, now):
            _expire(message, too_late)
            return False
        if not message.hold(gateway.name):
            return False
        made = hand_over(
            gateway, message, for_gateway(gateway, text, message, region, seconds, now)
        )
        reason = made.reason
        match Fate(made.fate):
            case Fate.ACCEPTED:
                metrics.TEXTS.labels(gateway.name, State.SENT.value).inc()
                return True
            case Fate.REFUSED:
                _finish(message, State.FAILED, news=_REFUSED, gateway=gateway.name, reason=reason)
                return False
            case Fate.OPTED_OUT:
                _finish(message, State.FAILED, news=_OPTED_OUT, gateway=gateway.name, reason=reason)
                origin = Origin(Face.API, client=f"gateway:{gateway.name}")
                record_opt_out(number, True, now, origin)
                return False
            case Fate.UNKNOWN if message.unknown_attempts >= MAX_UNKNOWN_ATTEMPTS:
                break
            case Fate.TRY_ANOTHER | Fate.NOT_HERE:
                message.unknown_attempts -= 1
    _finish(message, _later(message), reason=reason, unknown_attempts=message.unknown_attempts)
    return False


def _is_barred(
    message: SmsMessage, number: ProviderUser, controls: Container[tuple[str, str]]
) -> bool:
    """Whether staff or the owner of the number stopped its texts. Then say so in *message*."""
    if not number.user.is_test and (Guard.Kind.STOP, Guard.Covers.ALL) in controls:
        before = message.unknown_attempts - 1
        _finish(message, State.QUEUED, reason=Unsent.ALL_STOPPED, unknown_attempts=before)
    elif (Guard.Kind.OPTED_OUT, Guard.Covers.NUMBER) in controls:
        _finish(message, State.FAILED, news=_OPTED_OUT, reason=Unsent.OPTED_OUT)
    else:
        return False
    return True


def _why_not(message: SmsMessage, number: ProviderUser, now: datetime) -> Unsent | None:
    """Say why a text that was queued before must not leave any more, if so (S-07a)."""
    pending = message.pending_otp
    if pending is None:
        removal = wording.removal_of(message)
        ended = message.is_warning and not (removal and removal.is_open)
        return Unsent.CALLED_OFF if ended else None
    ends = pending.is_expired(now) or pending.expires_at - now < WORTH_IT
    if pending.closed_at or ends or pending.is_used_up():
        return Unsent.CODE_CLOSED
    user = number.user
    if user.own.bars(now) or number.suspended_at:
        return Unsent.CODES_REFUSED
    return None


def _expire(message: SmsMessage, why: Unsent) -> None:
    """End a text that must not leave any more; tell of it if its code grew too old meanwhile."""
    code = message.pending_otp
    too_old = code and why is Unsent.CODE_CLOSED and not (code.closed_at or code.is_used_up())
    _finish(message, State.EXPIRED, news=_NOT_SENT if too_old else None, reason=why)


def _send_notice(notice: Notice) -> bool:
    if not wording.address_of(notice):
        _finish(notice, State.FAILED, reason=Unsent.NO_ADDRESS)
        return False
    if wording.is_called_off(notice):
        _finish(notice, State.FAILED, reason=Unsent.CALLED_OFF)
        return False
    letter, server = wording.mail_for(notice), mail_server()
    try:
        server.open()
    except OSError as exc:  # those of smtplib are OSErrors too
        # It was not reached, or did not let us in: nothing left.
        before = notice.unknown_attempts - 1
        _finish(notice, State.QUEUED, unknown_attempts=before, reason=type(exc).__name__)
        return False
    with server:
        # Half of the lease is the server's. The other half it may have waited for slow ones.
        now, claimed_at = timezone.now(), notice.claimed_at or notice.created_at
        late = now - claimed_at >= notice.lease / 2
        if late and not notice.finish(State.SENDING, claimed_at=now):
            return False  # another took it up
        try:
            server.send_messages([letter])
        except OSError as exc:
            state, unknown_attempts = _fate_of_mail(exc, notice)
            _finish(notice, state, unknown_attempts=unknown_attempts, reason=type(exc).__name__)
            return False
        _finish(notice, State.SENT, sent_at=timezone.now())
    return True


def mail_server() -> Any:
    """Return a connection to the mail server, not open yet."""
    # Django 6.1 knows several, and deprecates the other way.
    return mail.mailers.default if django.VERSION >= (6, 1) else mail.get_connection()


def why_no_mail() -> str:
    """Connect to the mail server; say why that cannot be done, if so."""
    try:
        with mail_server():
            return ""
    except OSError as exc:
        return type(exc).__name__


def _fate_of_mail(exc: OSError, notice: Notice) -> tuple[State, int]:
    """The next state of *notice* after *exc*, and how many unknown attempts it has."""
    # The answers of the server about each address, or about the mail.
    answers = exc.recipients.values() if isinstance(exc, SMTPRecipientsRefused) else ()
    codes = [code for code, _words in answers]
    if isinstance(exc, SMTPDataError | SMTPSenderRefused):
        codes = [exc.smtp_code]
    if codes and min(codes) >= 500:
        return State.FAILED, notice.unknown_attempts - 1
    # Lower codes are no refusal, but for example an answer that was cut off.
    if codes and min(codes) >= 400:
        return State.QUEUED, notice.unknown_attempts - 1
    return _later(notice), notice.unknown_attempts
