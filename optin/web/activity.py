"""What happened to an account, in words for the person whose it is (P-09)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from optin.audit import repeats
from optin.models import AuditEvent, Purpose
from optin.models.refusal_counts import SEVERAL
from optin.origin import Face, browser, network_of
from optin.outcomes import MALFORMED, By, CodeOutcome, SignInOutcome
from optin.web.words import moment

Kind = AuditEvent.Kind


@dataclass(frozen=True, slots=True)
class Told:
    """One event in words."""

    at: datetime  # of the last, if it happened several times
    what: str
    where: str  # "from 203.0.113.5, Chrome on Android"
    since: str = ""  # when it happened first, if several times


def lines(events: Sequence[AuditEvent], limit: int) -> tuple[list[Told], int]:
    """Put *events*, newest first, into words for the person whom they are about (P-09).

    Repeated events are one line: what anybody can cause whatever the network, others by network.

    :returns: *limit* lines at most, and how many of the events they cover.
    """
    each = repeats.spans(events)
    runs = repeats.in_runs(events, _alike, repeats.may_come_from_anybody, limit)
    found = [_line(run, repeats.span_of(run, each)) for run in runs]
    return found, sum(map(len, runs))


def _alike(event: AuditEvent) -> tuple[str, ...]:
    """What events of one line have in common.

    Of those that strangers can cause, the words alone, and for failed sign-ins not even these: a
    stranger has any number of networks, and must not fill the page by different ways.
    """
    if not repeats.may_come_from_anybody(event):
        network = network_of(event.ip or "", 24)
        return event.kind, event.outcome, event.face, network, _what(event)
    if event.kind == Kind.SIGN_IN and event.outcome in _NO_ENTRY:
        return (event.kind,)
    return event.kind, _short(event)


_NO_ENTRY = {SignInOutcome.INVALID_GRANT, SignInOutcome.NOT_NOW}


def _line(run: list[AuditEvent], span: repeats.Span) -> Told:
    is_one = len({(event.last_three, _short(event)) for event in run}) == 1
    if span.count > 1 and run[0].kind in _OF_ANY_FACTOR and run[0].outcome != CodeOutcome.OK:
        is_one = False  # they are counted together, whichever factor each was for
    what = _what(run[0]) if is_one else "; ".join(dict.fromkeys(map(_short, run)))
    return told(what, _where(run, span), span)


_OF_ANY_FACTOR = {Kind.CHECK, Kind.OPT_OUT}


def told(what: str, where: str, span: repeats.Span) -> Told:
    """Say what happened as often, and when, as *span* has it."""
    if span.count == 1:
        return Told(span.last_at, what, where)
    what = _("%(what)s, %(n)s times") % {"what": what, "n": span.count}
    first = _("the first time: %(time)s") % {"time": moment(span.first_at)}
    return Told(span.last_at, what, where, first)


def _what(event: AuditEvent) -> str:
    by = event.data.get("by", "")
    parts = [_short(event)]
    if by in _BY:  # then it was not the number that was verified
        parts.append(_BY[By(by)]())
    elif event.last_three and event.kind != Kind.DISOWN:
        parts.append(_("number ... %(end)s") % {"end": event.last_three})
    return ", ".join(parts)


def _short(event: AuditEvent) -> str:
    return ", ".join(filter(None, [_said(event), _purpose(event)]))


def _purpose(event: AuditEvent) -> str:
    purpose = _PURPOSES.get(event.data.get("purpose", ""))
    return purpose() if purpose and event.kind in {Kind.CHALLENGE, Kind.CHECK} else ""


def _said(event: AuditEvent) -> str:
    # For a withheld text, the words that the person was told.
    words = _EVENTS.get((event.kind, event.data.get("told", event.outcome)))
    if event.data.get("own"):
        words = _OWN_REVOCATION.get(event.outcome, _OWN_REVOCATION[""])
    if words is None and event.kind in {Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT}:
        words = _CODE_REFUSED.get(event.outcome)
    if words is None:
        words = _EVENTS.get((event.kind, ""))
    if event.data.get("replaced"):
        return _("Mobile number changed")
    if event.kind == Kind.DISOWN and event.data.get("removed"):
        words = _TAKEN_BACK[event.data["removed"][0]]  # it is about one thing
    return words() if words else event.get_kind_display()


def place_of(event: AuditEvent) -> tuple[str, str]:
    """From which network *event* came, and through what."""
    return network_of(event.ip or "", 24), _program(event)


def _where(run: list[AuditEvent], span: repeats.Span) -> str:
    """Say from where all of *run* came, and through what, as far as that is one."""
    newest, programs = run[0], {_program(event) for event in run}
    if all(event.face == Face.COMMAND for event in run):
        return _("by an administrator")
    if span.network == SEVERAL:
        place = _("from several networks")
    else:
        place = _("from %(ip)s") % {"ip": newest.ip} if newest.ip else ""
    return ", ".join(filter(None, [place, programs.pop() if len(programs) == 1 else ""]))


def _program(event: AuditEvent) -> str:
    if event.face in {Face.API, Face.TOKEN}:
        return _("through an application")
    return browser(event.user_agent)


_BY = {
    By.APP: lambda: _("with the code of the app"),
    By.RECOVERY: lambda: _("with a recovery code"),
}
_PURPOSES = {
    Purpose.SIGN_IN: lambda: _("to sign in"),
    Purpose.OPT_OUT: lambda: _("to turn two-factor sign-in off"),
    Purpose.CHANGE: lambda: _("to change how you sign in"),
}
_CODE_REFUSED = {
    "otp_expired": lambda: _("Expired code entered"),
    "otp_exhausted": lambda: _("Code rejected: it was entered wrongly too often before"),
    "locked": lambda: _("Code rejected after too many wrong ones"),
    "factor_disabled": lambda: _("Code rejected: codes by text message are switched off"),
    "not_opted_in": lambda: _("Code rejected: two-factor sign-in was off"),
    MALFORMED: lambda: _("Code with too few or too many digits entered"),
}
_OWN_REVOCATION = {
    "ok": lambda: _("Your second factors were removed, as asked on the sign-in page"),
    "": lambda: _("The removal of your second factors was cancelled"),
}
_TAKEN_BACK = {
    "number": lambda: _("You said “this was not me”: mobile number removed, everybody signed out"),
    "app": lambda: _("You said “this was not me”: app removed, everybody signed out"),
    "email": lambda: _(
        "You said “this was not me”: e-mail address changed back, everybody signed out"
    ),
}
_EVENTS: dict[tuple[str, str], Callable[[], str]] = {
    (Kind.OPT_IN, "sent"): lambda: _("Code sent to verify a number"),
    (Kind.OPT_IN, "resent"): lambda: _("Code sent again to verify a number"),
    (Kind.OPT_IN, MALFORMED): lambda: _("Something that is not a mobile number was entered"),
    (Kind.OPT_IN, ""): lambda: _("A code to verify a number was asked for and not sent"),
    (Kind.VERIFY_OPT_IN, "ok"): lambda: _("Two-factor sign-in turned on"),
    (Kind.VERIFY_OPT_IN, ""): lambda: _("Code to verify a number entered wrongly"),
    (Kind.VERIFY_OPT_IN, "already_verified"): lambda: _("Code entered for an active number"),
    (Kind.VERIFY_OPT_IN, "mobile_number_in_use"): lambda: _(
        "Right code entered for a number that another account uses"
    ),
    (Kind.CHALLENGE, "sent"): lambda: _("Code sent"),
    (Kind.CHALLENGE, "resent"): lambda: _("Code sent again"),
    (Kind.CHALLENGE, ""): lambda: _("A code was asked for and not sent"),
    (Kind.CHECK, "ok"): lambda: _("Right code entered"),
    (Kind.CHECK, ""): lambda: _("Code entered wrongly"),
    (Kind.OPT_OUT, "ok"): lambda: _("Second factor removed"),
    (Kind.OPT_OUT, ""): lambda: _("Code to remove a second factor entered wrongly"),
    (Kind.SIGN_IN, "issued"): lambda: _("Signed in with the password"),
    (Kind.SIGN_IN, "signed_in"): lambda: _("Signed in with the password"),
    (Kind.SIGN_IN, "2fa_code_required"): lambda: _("Right password entered; a code is needed too"),
    (Kind.SIGN_IN, "temporarily_unavailable"): lambda: _("Sign-in refused: too many tries"),
    (Kind.SIGN_IN, "invalid_scope"): lambda: _("An application asked for more access than allowed"),
    (Kind.SIGN_IN, ""): lambda: _("Wrong password entered"),
    (Kind.REFRESH, "issued"): lambda: _("An application renewed its sign-in"),
    (Kind.REFRESH, ""): lambda: _("An application could not renew its sign-in"),
    (Kind.TOKEN, "refresh_token"): lambda: _("An application renewed its sign-in"),
    (Kind.TOKEN, "invalid_refresh"): lambda: _("An application could not renew its sign-in"),
    (Kind.TOKEN, "code_reused"): lambda: _("An application was signed out, to be safe"),
    (Kind.TOKEN, ""): lambda: _("An application signed in for you"),
    (Kind.ACCESS, ""): lambda: _("Access to a file refused"),
    (Kind.SUSPEND, "ok"): lambda: _("Your number was suspended by staff"),
    (Kind.SUSPEND, ""): lambda: _("Staff tried to suspend your number; nothing changed"),
    (Kind.RESUME, "ok"): lambda: _("The suspension of your number was ended by staff"),
    (Kind.RESUME, ""): lambda: _("Staff tried to end a suspension; nothing changed"),
    (Kind.UNLOCK, "ok"): lambda: _("Your account was unlocked by staff"),
    (Kind.UNLOCK, ""): lambda: _("Staff tried to unlock your account; nothing changed"),
    (Kind.REVOKE, "ok"): lambda: _("Your second factor was removed by staff"),
    (Kind.REVOKE, ""): lambda: _("Staff tried to remove your second factor; nothing changed"),
    (Kind.REVOCATION, "planned"): lambda: _("Staff were asked to remove your second factors"),
    (Kind.REVOCATION, "cancelled"): lambda: _("The removal of your second factors was cancelled"),
    (Kind.REVOCATION, "withdrawn"): lambda: _("Staff cancelled the removal of your second factors"),
    (Kind.REVOCATION, "asked"): lambda: _(
        "The removal of your second factors was asked for on the sign-in page"
    ),
    **dict.fromkeys(
        [(Kind.REVOCATION, outcome) for outcome in ("waits", "too_soon", "not_offered")],
        lambda: _(
            "The removal of your second factors was asked for on the sign-in page; nothing changed"
        ),
    ),
    (Kind.REVOCATION, "reminded"): lambda: _(
        "You were told again that your second factors will be removed"
    ),
    (Kind.REVOCATION, "signed_in"): lambda: _(
        "The removal of your second factors was cancelled, because you signed in"
    ),
    (Kind.REVOCATION, ""): lambda: _(
        "Staff tried to plan or cancel the removal of your second factors; nothing changed"
    ),
    (Kind.RESEND, "sent"): lambda: _("Code sent by staff"),
    (Kind.RESEND, "resent"): lambda: _("Code sent again by staff"),
    (Kind.RESEND, ""): lambda: _("Staff tried to send your code again; nothing was sent"),
    (Kind.REVEAL, "ok"): lambda: _("Staff looked at your number in full"),
    (Kind.REVEAL, ""): lambda: _("Staff tried to look at your number; it was not shown"),
    (Kind.ROLE, "ok"): lambda: _("Your role as staff was changed"),
    (Kind.ROLE, ""): lambda: _("Somebody tried to change your role as staff; nothing changed"),
    (Kind.NO_TEXTS, "stopped"): lambda: _("STOP came from your number: no text is sent to it"),
    **dict.fromkeys(
        [(Kind.NO_TEXTS, "allowed"), (Kind.NO_TEXTS, "unchanged")],
        lambda: _("Texts are sent to your number again"),
    ),
    (Kind.NO_TEXTS, "ok"): lambda: _("You turned texts to your number on again"),
    (Kind.NO_TEXTS, ""): lambda: _(
        "You tried to turn texts to your number on again; they stay off"
    ),
    (Kind.RESTORE, ""): lambda: _(
        "The service was restored, and a change to your account made again"
    ),
    (Kind.MEMBER, "added"): lambda: _("You were added to a file"),
    (Kind.MEMBER, "ended"): lambda: _("You were removed from a file"),
    (Kind.MEMBER, "manager"): lambda: _("You may manage the integrations of a file"),
    (Kind.MEMBER, "manager_ended"): lambda: _(
        "You may not manage the integrations of a file any more"
    ),
    (Kind.MEMBER, ""): lambda: _("Staff tried to change your files; nothing changed"),
    (Kind.ACCESS_KEY, "made"): lambda: _("An access key was made"),
    (Kind.ACCESS_KEY, "revoked"): lambda: _("An access key was revoked"),
    (Kind.ACCESS_KEY, ""): lambda: _("Staff tried to change your access keys; nothing changed"),
    (Kind.PERSON, "created"): lambda: _("Your account was made"),
    (Kind.PERSON, "deactivated"): lambda: _("Your account was deactivated"),
    (Kind.PERSON, "activated"): lambda: _("Your account was activated again"),
    (Kind.PASSWORD, "changed"): lambda: _("Password changed"),
    (Kind.PASSWORD, "set"): lambda: _("You were given a new password"),
    (Kind.PASSWORD, "reset_asked"): lambda: _("A link to choose a new password was sent by e-mail"),
    (Kind.PASSWORD, "refused"): lambda: _(
        "A link to choose a new password was asked for and not sent"
    ),
    (Kind.PASSWORD, "temporarily_unavailable"): lambda: _(
        "A link to choose a new password was asked for and not sent"
    ),
    (Kind.PASSWORD, "signed_in"): lambda: _("Password entered again"),
    (Kind.PASSWORD, ""): lambda: _("Wrong password entered"),
    (Kind.EMAIL, "asked"): lambda: _("A new e-mail address was asked for"),
    (Kind.EMAIL, "proved"): lambda: _("The new e-mail address was confirmed"),
    (Kind.EMAIL, "ok"): lambda: _("The e-mail address was changed"),
    (Kind.EMAIL, "cancelled"): lambda: _("The change of the e-mail address was cancelled"),
    (Kind.EMAIL, ""): lambda: _("The e-mail address was not changed"),
    (Kind.APP, "ok"): lambda: _("Authenticator app added"),
    (Kind.APP, "started"): lambda: _("Set-up of an authenticator app started"),
    (Kind.APP, "text_first"): lambda: _("You chose to be texted a code first when you sign in"),
    (Kind.APP, "app_first"): lambda: _("You chose to be asked for the app first when you sign in"),
    (Kind.APP, ""): lambda: _("Set-up of an authenticator app refused"),
    (Kind.RECOVERY_CODES, "ok"): lambda: _("New recovery codes made"),
    (Kind.RECOVERY_CODES, "unchanged"): lambda: _("Recovery codes downloaded or shown again"),
    (Kind.RECOVERY_CODES, ""): lambda: _("New recovery codes refused"),
    (Kind.DISOWN, "ok"): lambda: _("You said “this was not me”: everybody was signed out"),
    (Kind.DISOWN, "secured"): lambda: _(
        "You said “that was not me”: everybody else was signed out"
    ),
    (Kind.DISOWN, "unchanged"): lambda: _("You said “this was not me” again: nothing changed"),
    (Kind.DISOWN, ""): lambda: _("“This was not me”: wrong password entered"),
    (Kind.SESSION, "ended"): lambda: _("Signed out of another browser"),
    (Kind.SESSION, "others_ended"): lambda: _("Signed out of all other browsers"),
    (Kind.CONSENT, "ok"): lambda: _("An application was allowed to act for you"),
    (Kind.CONSENT, "revoked"): lambda: _("The access of an application was ended"),
    (Kind.CONSENT, ""): lambda: _("An application was not allowed to act for you"),
    (Kind.WEBHOOK, "made"): lambda: _("You added a webhook endpoint"),
    (Kind.WEBHOOK, "changed"): lambda: _("You changed a webhook endpoint"),
    (Kind.WEBHOOK, "secret_replaced"): lambda: _("You replaced the secret of a webhook endpoint"),
    (Kind.WEBHOOK, "switched_on"): lambda: _("You switched a webhook endpoint on"),
    (Kind.WEBHOOK, "switched_off"): lambda: _("You switched a webhook endpoint off"),
    (Kind.WEBHOOK, "unchanged"): lambda: _(
        "You switched a webhook endpoint on or off, as it was already"
    ),
    (Kind.WEBHOOK, "failing"): lambda: _(
        "Your webhook endpoint was switched off: all attempts failed"
    ),
    (Kind.WEBHOOK, "tested"): lambda: _("You had a test sent to a webhook endpoint"),
    (Kind.WEBHOOK, "sent_again"): lambda: _("You had events sent to a webhook endpoint again"),
    (Kind.WEBHOOK, "removed"): lambda: _("You removed a webhook endpoint"),
}
