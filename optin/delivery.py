"""Send one message, and record what became of it.

A row is saved inside the operation's transaction and sent after its commit: no
network inside a transaction, and no text for an operation that did not happen. The
process that saved the row sends it; if it dies in between, ``send_due`` sends the
message once more, with the same reference.
"""

import logging
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.core.signing import BadSignature, Signer
from django.db import connection, transaction
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import get_language, gettext_lazy, override
from django.utils.translation import gettext as _

from optin import gateways, metrics
from optin.conf import conf
from optin.gateways import SmsError
from optin.models import Notice, PendingOtp, ProviderUser, Purpose, SmsMessage, User
from optin.models.messages import MAX_TRIES, State

logger = logging.getLogger(__name__)

# What the code is for, in the words of the text. What a thief would want a person to
# read out is said plainly.
_PURPOSE_WORDS = {
    Purpose.OPT_IN: gettext_lazy("to turn ON two-factor sign-in"),
    Purpose.SIGN_IN: gettext_lazy("to sign in"),
    Purpose.OPT_OUT: gettext_lazy("to turn OFF two-factor sign-in"),
    Purpose.CHANGE: gettext_lazy("to CHANGE how you sign in"),
}


DISOWNABLE = frozenset(
    {
        Notice.Kind.ACTIVATED,
        Notice.Kind.CHANGED,
        Notice.Kind.RELEASED,
        Notice.Kind.APP_ADDED,
        Notice.Kind.APP_REMOVED,
    }
)
"""Mails with a link for the person whom it was not (S-39)."""

DISOWNABLE_FOR = timedelta(hours=72)

_LINKS = Signer(salt="optin.disown")


def dispatch(row: SmsMessage | Notice) -> None:
    """Save the new *row*, and send it once the transaction around this call commits.

    The answer to the person does not wait for success: an error while sending is
    recorded with the row.
    """
    row.language = get_language() or ""
    row.save_claimed()
    transaction.on_commit(partial(_send, row), robust=True)


def notify(
    user: User,
    kind: Notice.Kind,
    now: datetime,
    row: ProviderUser | None = None,
    *,
    about_id: int | None = None,
) -> None:
    """Tell *user* by e-mail, with no more of the number of *row* than may be shown.

    :param about_id: of the number or app that was added: what the mail's link takes back.
    """
    last_three = row.last_three if row else ""
    dispatch(Notice(user=user, kind=kind, last_three=last_three, about_id=about_id, created_at=now))


def notify_apart(user: User, kind: Notice.Kind, now: datetime) -> None:
    """Tell *user* by e-mail, and let nobody wait for it.

    The answer to a stranger must not take longer where there is a mail to send (S-38), nor
    may the next one on the same connection. What a process leaves behind that is stopped,
    ``send_due`` sends.
    """
    notice = Notice(user=user, kind=kind, created_at=now, language=get_language() or "")
    notice.save_queued()
    # Not while the answer is on its way, nor at a time that could be waited for: what the
    # processor has to do then takes from others.
    leaves = time.monotonic() + random.uniform(*POSTMANS_PAUSE)  # noqa: S311  (no secret)
    transaction.on_commit(partial(postman.submit, _send_queued, notice.pk, leaves), robust=True)


postman = ThreadPoolExecutor(1, thread_name_prefix="postman")
"""Sends apart from the requests. Its thread begins with the first mail of a process, which
must not be forked afterwards."""

POSTMANS_PAUSE = 0.5, 2.0
"""Seconds before a mail leaves: from, to."""


def _send_queued(pk: int, leaves: float) -> None:
    time.sleep(max(leaves - time.monotonic(), 0))
    try:
        if Notice.objects.claim(pk, timezone.now()):
            _send(Notice.objects.get(pk=pk))
    except Exception as exc:
        # It is left to send_due. Not its words, as in _send.
        logger.error("mail %s could not be sent: %s", pk, type(exc).__name__)
    finally:
        connection.close()


def send_due(now: datetime) -> int:
    """Send what was left queued or half sent; return how many messages left.

    Call it outside a transaction: it waits for the network.
    """
    sent = 0
    for model in (SmsMessage, Notice):
        model.objects.give_up(now)
        for pk in list(model.objects.due(now).order_by("pk").values_list("pk", flat=True)):
            # Not *now*: a lease that began with the first of many would be too short.
            if not model.objects.claim(pk, timezone.now()):
                continue
            if row := model.objects.filter(pk=pk).first():  # it may be erased by now
                sent += _send(row)
    return sent


def text_for(message: SmsMessage) -> str:
    """Return the words of the text: one GSM-7 segment, the code first.

    The last line lets browsers fill in the code on that host only (WICG "Origin-bound
    one-time codes delivered via SMS").
    """
    pending = message.pending_otp
    if pending is None:
        # Translators: 160 GSM-7 characters at most, with a name of 20.
        words = _(
            "Your %(service)s account now uses another mobile number. Was it not you? "
            "Look at our e-mail, or contact support."
        )
        return words % {"service": conf.service_name}
    code = pending.code()
    # Translators: 90 GSM-7 characters at most, with a code of 7, a name of 20 and its purpose.
    words = _("%(code)s is your %(service)s code %(purpose)s. Do not share it.") % {
        "code": code,
        "service": conf.service_name,
        "purpose": _PURPOSE_WORDS[_purpose_of(pending)],
    }
    return f"{words}\n\n@{urlsplit(conf.base_url).hostname} #{code}"


def _purpose_of(pending: PendingOtp) -> Purpose:
    """What the code is for, to the person: an opt-in beside an active number changes it."""
    active = ProviderUser.objects.filter(user=pending.provider_user.user_id, confirmed=True)
    if pending.purpose == Purpose.OPT_IN and active.exists():
        return Purpose.CHANGE
    return Purpose(pending.purpose)


def mail_for(notice: Notice) -> EmailMessage:
    """Return the e-mail: what happened, and what to do if it was not the person."""
    context = {
        "notice": notice,
        "service": conf.service_name,
        "base_url": conf.base_url,
        "support": conf.support,
        "link": _link_of(notice),
        "ending": _(" ending in %(end)s") % {"end": notice.last_three} if notice.last_three else "",
    }
    subject, __, body = render_to_string(f"mail/{notice.kind}.txt", context).partition("\n\n")
    return EmailMessage(subject.strip(), body, to=[notice.user.email])


def disownable(token: str, now: datetime) -> Notice | None:
    """Return the notice whose mail had the link with *token*, until it is too old.

    One that was used already has ``disowned_at``.
    """
    try:
        pk = _LINKS.unsign(token)
    except BadSignature:
        return None
    fresh = Notice.objects.filter(created_at__gt=now - DISOWNABLE_FOR)
    return fresh.filter(pk=int(pk), kind__in=DISOWNABLE, user__is_active=True).first()


def _link_of(notice: Notice) -> str:
    """Return the link of the mail, made when it is sent: none is stored."""
    user = notice.user
    if notice.kind == Notice.Kind.PASSWORD_RESET:
        uid = urlsafe_base64_encode(force_bytes(user.pk))
        return f"{conf.base_url}/password-reset/{uid}/{default_token_generator.make_token(user)}/"
    if notice.kind in DISOWNABLE:
        return f"{conf.base_url}/not-me/{_LINKS.sign(str(notice.pk))}/"
    return ""


def _send(row: SmsMessage | Notice) -> bool:
    """Send the *row* that this process claimed; return whether it left."""
    try:
        with override(row.language or None):
            return _send_text(row) if isinstance(row, SmsMessage) else _send_notice(row)
    except SmsError as exc:
        return _fail(row, str(exc), permanent=exc.permanent)
    except Exception as exc:
        # A bug, here or in a gateway: the messages after this one must still leave. Not
        # its words, which may hold the number or the code.
        logger.error("%s could not be sent: %s", row, type(exc).__name__)
        return _fail(row, type(exc).__name__)


def _fail(row: SmsMessage | Notice, reason: str, *, permanent: bool = False) -> bool:
    final = permanent or row.tries >= MAX_TRIES
    _finish(row, State.FAILED if final else State.QUEUED, reason=reason[:200])
    return False


def _finish(row: SmsMessage | Notice, state: State, **changes: object) -> None:
    """Record what became of the *row*, and count it."""
    row.finish(state, **changes)
    if isinstance(row, SmsMessage):
        metrics.TEXTS.labels(changes.get("gateway", "none"), state.value).inc()
    else:
        metrics.MAILS.labels(row.kind, state.value).inc()


def _send_text(message: SmsMessage) -> bool:
    now = timezone.now()
    number = message.provider_user
    if reason := _why_not(message.pending_otp, number, now):
        _finish(message, State.EXPIRED, reason=reason)
        return False
    gateway = gateways.first()
    theirs = gateway.send(
        to=number.open_number(), body=text_for(message), reference=message.reference
    )
    _finish(
        message,
        State.SENT,
        sent_at=now,
        gateway=gateway.name,
        gateway_message_id=theirs,
        segments=1,
    )
    return True


def _why_not(pending: PendingOtp | None, number: ProviderUser, now: datetime) -> str:
    """Say why a text that was queued before must not leave any more, if so (S-07a)."""
    if pending is None:
        return ""
    if pending.closed_at or pending.is_expired(now) or pending.is_used_up():
        return "its code was no longer open"
    user = number.user
    if user.locked_for(now) or user.otp_disabled_at or number.suspended_at:
        return "the user was locked, disabled or suspended"
    return ""


def _send_notice(notice: Notice) -> bool:
    if not notice.user.email:
        raise SmsError("the user has no e-mail address", permanent=True)
    try:
        mail_for(notice).send()
    except OSError as exc:  # those of smtplib are OSErrors too
        raise SmsError(type(exc).__name__) from exc
    _finish(notice, State.SENT, sent_at=timezone.now())
    return True
