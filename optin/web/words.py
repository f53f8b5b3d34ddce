"""What pages say about codes and texts.

One sentence for what is, one for what to do next.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import get_text_list
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from optin import codes, phones
from optin.conf import conf
from optin.models import Purpose, SmsMessage, User
from optin.models.messages import State
from optin.models.second_factors import Overview
from optin.operations.authenticators import Change, Removal
from optin.operations.challenges import Waiting
from optin.operations.sending import Sending
from optin.operations.verification import Verification
from optin.outcomes import CodeOutcome, FactorOutcome, SendOutcome, whole_seconds
from optin.support.diagnosis import EXPLAINED, Why
from optin.support.passkey_faults import FAULT_WORDS

_FEW_TRIES = 3
"""From here down a page says how many tries are left (P-04)."""


def moment(at: datetime) -> str:
    """Write a date and a time of day with its zone."""
    return date_format(timezone.localtime(at), _("j F Y, H:i T"))


def clock_time(at: datetime, date: str = "") -> str:
    """Write a time of day with its zone, and the date unless it is today."""
    local = timezone.localtime(at)
    today = timezone.localdate() == local.date()
    return date_format(local, _("H:i T") if today else date or _("j F Y, H:i T"))


def _until(at: datetime) -> str:
    """``clock_time`` after "until": in German, a word more stands before a date."""
    return clock_time(at, _("j F Y \\a\\t H:i T"))


def day(at: datetime) -> str:
    """Write a date, or which of the last two days it is."""
    date, today = timezone.localdate(at), timezone.localdate()
    near = {today: _("Today"), today - timedelta(days=1): _("Yesterday")}
    return near.get(date) or date_format(date, _("j F Y"))


def ago(at: datetime) -> str:
    """Write how long ago that is, in its largest whole unit; "" from a day on."""
    passed = timezone.now() - at
    if passed >= timedelta(days=1):
        return ""
    if passed < timedelta(minutes=1):
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(at, depth=1)}


def in_words(wait: timedelta) -> str:
    """Write a waiting time: seconds under two minutes, then minutes, rounded up."""
    seconds = whole_seconds(wait)
    if seconds < 120:
        return ngettext("%(n)d second", "%(n)d seconds", seconds) % {"n": seconds}
    minutes = -(-seconds // 60)
    return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}


def delay_in_words(delay: timedelta) -> str:
    """``in_words``, but whole hours from two hours on, rounded up."""
    hours = -(-whole_seconds(delay) // 3600)
    if hours <= 2:
        return in_words(delay)
    return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}


# -- codes -------------------------------------------------------------------------


def malformed(field: str, text: str, *, by_text: int, by_app: bool = False) -> str:
    """Say what is wrong with a *text* that can be no code (P-10).

    :param by_text: digits of the texted code that is waited for, 0 if none is.
    :param by_app: whether the code of an app is taken.
    """
    if field == "recovery":
        if not text.strip():
            return _("Enter a recovery code.")
        return _("A recovery code has 16 letters and digits. Check what you typed.")
    code = "".join(text.split())
    if not code:
        return _("Enter the code.")
    if not re.fullmatch(r"[0-9\-\u2010-\u2015]+", code):
        return _("A code has digits only. Check what you typed.")
    typed, lengths = len(re.sub(r"[^0-9]", "", code)), code_lengths(by_text, by_app=by_app)
    said = _("That code is too short.") if typed < max(lengths) else _("That code is too long.")
    if len(lengths) == 1:
        return said + " " + _("The code has %(n)d digits.") % {"n": max(lengths)}
    return (
        said
        + " "
        + _(
            "The code from your authenticator app has %(app)d digits, the one from the text "
            "message %(text)d."
        )
        % {"app": codes.APP_DIGITS, "text": by_text}
    )


def code_lengths(by_text: int, *, by_app: bool) -> set[int]:
    """Return how many digits the codes have that may be right now: see ``malformed``."""
    lengths = {by_text} if by_text else set()
    if by_app:
        lengths.add(codes.APP_DIGITS)
    return lengths or {conf.otp_digits}


def code_hint(by_text: int, *, by_app: bool) -> str:
    """Say which code is waited for: see ``malformed``."""
    if by_app and by_text:
        return _(
            "The %(app)d digits that your authenticator app shows now, or the %(text)d digits from "
            "the text message."
        ) % {"app": codes.APP_DIGITS, "text": by_text}
    if by_app:
        return _("The %(n)d digits that your authenticator app shows now.") % {
            "n": codes.APP_DIGITS
        }
    return _("The %(n)d digits from the text message.") % {"n": by_text}


# -- numbers -----------------------------------------------------------------------


def wrong_number(text: str) -> str:
    """Say why *text* is no mobile number."""
    home = conf.sms_regions[0]
    fault = phones.fault(text, home_region=home)
    if fault is phones.Fault.LANDLINE:
        return _("That's the number of a landline. Enter a mobile number.")
    national, international = number_examples()
    how = _("Write it like %(national)s or %(international)s.") % {
        "national": national,
        "international": international,
    }
    return f"{_WRONG_NUMBERS[fault]()} {how}"


def number_examples() -> tuple[str, str]:
    """Return ``phones.examples`` with spaces at which no line is broken."""
    national, international = phones.examples(conf.sms_regions[0])
    return national.replace(" ", "\u00a0"), international.replace(" ", "\u00a0")


_WRONG_NUMBERS = {
    phones.Fault.TOO_SHORT: lambda: _("That number is too short."),
    phones.Fault.TOO_LONG: lambda: _("That number is too long."),
    phones.Fault.NO_NUMBER: lambda: _("That isn't a mobile number."),
}


def wrong_address(text: str) -> str:
    """Say why *text* is no email address that this service mails to."""
    if not text.isascii():
        return _(
            "Enter an address without letters like é or ü. If they're in the part after the @, "
            "enter the form of that part that begins with xn--. Your email provider can tell you "
            "that form."
        )
    return _("That isn't an email address. Write it like name@example.com.")


def wrong_endpoint() -> str:
    """Say which addresses a webhook endpoint can have."""
    ports = ", ".join(map(str, conf.webhook_ports))
    return _(
        "Enter an address that begins with https:// and has a host name that everybody can reach, "
        "not an IP address, without a user name and without #. Allowed ports: %(ports)s."
    ) % {"ports": ports}


def locked(person: User) -> str:
    """Say until when no code of *person* is accepted; "" if codes are."""
    if (left := person.own.locked_for(timezone.now())) is None:
        return ""
    return _(
        "No code is accepted until %(time)s. Try again then. If you can't wait, contact support."
    ) % {"time": _end_of(left)}


def programs_barred(person: User) -> str:
    """Say that applications can use no code of *person*; "" if they can."""
    if person.program_disabled_at:
        return _(
            "Too many wrong codes came from connected apps. They can do nothing with "
            "your codes until support allows it again. You can sign in as usual."
        )
    if left := person.programs.locked_for(timezone.now()):
        return _(
            "Too many wrong codes came from connected apps. They can do nothing with "
            "your codes until %(time)s. You can sign in as usual."
        ) % {"time": _end_of(left)}
    return ""


def _end_of(wait: timedelta) -> str:
    """The time at which *wait* is over, to the next minute."""
    return _until(timezone.now() + wait + timedelta(seconds=59))


def other_ways(factors: Overview) -> str:
    """Say what somebody with *factors* can do where no text is sent to them."""
    ways = _ways(factors)
    return (
        _("Use %(ways)s, or contact support.") % {"ways": ways} if ways else _("Contact support.")
    )


def _ways(factors: Overview) -> str:
    """Name the factors other than texts, as the object of "use"; "" if there are none."""
    named = (
        (factors.usable_passkeys, _("your passkey")),
        (factors.app, _("your authenticator app")),
        (factors.recovery_codes, _("a recovery code")),
    )
    return get_text_list([way for has, way in named if has], _("or"))


def held(factors: Overview) -> str:
    """Name all *factors*, as the object of "remove"."""
    named = (
        (factors.number, _("your mobile number")),
        (factors.app, _("your authenticator app")),
        (factors.passkeys, _("your passkeys")),
        (factors.recovery_codes, _("your recovery codes")),
    )
    return get_text_list([what for has, what in named if has], _("and"))


def switched_off(factors: Overview, *, changing: bool = False) -> str:
    """Say that no texted code is accepted, and what is.

    :param changing: on a page that changes something. It takes no other code: the person has to
        sign in with one first, which lifts a disabling.
    """
    said = _("Codes by text message are switched off for your account.")
    if factors.user.otp_disabled_at:
        said = _("Too many wrong codes: codes by text message are switched off for your account.")
    elif factors.number and factors.number.suspended_at:
        said = _(
            "Staff suspended your number: codes by text message are switched off for your account."
        )
    elif factors.sim and not changing:
        said = new_sim(factors)
    return f"{said} {_way_back(factors) if changing else other_ways(factors)}"


def new_sim(factors: Overview) -> str:
    """Say that no text goes to the number because its SIM is new; "" if it is not."""
    if factors.sim is None:
        return ""
    return _(
        "Your carrier says that your number has a new SIM. Somebody else may have it, so no code "
        "is texted to it until %(time)s at the latest. If you didn't change your SIM, call your "
        "carrier."
    ) % {"time": _until(factors.sim.swapped_until + timedelta(seconds=59))}


def passkeys_elsewhere(factors: Overview) -> str:
    """Say that somebody can use none of their passkeys, which are all that they have."""
    said = _(
        "Your passkeys don't work here. They were made for an earlier address of this website."
    )
    return f"{said} {other_ways(factors)}"


def _way_back(factors: Overview) -> str:
    if not (ways := _ways(factors)):
        return _("Contact support.")
    return _(
        "Sign out, and sign in again with %(ways)s. Then try again here. Or contact support."
    ) % {"ways": ways}


def refusal(result: Verification | Change, factors: Overview) -> str:
    """Say why a code did not do, or a change, and what does for somebody with *factors*."""
    if result.outcome == CodeOutcome.LOCKED and result.retry_after:
        until = _end_of(result.retry_after)
        return _("Too many wrong codes. No code is accepted until %(time)s. Try again then.") % {
            "time": until
        }
    left = result.tries_left if isinstance(result, Verification) else None
    if left == 0:
        return _("That code isn't right, and you have no tries left for it. Ask for a new one.")
    if isinstance(result, Change) and result.outcome == FactorOutcome.OTP_INCORRECT:
        return _("That code isn't right. Enter the code that the app shows now.")
    if result.outcome == CodeOutcome.FACTOR_DISABLED:
        return switched_off(factors, changing=isinstance(result, Change))
    if result.outcome == CodeOutcome.PASSKEY_REFUSED:
        return passkey_refused(result.data["why"])
    return _REFUSALS[result.outcome]() + _tries(left)


def removed(which: Removal) -> str:
    return _REMOVED[which]()


_REMOVED: dict[Removal, Callable[[], str]] = {
    Removal.ALL: lambda: _("Two-factor sign-in is off."),
    Removal.NUMBER: lambda: _("Mobile number removed."),
    Removal.APP: lambda: _("Authenticator app removed."),
    Removal.PASSKEY: lambda: _("Passkey removed."),
}


def made_since() -> str:
    """Refuse a right code of what was added after this sign-in."""
    return _(
        "You added that after you signed in. Use what you had before, or sign out and sign in "
        "again."
    )


def passkey_refused(why: str) -> str:
    """Say why a passkey was refused: see ``PasskeyFault``."""
    return _(FAULT_WORDS[why].person)


def takes_two() -> str:
    """Say that the app takes two codes in a row; not whether the first one was right."""
    return _(
        "Many wrong codes were entered for your account, so one code of the app isn't enough now. "
        "Enter the code that it shows, wait for the next one, and enter that too. If the wrong "
        "codes weren't yours, change your password."
    )


_REFUSALS: dict[str, Callable[[], str]] = {
    CodeOutcome.OTP_INCORRECT: lambda: _("That code isn't right. Try again."),
    CodeOutcome.OTP_EXPIRED: lambda: _("That code has expired."),
    CodeOutcome.OTP_EXHAUSTED: lambda: _(
        "The code was entered wrongly too often and no longer works. Ask for a new one."
    ),
    CodeOutcome.NOT_OPTED_IN: lambda: _("Two-factor sign-in is off. You don't need a code."),
    CodeOutcome.ALREADY_VERIFIED: lambda: _("This number is active already."),
    CodeOutcome.MOBILE_NUMBER_IN_USE: lambda: _(
        "The code was right, but another account uses this number. Use another number, or "
        "contact support."
    ),
    FactorOutcome.PASSKEY_LIMIT: lambda: _(
        "You have as many passkeys as one account can have. Remove one first."
    ),
    FactorOutcome.NOTHING_WAITING: lambda: _("The set-up wasn't finished in time. Start again."),
}


def _tries(left: int | None) -> str:
    if left is None or left > _FEW_TRIES:
        return ""
    return " " + ngettext(
        "You have %(n)d try left for this code.", "You have %(n)d tries left for this code.", left
    ) % {"n": left}


# -- texts -------------------------------------------------------------------------


def stopped(purpose: Purpose, factors: Overview) -> str:
    """Say that no text goes to a number of the person, and how they go on with *factors*."""
    if purpose is Purpose.OPT_IN:
        return _(
            "No text message is sent to this number: somebody answered STOP from it. If our text "
            "messages come from a number, send START to that number from your phone. Or use "
            "another mobile number, or ask support to allow this one again."
        )
    said = _(
        "No text message is sent to your number: somebody answered STOP from it. If our text "
        "messages come from a number, you can send START to that number from your phone."
    )
    said = f"{said} {other_ways(factors)}"
    if factors.works_without_texts or factors.recovery_codes:
        said += " " + _(
            "Once you're signed in, you can turn text messages on again under “Security”."
        )
    return said


def allowed(result: Change, factors: Overview) -> str:
    """Say whether texts to the person's number are on again after a STOP."""
    if result.outcome in _ALLOWED:
        return _ALLOWED[result.outcome]()
    return refusal(result, factors)


_ALLOWED = {
    **dict.fromkeys(
        (FactorOutcome.OK, FactorOutcome.UNCHANGED),
        lambda: _(
            "Text messages to your number are on again. If none arrives, your carrier may still "
            "block them: send START from your phone, or contact support."
        ),
    ),
    FactorOutcome.NOT_OPTED_IN: lambda: _("No mobile number is active for your account."),
    FactorOutcome.MOBILE_NUMBER_IN_USE: lambda: _(
        "This number may belong to somebody else. Use another number, or contact support."
    ),
}


SENT = frozenset({SendOutcome.SENT, SendOutcome.RESENT})


def sending(result: Sending, purpose: Purpose, factors: Overview) -> str:
    """Say what became of a request for a text."""
    if result.why is Why.ANSWERED_STOP:
        # Only who has verified the number is refused openly.
        return stopped(purpose, factors)
    outcome = result.outcome
    if result.why is Why.TEXTS_END:
        return _(EXPLAINED[Why.TEXTS_END].person)
    if outcome is SendOutcome.FACTOR_DISABLED:
        return switched_off(factors, changing=purpose is Purpose.OPT_IN)
    if outcome is SendOutcome.REGION_NOT_ALLOWED:
        beginnings = ", ".join(dict.fromkeys(map(phones.calling_code, conf.sms_regions)))
        return _(
            "Mobile numbers of that country can't be used here. Use one that begins with "
            "%(beginnings)s."
        ) % {"beginnings": beginnings}
    if outcome in _UNSENT:
        return _unsent(result, purpose, factors)
    return _SENT[outcome]()


_UNSENT = frozenset({SendOutcome.WAITING, SendOutcome.SEND_LIMIT, SendOutcome.LOCKED})


def _unsent(result: Sending, purpose: Purpose, factors: Overview) -> str:
    """Say which limit refused the text, and when it ends."""
    why = result.why
    said = EXPLAINED[why].person if why else ""
    refused = (
        _(said)
        if said
        else _("No more text messages can be sent now. You can ask again in %(wait)s.")
    )
    wait = delay_in_words(result.retry_after or timedelta(0))
    sentences = [refused % {"wait": wait}]
    if why in {Why.RESEND_WAIT, Why.LOCKED}:
        return sentences[0]
    if result.outcome is SendOutcome.WAITING:
        sentences.insert(0, _("A text message was sent a moment ago."))
    if purpose is not Purpose.OPT_IN and _ways(factors):
        sentences.append(other_ways(factors))
    return " ".join(sentences)


_SENT: dict[SendOutcome, Callable[[], str]] = {
    SendOutcome.SENT: lambda: "",  # the page to which it leads says where it went
    SendOutcome.RESENT: lambda: _("We sent the text message again. The code is the same."),
    SendOutcome.NOT_OPTED_IN: _REFUSALS[CodeOutcome.NOT_OPTED_IN],
    SendOutcome.ALREADY_OPTED_IN: lambda: _("You already use this number."),
    SendOutcome.UNREADABLE: lambda: _("We can no longer read that number. Enter it again."),
}


def delivery(text: SmsMessage, *, briefly: bool = False) -> str:
    """Say how far a text came (P-06).

    :param briefly: that a receipt is missing is no news within a minute.
    """
    came_so_far = text.delivered_at or text.sent_at or text.created_at
    at = clock_time(came_so_far)
    if briefly and text.state in _UNCONFIRMED and timezone.now() - came_so_far < _SOON:
        return _("Sent at %(time)s.") % {"time": at}
    if text.state == State.FAILED and text.sent_at:
        return _("Your carrier refused it at %(time)s. Check the number, or try again.") % {
            "time": at
        }
    return _DELIVERY[State(text.state)]() % {"time": at}


_DELIVERY = {
    State.QUEUED: lambda: _("Waiting to be sent, since %(time)s. The cause isn't your phone."),
    State.SENDING: lambda: _("Being sent, since %(time)s."),
    State.SENT: lambda: _("Sent at %(time)s. Not confirmed as delivered yet."),
    State.DELIVERED: lambda: _("Delivered at %(time)s."),
    State.FAILED: lambda: _("It couldn't be sent at %(time)s. Check the number, or try again."),
    State.EXPIRED: lambda: _("It wasn't sent: its code no longer works. Ask for a new one."),
}
# The person must not learn that it was withheld (``limits.Withheld``).
_DELIVERY[State.WITHHELD] = _DELIVERY[State.SENT]


_UNCONFIRMED = frozenset({State.SENT, State.WITHHELD})
_SOON = timedelta(minutes=1)

AWAITED = _UNCONFIRMED | {State.QUEUED, State.SENDING}
"""States of a text that may still come. A withheld text must look like one that was sent."""


def usual_wait(wait: timedelta | None) -> str:
    """Say how long texts usually take (G-10); "" where nobody knows."""
    if wait is None:
        return ""
    seconds = timedelta(seconds=max(round(wait.total_seconds()), 1))
    return _("A text takes about %(wait)s.") % {"wait": in_words(seconds)}


def lifetime(waiting: Waiting, *, told_tries: bool) -> str:
    """Say how long a code lives on, and how many tries it has left unless that was told."""
    until = _("The code works until %(time)s.") % {"time": _until(waiting.code.expires_at)}
    return until if told_tries else until + _tries(waiting.tries_left())
