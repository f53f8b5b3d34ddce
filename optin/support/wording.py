"""What staff are told: decisions, and the limits that made them.

For those who answer "why did no text arrive?": the rule, its count and its limit are
named (P-21). What became of a text is in ``messages``. What is written for the person whom it
is about stands with the pages.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.utils import timezone

from optin import phones
from optin.audit.reading import count_in, time_in
from optin.conf import conf
from optin.limits import Rule, settings_of
from optin.models import AuditEvent, Purpose
from optin.outcomes import MALFORMED, By, NotCompared, SendOutcome

Kind = AuditEvent.Kind

# Of any script, and with what people write between the groups of a number.
_DIGITS = re.compile(r"\+?\d(?:[ ().,/_\u2010-\u2015\u2212-]{0,2}\d){5,}")


def moment(at: datetime) -> str:
    """Write a date and a time of day with its zone, as all pages for staff do."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M %Z}"


def exact(at: datetime, zone: tzinfo | None = None) -> str:
    """``moment`` to the second, for lists.

    :param zone: the present time zone, if it is known: to look it up takes longer than the rest.
    """
    local = timezone.localtime(at, zone)
    # Twice as fast as a format, and an export writes millions.
    return f"{local.isoformat(' ', 'seconds')[:19]} {local.tzname()}"


def ago(at: datetime, now: datetime) -> str:
    """Write how long before or after *now* that is, in its largest whole unit."""
    seconds = int(abs((now - at).total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            span = some(seconds // length, unit)
            return f"{span} ago" if at <= now else f"in {span}"
    return "just now" if at <= now else "in a moment"


def minute_by(at: datetime) -> datetime:
    """Return the full minute by which what begins or ends at *at* has done so."""
    return (at + timedelta(minutes=1, microseconds=-1)).replace(second=0, microsecond=0)


def moment_by(at: datetime) -> str:
    """``moment`` of what begins or ends then: the minute by which it has, none too early."""
    return moment(minute_by(at))


def length(time: timedelta) -> str:
    """Write how long something took: in seconds, minutes, hours or days, none less than one."""
    seconds = max(1, math.ceil(time.total_seconds()))
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return some(round(seconds / size), unit)
    return some(seconds, "second")


def span(seconds: int) -> str:
    """Write a length of time in the largest unit that leaves no rest."""
    if seconds % 3600 == 0:
        return some(seconds // 3600, "hour")
    if seconds % 60 == 0:
        return some(seconds // 60, "minute")
    return some(seconds, "second")


def some(count: int, unit: str, units: str = "") -> str:
    """Write so many of something; *units* is its plural, if that does not end in s."""
    return f"{count:,} {unit if count == 1 else units or f'{unit}s'}"


def plain(text: str) -> str:
    """Return what others wrote as one harmless line: no control or direction marks."""
    if not text.isprintable():  # of those of C and Z, only a plain space is printable
        text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return text.strip()


def masked(text: str, longest: int = 5) -> str:
    """``plain``, with what may be a code or a number cut to its last three digits (S-51).

    :param longest: digits in a row that may stand.
    """

    def cut(found: re.Match[str]) -> str:
        digits = "".join(str(int(c)) for c in found[0] if c.isdecimal())
        return phones.mask(digits[-3:]) if len(digits) > longest else found[0]

    return _DIGITS.sub(cut, plain(text))


def quoted(text: str) -> str:
    """``masked``, for what staff wrote: a date may stand, which has 8 digits."""
    return masked(text, longest=8)


# -- decisions ---------------------------------------------------------------------


SUSPENDED = "suspended"
"""The rule that staff suspended the number: codes are disabled, and no count led to it."""


SANDBOX = "sandbox"
"""The rule that a number of a sandbox asked for the refusal."""


def rule_name(data: Mapping[str, Any]) -> str:
    """Return the rule that decided, without its window: its name in ``limits``, or an outcome."""
    name, _slash, _seconds = str(data.get("rule", "")).partition("/")
    if name == SendOutcome.FACTOR_DISABLED and not data.get("limit"):
        return SUSPENDED
    return name


def rule(data: Mapping[str, Any]) -> str:
    """Name the rule that decided, with what it counted and its limit; "" if there was none."""
    name = rule_name(data)
    if name not in RULES:
        return ""
    _name, _slash, seconds = str(data["rule"]).partition("/")
    return RULES[name] % {
        "count": data.get("count", 0),
        "limit": data.get("limit", 0),
        "region": plain(str(data.get("region", ""))),
        "fault": _FAULTS.get(data.get("fault", ""), ""),
        "span": span(int(seconds)) if seconds.isdecimal() else "",
    }


# For ``%``, with what the event counted.
RULES: dict[str, str] = {
    Rule.ASKED_NUMBER: (
        "%(count)s of %(limit)s texts to this number in %(span)s, for opt-in, all accounts together"
    ),
    Rule.OFF_NUMBER: "%(count)s of %(limit)s texts to this number in %(span)s, for opt-out",
    Rule.OWN_NUMBER: (
        "%(count)s of %(limit)s texts to this number in %(span)s, for signing in and changes"
    ),
    Rule.ASKED_PAIR: (
        "%(count)s of %(limit)s texts to this number in %(span)s, for opt-in, all for this account"
    ),
    Rule.ASKED_USER: (
        "%(count)s of %(limit)s texts for this account in %(span)s, for opt-in and opt-out"
    ),
    Rule.OWN_USER: (
        "%(count)s of %(limit)s texts for this account in %(span)s, for signing in and changes"
    ),
    Rule.ASKED_IP: (
        "%(count)s of %(limit)s texts asked for from one address in %(span)s, for opt-in and "
        "opt-out"
    ),
    Rule.OWN_IP: (
        "%(count)s of %(limit)s texts asked for from one address in %(span)s, for signing in and "
        "changes"
    ),
    Rule.ASKED_CLIENT: (
        "%(count)s of %(limit)s texts asked for by one access key or application in %(span)s"
    ),
    Rule.OWN_CLIENT: (
        "%(count)s of %(limit)s texts asked for by one access key or application in %(span)s"
    ),
    Rule.FILE: "%(count)s of %(limit)s texts under one file in %(span)s, for opt-in and opt-out",
    Rule.TOTAL: "%(count)s of %(limit)s texts in all in %(span)s, for opt-in and opt-out",
    Rule.OWN_TOTAL: (
        "%(count)s of %(limit)s texts in all in %(span)s, for signing in and changes; this "
        "account has used the texts reserved for it"
    ),
    Rule.PREFIX: (
        "%(count)s opt-ins under the prefix of this number that nobody verified; from "
        "%(limit)s on, or OPTIN_BREAKER_TEXTS texts in all, it may be closed"
    ),
    Rule.RESEND_WAIT: "the wait after the last text, %(count)s in a row",
    Rule.STOP: "staff stopped all texts",
    Rule.OPTED_OUT: "somebody answered STOP from this number",
    Rule.DENY_NUMBER: "the number is on the deny list, or closed to strangers by its owner",
    Rule.DENY_PREFIX: "the prefix of the number is on the deny list",
    MALFORMED: "what was entered is not a mobile number%(fault)s",
    SendOutcome.REGION_NOT_ALLOWED: "numbers of the country %(region)s are not allowed",
    SendOutcome.LOCKED: ("%(count)s wrong codes in a row; each %(limit)s lock codes for a while"),
    SendOutcome.FACTOR_DISABLED: (
        "%(count)s wrong codes in a row; %(limit)s disable codes by text message"
    ),
    SUSPENDED: "staff suspended the number",
    SANDBOX: "the ending of the number asked a sandbox for this answer",
    SendOutcome.ALREADY_OPTED_IN: "two-factor sign-in was on already",
    SendOutcome.NOT_OPTED_IN: "no number is active",
    Rule.EMAIL: "%(count)s of %(limit)s requests of this person for another address in %(span)s",
    Rule.REVOCATION: "%(count)s of %(limit)s removals asked for by one member of staff in %(span)s",
    Rule.SIGN_IN_NAME: (
        "%(count)s of %(limit)s wrong passwords for this name from one network in %(span)s"
    ),
    Rule.SIGN_IN_IP: "%(count)s of %(limit)s wrong passwords from one address in %(span)s",
    Rule.SIGN_IN_TRIES: "%(count)s of %(limit)s passwords from one address in %(span)s",
    Rule.RESET_NAME: (
        "%(count)s of %(limit)s requests for a link to choose a new password for this "
        "address from one network in %(span)s"
    ),
    Rule.RESET_IP: (
        "%(count)s of %(limit)s requests for a link to a new password from one address in %(span)s"
    ),
    Rule.SIGN_IN_ALL: (
        "after %(count)s of %(limit)s wrong passwords for this name from all networks in %(span)s"
    ),
    Rule.SIGN_IN_NEW: (
        "%(count)s of %(limit)s wrong passwords in %(span)s from a network from which this person "
        "never signed in, after many wrong ones for this name from all networks"
    ),
}


def decided(event: AuditEvent) -> str:
    """Say what was decided."""
    words = _EVENTS.get((event.kind, event.outcome))
    if event.data.get("own"):
        words = _OWN_REVOCATION.get(event.outcome, words)
    if event.kind == Kind.DISOWN and event.outcome == "ok" and not event.data.get("removed"):
        words = "This was not the person: nothing could be taken back, everybody was signed out"
    if words is None and event.kind in _CODES:
        words = _CODE_REFUSED.get(event.outcome)
    words = words or _EVENTS.get((event.kind, ""))
    said = words or f"{event.get_kind_display()}: {event.outcome}"
    purpose = str(event.data.get("purpose", ""))
    if purpose in PURPOSES and event.kind in {Kind.CHALLENGE, Kind.CHECK, Kind.RESEND}:
        return f"{said}, {PURPOSES[purpose]}"
    return said


def observed(data: Mapping[str, Any]) -> list[str]:
    """Say of a text that left which limits would have refused it, if they did not only observe."""
    names = settings_of(data.get("observed", []))
    if not names:
        return []
    return [f"only observed: would have been refused by {', '.join(sorted(names))}"]


def decisions(kind: AuditEvent.Kind) -> dict[str, str]:
    """Return what is said of events of *kind*, by outcome; of all other outcomes, under ""."""
    said = {outcome: words for (one, outcome), words in _EVENTS.items() if one == kind}
    return {**(_CODE_REFUSED if kind in _CODES else {}), **said}


def reasons(event: AuditEvent) -> list[str]:
    """Say what led to a decision and what followed from it: the rule, the counts, the times."""
    data = event.data
    said = [rule(data)]
    said += observed(data)
    if again := again_at(event):
        said.append(f"trying again works from {moment(again)}")
    if data.get("by") in _BY:
        said.append(_BY[data["by"]])
    by = " by access keys and tokens" if data.get("programs") else ""
    if data.get("failures"):
        said.append(f"wrong codes in a row{by}: {data['failures']}")
    if count_in(data, "try") >= conf.otp_tries:
        said.append("no tries of this code are left")
    if until := time_in(data, "locked_until"):
        said.append(f"codes{by} are refused until {moment_by(until)}")
    if due := time_in(data, "due_at"):
        said.append(f"to take effect at {moment(due)}")
    if data.get("disabled"):
        said.append(f"codes by text message{by} are disabled from here on")
    if data.get("why") in _WHY:
        said.append(_WHY[data["why"]])
    if event.outcome == MALFORMED and "digits" in data:
        said.append(f"it has {some(count_in(data, 'digits'), 'digit')}")
    if event.kind == Kind.ROLE and event.outcome == "ok":
        before, role = (plain(str(data.get(name) or "none")) for name in ("before", "role"))
        said.append(f"role: {before} before, {role} now")
    if data.get("replaced"):
        said.append("the number before it was removed")
    said += [_REMOVED[one] for one in data.get("removed", []) if one in _REMOVED]
    return [words for words in said if words]


def again_at(event: AuditEvent) -> datetime | None:
    """Return the full minute from which the rule that refused lets through again, if known."""
    seconds = count_in(event.data, "retry_after")
    if not seconds or event.data.get("rule") in {Rule.STOP, Rule.OPTED_OUT}:
        return None
    # An event of several tells what the last of them was told.
    decided = time_in(event.data, "until") or event.at
    return minute_by(decided + timedelta(seconds=seconds))


def is_refusal(event: AuditEvent) -> bool:
    """Whether the event tells of something that did not happen."""
    return event.outcome not in _DONE


_DONE = {
    *("ok", "unchanged", "sent", "resent", "started", "issued", "signed_in", "changed", "added"),
    *("ended", "others_ended", "text_first", "app_first"),
    *("made", "revoked", "allowed", "reset_asked", "2fa_code_required", "refresh_token"),
    *("authorization_code", "password", "created", "already_verified"),
    *("deactivated", "activated", "set"),
    *("planned", "cancelled", "withdrawn", "asked", "proved", "reminded"),
    *("secret_replaced", "switched_on", "switched_off", "failing", "removed", "tested"),
}
PURPOSES: dict[str, str] = {
    Purpose.OPT_IN: "to turn two-factor sign-in on",
    Purpose.SIGN_IN: "to sign in",
    Purpose.OPT_OUT: "to turn two-factor sign-in off",
    Purpose.CHANGE: "to change a second factor",
}
_BY: dict[str, str] = {
    By.TEXT: "with the code of the text message",
    By.APP: "with the code of the app",
    By.RECOVERY: "with a recovery code",
}
_REMOVED: dict[str, str] = {
    "number": "the number was removed",
    "app": "the app was removed",
    "email": "the e-mail address from before was put back",
}
_WHY: dict[str, str] = {
    NotCompared.NUMBER_UNKNOWN: "the id is not one of this account and file",
    NotCompared.NOTHING_PENDING: "no code was waiting",
    NotCompared.OTHER_LENGTH: "it has a different length from the code",
    NotCompared.NO_NUMBER: "no number is active",
    NotCompared.APP_KEY_GONE: "the key of the app is no longer in the key ring",
    NotCompared.FIRST_OF_TWO: "it is right, but the app takes two codes in a row now",
    NotCompared.CODE_KEY_GONE: "the key of the code is no longer in the key ring",
}
_NOT_REMOVED = "The removal that was asked for at sign-in was not carried out: "
_OWN_REVOCATION: dict[str, str] = {
    "ok": "All second factors were removed, as the person asked on the sign-in page",
    "signed_in": f"{_NOT_REMOVED}the person has verified one since",
    "switched_off": f"{_NOT_REMOVED}the operators do not allow it any more",
    "out_of_reach": f"{_NOT_REMOVED}the number was suspended, or the person became staff, since",
    "not_opted_in": f"{_NOT_REMOVED}there were none any more",
}
_CODES = {Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT}
_CODE_REFUSED: dict[str, str] = {
    "otp_expired": "Expired code entered",
    "otp_exhausted": "Code rejected: it was entered wrongly too often before",
    "locked": "Code rejected after too many wrong ones",
    "factor_disabled": "Code rejected: codes by text message are switched off",
    "not_opted_in": "Code rejected: two-factor sign-in was off",
    MALFORMED: "Code with too few or too many digits entered",
}
_FAULTS: dict[str, str] = {
    phones.Fault.TOO_SHORT: ", it has too few digits",
    phones.Fault.TOO_LONG: ", it has too many digits",
    phones.Fault.LANDLINE: ", it is the number of a landline",
}
# Where the words for the person would do, they are the same.
_EVENTS: dict[tuple[str, str], str] = {
    (Kind.OPT_IN, "sent"): "Code sent to turn two-factor sign-in on",
    (Kind.OPT_IN, "resent"): "Code sent again to turn two-factor sign-in on",
    (Kind.OPT_IN, "withheld"): (
        "A code to turn two-factor sign-in on was withheld; the person was told that it was sent"
    ),
    (Kind.OPT_IN, MALFORMED): "Opt-in refused: what was entered is not a mobile number",
    (Kind.OPT_IN, ""): "A code to turn two-factor sign-in on was asked for and not sent",
    (Kind.VERIFY_OPT_IN, "ok"): "Two-factor sign-in turned on",
    (Kind.VERIFY_OPT_IN, ""): "Code to turn two-factor sign-in on entered wrongly",
    (Kind.VERIFY_OPT_IN, "already_verified"): "Code entered for an active number",
    (Kind.VERIFY_OPT_IN, "mobile_number_in_use"): (
        "Right code entered for a number that another account uses"
    ),
    (Kind.CHALLENGE, "sent"): "Code sent",
    (Kind.CHALLENGE, "resent"): "Code sent again",
    (Kind.CHALLENGE, ""): "A code was asked for and not sent",
    (Kind.CHECK, "ok"): "Right code entered",
    (Kind.CHECK, ""): "Code entered wrongly",
    (Kind.OPT_OUT, "ok"): "Second factor removed",
    (Kind.OPT_OUT, ""): "Code to remove a second factor entered wrongly",
    (Kind.SIGN_IN, "issued"): "Signed in with the password",
    (Kind.SIGN_IN, "signed_in"): "Signed in with the password",
    (Kind.SIGN_IN, "2fa_code_required"): "Right password entered; a code is needed too",
    (Kind.SIGN_IN, "temporarily_unavailable"): "Sign-in refused: too many tries",
    (Kind.SIGN_IN, "invalid_scope"): "An application asked for more access than allowed",
    (Kind.SIGN_IN, ""): "Wrong password entered",
    (Kind.REFRESH, "issued"): "An application renewed its sign-in",
    (Kind.REFRESH, ""): "An application could not renew its sign-in",
    (Kind.TOKEN, "refresh_token"): "An application renewed its sign-in",
    (Kind.TOKEN, "invalid_refresh"): "An application could not renew its sign-in",
    (Kind.TOKEN, "code_reused"): "An application used its code twice: it was signed out",
    (Kind.TOKEN, ""): "An application signed in for this person",
    (Kind.ACCESS, ""): "Access to a file refused",
    (Kind.SUSPEND, "ok"): "Staff suspended the number",
    (Kind.SUSPEND, ""): "Staff tried to suspend the number; nothing changed",
    (Kind.RESUME, "ok"): "Staff ended the suspension of the number",
    (Kind.RESUME, ""): "Staff tried to end a suspension; nothing changed",
    (Kind.UNLOCK, "ok"): "Staff unlocked the account",
    (Kind.UNLOCK, ""): "Staff tried to unlock the account; nothing changed",
    (Kind.REVOKE, "ok"): "Staff removed the second factor",
    (Kind.REVOKE, ""): "Staff tried to remove the second factor; nothing changed",
    (Kind.REVOKE, "set_up_since"): (
        "The second factor was not removed: the person has set one up since"
    ),
    (Kind.REVOKE, "untold"): (
        "The second factor was not removed: the person was not told of it in time"
    ),
    (Kind.REVOKE, "deactivated"): "The second factor was not removed: the account is deactivated",
    (Kind.REVOCATION, "planned"): "Staff asked for the removal of all second factors",
    (Kind.REVOCATION, "cancelled"): "The removal of all second factors was cancelled by the person",
    (Kind.REVOCATION, "withdrawn"): "Staff withdrew the removal of all second factors",
    (Kind.REVOCATION, "asked"): (
        "Asked on the sign-in page, after the password, for the removal of all second factors"
    ),
    (Kind.REVOCATION, "waits"): (
        "Asked again on the sign-in page to remove all second factors: a removal waits already"
    ),
    (Kind.REVOCATION, "too_soon"): (
        "Asked on the sign-in page to remove all second factors, too soon after a cancelled request"
    ),
    (Kind.REVOCATION, "not_offered"): (
        "Asked on the sign-in page to remove all second factors: this person cannot ask"
    ),
    (Kind.REVOCATION, "reminded"): (
        "The person was told once more that all second factors will be removed"
    ),
    (Kind.REVOCATION, "signed_in"): (
        "The removal of all second factors was cancelled: the person signed in"
    ),
    (Kind.REVOCATION, ""): (
        "Staff tried to plan or withdraw the removal of all second factors; nothing changed"
    ),
    (Kind.RESEND, "sent"): "Staff sent a code",
    (Kind.RESEND, "resent"): "Staff sent the code again",
    (Kind.RESEND, ""): "Staff tried to send the code again; no text was sent",
    (Kind.REVEAL, "ok"): "Staff saw the number in full",
    (Kind.REVEAL, ""): "Staff tried to see the number in full",
    (Kind.ROLE, "ok"): "The role as a member of staff was changed",
    (Kind.ROLE, ""): "Staff tried to change the role; nothing changed",
    (Kind.NO_TEXTS, "stopped"): "STOP came from the number: no text is sent to it",
    (Kind.NO_TEXTS, "ok"): "Texts are sent to the number again",
    (Kind.NO_TEXTS, "allowed"): "START came from the number: texts are sent to it again",
    (
        Kind.NO_TEXTS,
        "unchanged",
    ): "The person turned texts to the number on again; they were not stopped",
    (Kind.NO_TEXTS, ""): "The person tried to turn texts to the number on again; they stay stopped",
    (Kind.DENY, ""): "Staff changed the deny list for this number",
    (Kind.SAFE, ""): "Staff changed the safe list for this number",
    (Kind.MEMBER, "added"): "Added to a file",
    (Kind.MEMBER, "ended"): "Removed from a file",
    (Kind.MEMBER, "manager"): "May manage the integrations of a file",
    (Kind.MEMBER, "manager_ended"): "May not manage the integrations of a file any more",
    (Kind.MEMBER, ""): "Staff tried to change the files; nothing changed",
    (Kind.ACCESS_KEY, "made"): "An access key was made",
    (Kind.ACCESS_KEY, "revoked"): "An access key was revoked",
    (Kind.ACCESS_KEY, ""): "Staff tried to change the access keys; nothing changed",
    (Kind.PERSON, "created"): "Account made",
    (Kind.PERSON, "deactivated"): "Account deactivated",
    (Kind.PERSON, "activated"): "Account activated again",
    (Kind.PASSWORD, "changed"): "Password changed",
    (Kind.PASSWORD, "set"): "Password given by an operator",
    (Kind.PASSWORD, "reset_asked"): "A link to choose a new password was sent by e-mail",
    (Kind.PASSWORD, "refused"): "A link to choose a new password was asked for and not sent",
    (
        Kind.PASSWORD,
        "temporarily_unavailable",
    ): "A link to choose a new password was asked for too often",
    (Kind.PASSWORD, "signed_in"): "Password entered again",
    (Kind.PASSWORD, ""): "Wrong password entered",
    (Kind.EMAIL, "asked"): "The person asked for another e-mail address",
    (Kind.EMAIL, "unchanged"): "The person asked for the e-mail address that they have",
    (Kind.EMAIL, "email_limit"): "Another e-mail address was asked for too often",
    (Kind.EMAIL, "no_mail"): (
        "Another e-mail address was asked for and refused: this service sends no mails"
    ),
    (Kind.EMAIL, "proved"): "The new e-mail address was confirmed by the mailed link",
    (Kind.EMAIL, "nothing_waiting"): (
        "A change of the e-mail address was confirmed or cancelled too late; nothing changed"
    ),
    (Kind.EMAIL, "ok"): "The e-mail address was changed",
    (Kind.EMAIL, "cancelled"): "The change of the e-mail address was cancelled by the person",
    (Kind.EMAIL, "restored"): "The change of the e-mail address was called off after a restore",
    (Kind.EMAIL, "taken"): "The e-mail address was not changed: another account has the new one",
    (Kind.EMAIL, "deactivated"): "The e-mail address was not changed: the account is deactivated",
    (Kind.EMAIL, "otherwise"): "The e-mail address was not changed: it is another one by now",
    (Kind.EMAIL, "untold"): (
        "The e-mail address was not changed: the mail to the old one was not sent in time"
    ),
    (Kind.EMAIL, "factor_disabled"): (
        "The e-mail address was not changed: the number is suspended, or codes are disabled"
    ),
    (Kind.EMAIL, "locked"): "The e-mail address was not changed: the account is locked",
    (Kind.APP, "ok"): "Authenticator app added",
    (Kind.APP, "started"): "Set-up of an authenticator app started",
    (Kind.APP, "text_first"): "Chose to be texted a code first at sign-in",
    (Kind.APP, "app_first"): "Chose to be asked for the app first at sign-in",
    (Kind.APP, ""): "Set-up of an authenticator app refused",
    (Kind.RECOVERY_CODES, "ok"): "New recovery codes made",
    (Kind.RECOVERY_CODES, "unchanged"): "The same recovery codes shown again",
    (Kind.RECOVERY_CODES, ""): "New recovery codes refused",
    (Kind.DISOWN, "ok"): "A change taken back: this was not the person",
    (Kind.DISOWN, "secured"): (
        "“That was not me” pressed on the account page: everybody else was signed out"
    ),
    (Kind.DISOWN, "unchanged"): "A change that was already taken back",
    (Kind.DISOWN, ""): "A change was not taken back: wrong password",
    (Kind.SESSION, "ended"): "Signed out of another browser",
    (Kind.SESSION, "others_ended"): "Signed out of all other browsers",
    (Kind.CONSENT, "ok"): "An application was allowed to act for this person",
    (Kind.CONSENT, "revoked"): "The person ended the access of an application",
    (Kind.CONSENT, ""): "An application was not allowed to act for this person",
    (Kind.ERASE, ""): "Person erased",
    (Kind.RESTORE, ""): "After a restore, a change made again that the backup did not have",
    (Kind.WEBHOOK, "made"): "A webhook endpoint was made",
    (Kind.WEBHOOK, "secret_replaced"): "The secret of a webhook endpoint was replaced",
    (Kind.WEBHOOK, "switched_on"): "A webhook endpoint was switched on",
    (Kind.WEBHOOK, "switched_off"): "A webhook endpoint was switched off",
    (Kind.WEBHOOK, "failing"): "A webhook endpoint was switched off: all attempts failed",
    (Kind.WEBHOOK, "tested"): "A test was sent to a webhook endpoint",
    (Kind.WEBHOOK, "unchanged"): "A webhook endpoint was switched on or off, as it was already",
    (Kind.WEBHOOK, "removed"): "A webhook endpoint was removed",
    (Kind.WEBHOOK, "changed"): "A webhook endpoint was changed",
    (Kind.WEBHOOK, "sent_again"): "Events were to be sent to a webhook endpoint again",
}
