"""What staff are told: decisions, and the limits that made them.

For those who answer "why did no text arrive?": the rule, its count and its limit are
named (P-21). What became of a text is in ``messages``. What is written for the person whom it
is about stands with the pages.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_noop as _

from optin import events, phones, sandbox
from optin.audit.reading import count_in, time_in
from optin.causes import Why
from optin.conf import conf
from optin.limits import Rule
from optin.models import AuditEvent, Purpose
from optin.outcomes import MALFORMED, By, NotCompared, SendOutcome
from optin.support.passkey_faults import FAULT_WORDS

Kind = AuditEvent.Kind

# Digits of any script, with the separators that people write between groups.
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


def between(first: datetime, last: datetime) -> str:
    """Say when something went on."""
    if last - first < timedelta(minutes=1):
        return f"in {length(last - first)}"
    return f"between {moment(first)} and {moment(last)}"


def span(seconds: int) -> str:
    """Write a length of time in the largest unit that leaves no rest."""
    if seconds % 3600 == 0:
        return some(seconds // 3600, "hour")
    if seconds % 60 == 0:
        return some(seconds // 60, "minute")
    return some(seconds, "second")


def a_span(seconds: int) -> str:
    """``span`` after a count, as in "5 in 10 minutes" or "10 a day"."""
    each = {60: "a minute", 3600: "an hour", 86_400: "a day"}
    return each.get(seconds) or f"in {span(seconds)}"


def some(count: int, unit: str, units: str = "") -> str:
    """Write so many of something; *units* is its plural, if that does not end in s."""
    return f"{count:,} {unit if count == 1 else units or f'{unit}s'}"


def plain(given: object) -> str:
    """Return what others wrote as one harmless line: no control or direction marks."""
    text = str(given)
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
    return RULES[name].counted % {
        "count": data.get("count", 0),
        "limit": data.get("limit", 0),
        "region": plain(str(data.get("region", ""))),
        "fault": _FAULTS.get(data.get("fault", ""), ""),
        "span": span(int(seconds)) if seconds.isdecimal() else "",
    }


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What is said of a rule that decided: one of ``limits``, or the outcome where none did."""

    counted: str
    """For ``%``, with what the event counted."""

    why: Why | None = None
    """The cause that it comes to, if it refuses texts."""

    means: str = ""
    """What a count comes to, where it does not speak for itself."""

    stands: bool = False
    """Whether it is known if it still stands, and how long."""


# fmt: off
RULES: dict[str, RuleRow] = {
    Rule.ASKED_NUMBER: RuleRow("%(count)s of %(limit)s texts to this number in %(span)s, for "
        "opt-in, all accounts together", Why.OTHERS_ASKED),
    Rule.OFF_NUMBER: RuleRow("%(count)s of %(limit)s texts to this number in %(span)s, for opt-out",
        Why.NUMBER_LIMIT),
    Rule.OWN_NUMBER: RuleRow(
        "%(count)s of %(limit)s texts to this number in %(span)s, for signing in and changes",
        Why.NUMBER_LIMIT),
    Rule.ASKED_PAIR: RuleRow("%(count)s of %(limit)s texts to this number in %(span)s, for "
        "opt-in, all for this account", Why.NUMBER_LIMIT),
    Rule.ASKED_USER: RuleRow(
        "%(count)s of %(limit)s texts for this account in %(span)s, for opt-in and opt-out",
        Why.USER_LIMIT),
    Rule.OWN_USER: RuleRow(
        "%(count)s of %(limit)s texts for this account in %(span)s, for signing in and changes",
        Why.USER_LIMIT),
    Rule.ASKED_IP: RuleRow("%(count)s of %(limit)s texts asked for from one address in %(span)s, "
        "for opt-in and opt-out", Why.ADDRESS_LIMIT),
    Rule.OWN_IP: RuleRow("%(count)s of %(limit)s texts asked for from one address in %(span)s, "
        "for signing in and changes", Why.ADDRESS_LIMIT),
    Rule.ASKED_CLIENT: RuleRow(
        "%(count)s of %(limit)s texts asked for by one application in %(span)s",
        Why.CLIENT_LIMIT),
    Rule.OWN_CLIENT: RuleRow(
        "%(count)s of %(limit)s texts asked for by one application in %(span)s",
        Why.CLIENT_LIMIT),
    Rule.FILE: RuleRow(
        "%(count)s of %(limit)s texts under one file in %(span)s, for opt-in and opt-out",
        Why.FILE_BUDGET, means="the budget of texts of the file is used up"),
    Rule.TOTAL: RuleRow("%(count)s of %(limit)s texts in all in %(span)s, for opt-in and opt-out",
        Why.TOTAL_BUDGET, means="the budget of all texts is used up"),
    Rule.OWN_TOTAL: RuleRow("%(count)s of %(limit)s texts in all in %(span)s, for signing in and "
        "changes; this account has used the texts reserved for it",
        Why.TOTAL_BUDGET, means="the ceiling of all texts for signing in is reached"),
    Rule.PREFIX: RuleRow("%(count)s opt-ins under the prefix of this number that nobody verified; "
        "from %(limit)s on, or OPTIN_BREAKER_TEXTS texts in all, it may be closed",
        Why.PREFIX_CLOSED,
        means="numbers that begin like this one are closed to opt-ins for a while, against fraud"),
    Rule.RESEND_WAIT: RuleRow("the wait after the last text, %(count)s in a row", Why.RESEND_WAIT),
    Rule.STOP: RuleRow("staff stopped all texts", Why.ALL_STOPPED, stands=True),
    Rule.OPTED_OUT: RuleRow("somebody answered STOP from this number",
        Why.ANSWERED_STOP, stands=True),
    Rule.DENY_NUMBER: RuleRow("the number is on the deny list, or closed to strangers by its owner",
        Why.DENIED, stands=True),
    Rule.DENY_PREFIX: RuleRow("the prefix of the number is on the deny list", Why.PREFIX_CLOSED),
    MALFORMED: RuleRow("what was entered isn't a mobile number%(fault)s", Why.NOT_MOBILE),
    SendOutcome.REGION_NOT_ALLOWED: RuleRow("numbers of the country %(region)s aren't allowed",
        Why.REGION),
    SendOutcome.LOCKED: RuleRow(
        "%(count)s wrong codes in a row; each %(limit)s lock codes for a while",
        Why.LOCKED, stands=True),
    SendOutcome.FACTOR_DISABLED: RuleRow(
        "%(count)s wrong codes in a row; %(limit)s lock codes by text message",
        Why.DISABLED, stands=True),
    SUSPENDED: RuleRow("staff suspended the number", Why.SUSPENDED, stands=True),
    Why.SIM_SWAPPED: RuleRow("the provider says that the SIM of the number is new",
        Why.SIM_SWAPPED, stands=True),
    Why.SIM_UNKNOWN: RuleRow("the provider did not say whether the SIM is new",
        Why.SIM_UNKNOWN),
    Why.TEXTS_END: RuleRow("the file takes a new number only with an app or a passkey",
        Why.TEXTS_END),
    sandbox.RULE: RuleRow(
        "the ending of the number asked a sandbox for this answer", Why.REHEARSED
    ),
    SendOutcome.ALREADY_OPTED_IN: RuleRow("two-factor sign-in was on already", Why.ON_ALREADY),
    SendOutcome.NOT_OPTED_IN: RuleRow("no number is active", Why.NO_NUMBER),
    Rule.EMAIL: RuleRow(
        "%(count)s of %(limit)s requests of this person for another address in %(span)s"),
    Rule.REVOCATION: RuleRow(
        "%(count)s of %(limit)s removals asked for by one member of staff in %(span)s"),
    Rule.SIGN_IN_NAME: RuleRow(
        "%(count)s of %(limit)s wrong passwords for this name from one network in %(span)s"),
    Rule.SIGN_IN_IP: RuleRow("%(count)s of %(limit)s wrong passwords from one address in %(span)s"),
    Rule.SIGN_IN_TRIES: RuleRow("%(count)s of %(limit)s passwords from one address in %(span)s"),
    Rule.RESET_NAME: RuleRow("%(count)s of %(limit)s requests for a link to choose a new password "
        "for this address from one network in %(span)s"),
    Rule.RESET_IP: RuleRow("%(count)s of %(limit)s requests for a link to a new password from one "
        "address in %(span)s"),
    Rule.SIGN_IN_ALL: RuleRow(
        "after %(count)s of %(limit)s wrong passwords for this name from all networks in %(span)s"),
    Rule.SIGN_IN_NEW: RuleRow("%(count)s of %(limit)s wrong passwords in %(span)s from a network "
        "from which this person never signed in, after many wrong ones for this name from all "
        "networks"),
}
# fmt: on


def decided(event: AuditEvent) -> str:
    """Say what was decided."""
    words = events.words_of(event.kind, event.outcome, event.data).staff
    said = words or f"{_KINDS.get(event.kind, event.kind)}: {event.outcome}"
    return ", ".join(filter(None, [said, purpose_of(event)]))


_KINDS = dict(Kind.choices)  # an export reads events as tuples, which have no display


def purpose_of(event: AuditEvent) -> str:
    """Say what a code was for, to translate; "" if the label of the event says it."""
    purpose = str(event.data.get("purpose", ""))
    of_any = event.kind in {Kind.CHALLENGE, Kind.CHECK, Kind.RESEND}
    return Purpose(purpose).label if of_any and purpose in Purpose and not says_all(event) else ""


def says_all(event: AuditEvent) -> bool:
    """Whether the label says what a code was for and what verified it: its row is for these."""
    about = event.kind, event.outcome
    return events.words_of(*about, event.data) is not events.row_of(*about)


def reasons(event: AuditEvent) -> list[str]:
    """Say what led to a decision and what followed from it: the rule, the counts, the times."""
    data = event.data
    again, until, due = again_at(event), time_in(data, "locked_until"), time_in(data, "due_at")
    by = " by applications" if data.get("programs") else ""
    said = [
        rule(data),
        f"trying again works from {moment(again)}" if again else "",
        "" if says_all(event) else PROVED_BY.get(str(data.get("by")), ""),
        f"wrong codes in a row{by}: {data['failures']}" if data.get("failures") else "",
        "no tries of this code are left" if count_in(data, "try") >= conf.otp_tries else "",
        f"codes{by} are refused until {moment_by(until)}" if until else "",
        f"to take effect at {moment_by(due)}" if due else "",
        f"codes by text message{by} are locked from here on" if data.get("disabled") else "",
    ]
    if event.outcome == MALFORMED and "digits" in data:
        said.append(f"it has {some(count_in(data, 'digits'), 'digit')}")
    if event.kind == Kind.ROLE and event.outcome == "ok":
        before, role = (plain(str(data.get(name) or "none")) for name in ("before", "role"))
        said.append(f"role: {before} before, {role} now")
    said += [words(data[name]) for name, words in _FACTS.items() if data.get(name)]
    said += [_REMOVED[one] for one in data.get("removed", []) if one in _REMOVED]
    return [words for words in said if words]


def _changed(names: Any) -> str:
    """Name what was changed. Of an import as a whole, *names* is a count."""
    changed = [
        words for name, words in _CHANGED.items() if isinstance(names, list) and name in names
    ]
    return f"changed: {', '.join(changed)}" if changed else ""


def taken_over_from(at: datetime | None, by: object) -> str:
    """Say on whose word a number is active that no code was entered from here."""
    when = f" at {moment(at)}" if at else ""
    return (
        "number taken over from the old system by the operator; verified there"
        f"{when} by “{quoted(str(by))}”; not yet proved here"
    )


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
    return not events.row_of(event.kind, event.outcome).is_done


# Marked to be translated where pages for people show them too.
PROVED_BY: dict[str, str] = {
    By.TEXT: "with the code of the text message",
    By.APP: _("with the code of the app"),
    By.PASSKEY: _("with a passkey"),
    By.RECOVERY: _("with a recovery code"),
}
_REMOVED: dict[str, str] = {
    "number": "the number was removed",
    "app": "the app was removed",
    "passkey": "a passkey was removed",
    "email": "the email address from before was put back",
}
_CHANGED: dict[str, str] = {
    "username": "user name",
    "email": "email address",
    "external_id": "external id",
    "mobile": "proposed number",
}
_WHY: dict[str, str] = {
    NotCompared.NUMBER_UNKNOWN: "the id is not one of this account and file",
    NotCompared.NOTHING_PENDING: "no code was waiting",
    NotCompared.OTHER_LENGTH: "it has a different length from the code",
    NotCompared.NO_NUMBER: "no number is active",
    NotCompared.APP_KEY_GONE: "the key of the app is no longer in the key ring",
    NotCompared.FIRST_OF_TWO: "it is right, but the app takes two codes in a row now",
    NotCompared.MADE_SINCE: "it is right, but its factor was added after this sign-in",
    NotCompared.CODE_KEY_GONE: "the key of the code is no longer in the key ring",
    **{fault: words.cause for fault, words in FAULT_WORDS.items()},
}
_SIM = {
    "swapped": "its SIM is new: with OPTIN_SIM_SWAP=enforce, no text would have left",
    "unknown": "the provider did not say whether its SIM is new",
    "let_through": "its SIM is new, and staff let one sign-in through",
}
_FACTS: dict[str, Callable[[Any], str]] = {
    "day": lambda day: f"from {day}",
    "why": lambda why: _WHY.get(why, ""),
    "taken_over": lambda it: (
        taken_over_from(time_in(it, "at"), it.get("by", "")) if isinstance(it, dict) else ""
    ),
    "sim": lambda sim: _SIM.get(sim, ""),
    "first_code": lambda _: (
        "the first code from the number that was taken over: it is verified here now"
    ),
    "proposed": lambda _: "with a number that is proposed for the opt-in",
    "numbers": lambda it: "with mobile numbers" if it is True else "",  # of an import, counts
    "replaced": lambda _: "the number before it was removed",
    "changed": _changed,
}
"""The words for each fact of an event."""
_FAULTS: dict[str, str] = {
    phones.Fault.TOO_SHORT: ", it has too few digits",
    phones.Fault.TOO_LONG: ", it has too many digits",
    phones.Fault.LANDLINE: ", it is the number of a landline",
}


def section(page: str, name: str) -> str:
    """Name a section of a page for operators."""
    return f"See {name!r} in docs/{page}.md."
