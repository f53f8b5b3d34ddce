"""What texts and mails say, in the language of the page that caused them, or of the person.

Their words are made when they are sent: no code and no link is stored.
"""

import hmac
import re
from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.core.signing import BadSignature, Signer
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.formats import date_format
from django.utils.http import int_to_base36, urlsafe_base64_encode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override
from oauth2_provider.models import get_application_model

from optin import hashes, keys
from optin.conf import conf
from optin.messaging.segments import size
from optin.models import (
    AuditEvent,
    EmailChange,
    File,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    Revocation,
    SmsMessage,
    User,
    WebhookEndpoint,
)
from optin.models.factors import has_active_factor

# The purpose of the code, in the words of the text: plain where a thief would ask for the code.
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
        Notice.Kind.PASSKEY_ADDED,
        Notice.Kind.PASSKEY_REMOVED,
        Notice.Kind.EMAIL_CHANGED,
    }
)
"""Mails with a link for the person whom it was not (S-39)."""

DISOWNABLE_FOR = timedelta(hours=72)

_LINKS = Signer(salt="optin.not-me")
_CANCEL_LINKS = Signer(salt="optin.revocation")
_PROOF_LINKS = Signer(salt="optin.email-change")
_STOP_LINKS = Signer(salt="optin.email-change.stop")


def text_for(message: SmsMessage) -> str:
    """Return the words of the text: one GSM-7 segment, the code first.

    The last line lets browsers fill in the code on that host only (WICG "Origin-bound
    one-time codes delivered via SMS").
    """
    if pending := message.pending_otp:
        return _code_words(pending.code(), _purpose_of(pending))
    waits = removal_of(message)
    return _warning(waits.due_at, short_link(waits)) if waits else _farewell()


def _code_words(code: str, purpose: Purpose) -> str:
    # Translators: 90 GSM-7 characters at most, with a code of 7, a name of 20 and its purpose.
    words = _("%(code)s is your %(service)s code %(purpose)s. Do not share it.") % {
        "code": code,
        "service": conf.service_name,
        "purpose": _PURPOSE_WORDS[purpose],
    }
    return f"{words}\n\n@{urlsplit(conf.base_url).hostname} #{code}"


def _farewell() -> str:
    # Translators: 160 GSM-7 characters at most, with a name of 20.
    words = _(
        "Your %(service)s account now uses another mobile number. If this was not you, look "
        "at our email or contact support."
    )
    return words % {"service": conf.service_name}


def _warning(due_at: datetime, link: str) -> str:
    # Translators: 50 GSM-7 characters at most, without the name and the link, with a day of 6.
    words = _("%(service)s turns off two-factor sign-in on %(day)s. Cancel: %(link)s")
    # Translators: the day of a text message, in 6 characters at most.
    day = date_format(timezone.localtime(due_at), _("j M"))
    return words % {"service": conf.service_name, "day": day, "link": link}


@dataclass(frozen=True, slots=True)
class Sample:
    """A text as it may leave: with its longest values, in one language."""

    kind: str  # a value of ``Purpose``, "farewell" or "removal"
    language: str
    body: str  # "": its translation cannot be filled in
    code: str = ""
    purpose: str = ""  # the words for what the code is for


def samples() -> list[Sample]:
    """Return each text of this service in every language; ``lint`` looks at them."""
    found = []
    for language, _name in settings.LANGUAGES:
        with override(language):
            found += [_sample(purpose, language) for purpose in Purpose]
            found.append(Sample("farewell", language, _filled(_farewell)))
            if conf.recovery_delay:
                found.append(Sample("removal", language, _filled(_longest_warning)))
    return found


def _sample(purpose: Purpose, language: str) -> Sample:
    code, words = "0" * conf.otp_digits, str(_PURPOSE_WORDS[purpose])
    body = _filled(lambda: _code_words(code, purpose))
    return Sample(purpose.value, language, body, code, words)


def _filled(write: Callable[[], str]) -> str:
    try:
        return write()
    except (KeyError, ValueError, TypeError):  # by the placeholders of a translation
        return ""


def _longest_warning() -> str:
    link = _short_link("zzzzz" + 16 * "a")  # of the first 60 million removals
    days = (datetime(2026, month, 28, 12, tzinfo=UTC) for month in range(1, 13))
    return max((_warning(day, link) for day in days), key=lambda body: size(body).places)


def _purpose_of(pending: PendingOtp) -> Purpose:
    """What the code is for, to the person: an opt-in beside an active number changes it."""
    purpose = Purpose(pending.purpose)
    if purpose is Purpose.OPT_IN and ProviderUser.objects.has_active(pending.provider_user.user_id):
        return Purpose.CHANGE
    return purpose


def mail_for(notice: Notice) -> EmailMessage:
    """Return the email: what happened, and what to do if it was not the person."""
    context = {
        "notice": notice,
        "service": conf.service_name,
        "base_url": conf.base_url,
        "support": conf.support,
        "link": _link_of(notice),
        "ending": _(" ending in %(end)s") % {"end": notice.last_three} if notice.last_three else "",
        **_about(notice),
    }
    subject, __, body = render_to_string(f"mail/{notice.kind}.txt", context).partition("\n\n")
    subject = subject.strip() or str(notice.get_kind_display())
    return EmailMessage(subject, body, to=[address_of(notice)])


def address_of(notice: Notice) -> str:
    """Return where the mail goes: to the address of the person, or to one that changes."""
    if not _is_about_email(notice):
        email: str = notice.user.email
        return email
    change = _change_of(notice)
    if change is None:
        return ""
    if notice.kind in {Notice.Kind.EMAIL_PROVE, Notice.Kind.DISOWNED}:
        return change.new_address
    return change.old_address or change.new_address


_ABOUT_EMAIL = {Notice.Kind.EMAIL_PROVE, Notice.Kind.EMAIL_ASKED, Notice.Kind.EMAIL_CHANGED}


def _is_about_email(notice: Notice) -> bool:
    """Whether *notice* is about a change of the address, and does not go to the present one.

    After "this was not me", a second mail tells the address that was taken away.
    """
    is_second = notice.kind == Notice.Kind.DISOWNED and notice.about_id is not None
    return is_second or notice.kind in _ABOUT_EMAIL


def _change_of(notice: Notice) -> EmailChange | None:
    return EmailChange.objects.filter(pk=notice.about_id or 0, user=notice.user_id).first()


def _about(notice: Notice) -> dict[str, Any]:
    """Return what the mail says of what it is about, where that is there still."""
    if notice.kind in {Notice.Kind.REVOKE_PLANNED, Notice.Kind.OWN_REMOVAL}:
        waits = Revocation.objects.filter(pk=notice.about_id or 0, user=notice.user_id).first()
        return {"due": waits.due_at, "cancel": _cancel_link(waits)} if waits else {}
    if _is_about_email(notice) and (change := _change_of(notice)):
        return _about_email(notice, change)
    if notice.kind == Notice.Kind.INVITATION:
        return {
            "is_imported": hashes.is_imported(notice.user.password),
            "is_on": has_active_factor(notice.user),
        }
    if notice.kind in {Notice.Kind.KEY_MADE, Notice.Kind.KEY_REVOKED}:
        file = File.objects.filter(access_keys=notice.about_id or 0).first()
        return {
            "in_file": _(" for the organisation %(name)s") % {"name": file.name} if file else ""
        }
    if notice.kind in {Notice.Kind.ENDPOINT_OFF, Notice.Kind.ENDPOINT_ADDED}:
        return _about_endpoint(notice)
    if notice.kind in {Notice.Kind.CONSENT, Notice.Kind.SIGNED_IN_TO}:
        application = get_application_model().objects.filter(pk=notice.about_id or 0).first()
        return {"application": application.name if application else ""}
    if notice.kind == Notice.Kind.ROLE:
        return {"role": Group.objects.filter(pk=notice.about_id or 0).first()}
    if notice.kind == Notice.Kind.DISOWNED:
        return _what_was_done(notice) | _endpoints_off(notice)
    return _endpoints_off(notice) if notice.kind == Notice.Kind.SECURED else {}


def _endpoints_off(notice: Notice) -> dict[str, Any]:
    """Say whether "that was not me" switched webhook endpoints off."""
    off = WebhookEndpoint.objects.filter(made_by=notice.user_id, off_at=notice.created_at)
    return {"endpoints_off": off.exists()}


def _about_endpoint(notice: Notice) -> dict[str, Any]:
    found = WebhookEndpoint.objects.select_related("file").filter(pk=notice.about_id or 0).first()
    if found is None:
        return {"in_file": "", "address": ""}
    return {
        "in_file": _(" for the organisation %(name)s") % {"name": found.file.name},
        "address": found.url,
        "is_gone": found.off_why == WebhookEndpoint.Off.GONE,
    }


def _what_was_done(notice: Notice) -> dict[str, Any]:
    """Return what "this was not me" did, from the event of the same transaction.

    :return: ``effect``, a value of ``operations.not_me.Effect``; and what was ``removed``.
    """
    events = AuditEvent.objects.about(notice.user).filter(
        kind=AuditEvent.Kind.DISOWN, outcome="ok", at=notice.created_at
    )
    data = event.data if (event := events.first()) else {}
    return {"effect": data.get("effect", ""), "removed": data.get("removed", [])}


def _about_email(notice: Notice, change: EmailChange) -> dict[str, Any]:
    if notice.kind == Notice.Kind.EMAIL_PROVE:
        # Only whoever reads the mailbox learns that another account has the address (S-38).
        is_taken = change.is_taken()
        return {"prove": "" if is_taken else _email_link(_PROOF_LINKS, "account/email", change)}
    if notice.kind == Notice.Kind.EMAIL_ASKED:
        stop = _email_link(_STOP_LINKS, "email-stop", change)
        return {"stop": stop, "earliest": change.asked_at + timedelta(seconds=conf.email_delay)}
    return {"taken_away": notice.kind == Notice.Kind.DISOWNED}


def _email_link(links: Signer, page: str, change: EmailChange) -> str:
    # The time is signed too: in a restored copy, another change may have its id.
    asked = int(change.asked_at.timestamp())
    return f"{conf.base_url}/{page}/{links.sign(f'{change.pk}-{change.user_id}-{asked}')}/"


def change_to_prove(token: str) -> EmailChange | None:
    """Return the change whose mail to the new address had the link with *token*."""
    return _email_change(_PROOF_LINKS, token)


def change_to_stop(token: str) -> EmailChange | None:
    """Return the change whose mail to the old address had the link with *token*."""
    return _email_change(_STOP_LINKS, token)


def _email_change(links: Signer, token: str) -> EmailChange | None:
    try:
        pk, user_id, asked = map(int, links.unsign(token).split("-"))
    except BadSignature:
        return None
    change = EmailChange.objects.filter(pk=pk, user=user_id).select_related("user").first()
    return change if change and int(change.asked_at.timestamp()) == asked else None


def _cancel_link(revocation: Revocation) -> str:
    # The user is signed too: in a restored copy, another removal may have its id.
    token = _CANCEL_LINKS.sign(f"{revocation.pk}-{revocation.user_id}")
    return f"{conf.base_url}/revocation/{token}/"


def revocation_of(token: str) -> Revocation | None:
    """Return the revocation whose mail had the link with *token*, whatever became of it."""
    try:
        pk, _dash, user_id = _CANCEL_LINKS.unsign(token).partition("-")
    except BadSignature:
        return None
    return Revocation.objects.filter(pk=int(pk), user_id=int(user_id)).first()


def short_link(revocation: Revocation) -> str:
    """Return the link for a text, which leads to the same page as that of the mail."""
    return _short_link(f"{int_to_base36(revocation.pk)}{_seal(revocation)}")


def _short_link(token: str) -> str:
    return f"{conf.base_url}/r/{token}"


def _seal(revocation: Revocation) -> str:
    """Return 80 bits that only this service can make, in 16 letters and digits.

    With the user and the time: in a restored copy another removal may have its id.
    """
    made = f"{revocation.pk} {revocation.user_id} {revocation.asked_at.isoformat()}"
    return b32encode(bytes.fromhex(keys.digest("removal link", made))[:10]).decode().lower()


def revocation_of_text(token: str) -> Revocation | None:
    """``revocation_of`` for the token of a text's link."""
    found = re.fullmatch(r"([0-9a-z]{1,11})([a-z2-7]{16})", token)
    revocation = Revocation.objects.filter(pk=int(found[1], 36)).first() if found else None
    if found and revocation and hmac.compare_digest(_seal(revocation), found[2]):
        return revocation
    return None


def removal_of(message: SmsMessage) -> Revocation | None:
    """Return the removal that the text warns of, if it is one that does."""
    if not (message.news_to and message.is_warning):
        return None
    return Revocation.objects.filter(pk=message.about_id or 0, user=message.news_to.user_id).first()


def is_called_off(notice: Notice) -> bool:
    """Whether what the mail is about ended since: an invitation, or a removal that was asked for at
    sign-in."""
    if notice.kind == Notice.Kind.INVITATION:
        return notice.created_at != notice.user.invited_at
    if notice.kind != Notice.Kind.OWN_REMOVAL:
        return False
    waits = Revocation.objects.open().filter(pk=notice.about_id or 0, user=notice.user_id)
    return not waits.exists()


def disownable(token: str, now: datetime) -> Notice | None:
    """Return the notice whose mail had the link with *token*, until it is too old.

    One that was used already has ``disowned_at``.
    """
    fresh = Notice.objects.filter(created_at__gt=now - DISOWNABLE_FOR)
    told = fresh.filter(kind__in=DISOWNABLE, user__is_active=True)
    try:
        pk, _dash, user_id = _LINKS.unsign(token).partition("-")
    except BadSignature:
        return None
    return told.filter(pk=int(pk), user=int(user_id)).first()


def is_of_invitation(token: str) -> bool:
    """Whether *token* looks like that of an invitation, whoever made it."""
    return ":" in token


def invites(user: User, token: str) -> bool:
    """Whether *token* is that of the newest invitation of *user*."""
    try:
        return _invitations(user).unsign(token) == _invitation(user)
    except BadSignature:
        return False


def _invitations(user: User) -> Signer:
    # Bound to the address: who reads a former mailbox, or a mistyped one, gets no account.
    return Signer(salt=f"optin.invitation {user.email}")


def _invitation(user: User) -> str:
    return f"{user.pk}-{user.invited_at:%Y%m%d%H%M%S%f}" if user.invited_at else ""


def _password_link(user: User, token: str) -> str:
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return f"{conf.base_url}/password-reset/{uid}/{token}/"


def _link_of(notice: Notice) -> str:
    """Return the link of the mail, made when it is sent: none is stored."""
    user = notice.user
    if notice.kind == Notice.Kind.PASSWORD_RESET:
        return _password_link(user, default_token_generator.make_token(user))
    if notice.kind == Notice.Kind.INVITATION and not user.has_usable_password():
        return _password_link(user, _invitations(user).sign(_invitation(user)))
    if notice.kind in DISOWNABLE:
        # The user is signed too: in a restored copy, another notice may have its id.
        return f"{conf.base_url}/not-me/{_LINKS.sign(f'{notice.pk}-{user.pk}')}/"
    return ""
