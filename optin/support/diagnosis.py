"""Why no text came, and why somebody cannot sign in: the causes in words (P-21).

What is known of one account is read by a fixed number of queries; the causes follow from
it by pure functions. Most likely first: what the last request for a text came to, what
became of the last text, and what stands in the way now.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils.dateparse import parse_datetime

from optin import phones
from optin.audit import refusals
from optin.gateways import Fate
from optin.messaging import limits
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    GatewayHealth,
    GatewayTry,
    Guard,
    ProviderUser,
    Purpose,
    RecoveryCode,
    Revocation,
    SmsMessage,
    User,
)
from optin.models.messages import LEASE, State
from optin.outcomes import Grant, Outcome
from optin.support import wording
from optin.support.wording import moment, moment_by

Kind = AuditEvent.Kind

LATELY = timedelta(hours=24)
"""A request or a wrong code from before is no news; texts are kept as long (S-55)."""

TRIES_LOOKED_AT = 20

UNKNOWN = "\u2013"


class Question(StrEnum):
    """What the person asks support."""

    NO_TEXT = "no_text"
    NO_ENTRY = "no_entry"


class Why(StrEnum):
    """A cause. Names are stable: guides and tests go by them."""

    NUMBER_LIMIT = "number_limit"
    OTHERS_ASKED = "others_asked"
    USER_LIMIT = "user_limit"
    ADDRESS_LIMIT = "address_limit"
    CLIENT_LIMIT = "client_limit"
    FILE_BUDGET = "file_budget"
    TOTAL_BUDGET = "total_budget"
    RESEND_WAIT = "resend_wait"
    REGION = "region"
    PREFIX_CLOSED = "prefix_closed"
    DENIED = "denied"
    ANSWERED_STOP = "answered_stop"
    ALL_STOPPED = "all_stopped"
    LOCKED = "locked"
    DISABLED = "disabled"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    ON_ALREADY = "on_already"
    NO_NUMBER = "no_number"
    NOTHING_ASKED = "nothing_asked"
    APP_INSTEAD = "app_instead"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105  (a name, no secret)
    PASSWORD_LIMIT = "password_limit"  # noqa: S105
    NO_PASSWORD = "no_password"  # noqa: S105
    GATEWAY_REFUSED = "gateway_refused"
    GATEWAY_DOWN = "gateway_down"
    NO_GATEWAY = "no_gateway"
    NOT_TAKEN_UP = "not_taken_up"
    CARRIER_REFUSED = "carrier_refused"
    EXPIRED_UNSENT = "expired_unsent"
    NUMBER_MISTYPED = "number_mistyped"
    NOT_CONFIRMED = "not_confirmed"
    ARRIVED = "arrived"
    FORGOTTEN = "forgotten"
    CODE_REFUSED = "code_refused"
    NO_CODE_ENTERED = "no_code_entered"
    SET_UP_FIRST = "set_up_first"
    PHONE_ONLY = "phone_only"
    REVOCATION_WAITS = "revocation_waits"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why it is so, in words, and what to do about it."""

    question: Question
    why: Why
    words: str
    advice: str


def diagnose(user: User, now: datetime) -> list[Cause]:
    """Return the causes for both questions, for each the most likely first."""
    known = _read(user, now)
    if not known.user.is_active:
        # What it was refused for before, or as if for, would only lead astray.
        return [_deactivated(question) for question in Question]
    no_text = _unlike([*_of_texts(known), *_resting(known)])
    no_entry = _unlike(_of_entry(known))
    return [cause for causes in (no_text, no_entry) for cause in causes]


def _unlike(causes: Iterable[Cause]) -> list[Cause]:
    """Leave out what was said already."""
    first: dict[Why, Cause] = {}
    for cause in causes:
        first.setdefault(cause.why, cause)
    return list(first.values())


# -- reading -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """All that is known of the account and bears on texts and signing in."""

    now: datetime
    user: User
    numbers: list[ProviderUser]
    app: AuthenticatorApp | None
    recovery_codes: int
    request: AuditEvent | None  # the last one for a text
    sign_in: AuditEvent | None  # the last password on the way to a text
    guess: AuditEvent | None  # the last code entered
    suspension: AuditEvent | None
    text: SmsMessage | None  # the last one
    tries: list[GatewayTry]  # of it, newest first
    guards: list[Guard]
    revocation: Revocation | None  # that waits
    health: list[GatewayHealth]  # of gateways that are left alone now

    @property
    def active(self) -> ProviderUser | None:
        return next((row for row in self.numbers if row.confirmed), None)


def _read(user: User, now: datetime) -> _Known:
    fresh = User.objects.get(pk=user.pk)
    numbers = list(ProviderUser.objects.filter(user=fresh).order_by("-pk"))
    trail = AuditEvent.objects.about(fresh)

    def latest(kinds: list[Kind]) -> AuditEvent | None:
        # A refused request of staff does not tell which text the person waits for.
        asked = trail.filter(kind__in=kinds).exclude(kind=Kind.RESEND, outcome__in=_IN_VAIN)
        return refusals.latest(asked, fresh, kinds)

    request = latest([Kind.OPT_IN, Kind.CHALLENGE, Kind.RESEND])
    suspensions = trail.filter(kind=Kind.SUSPEND, outcome=Outcome.OK)
    # By their times: by id the newest might be sought among the texts of everybody.
    own = SmsMessage.objects.filter(pending_otp__provider_user__user=fresh)
    text = own.select_related("pending_otp__provider_user").order_by("-created_at", "-pk").first()
    tries = GatewayTry.objects.filter(message=text.pk if text else 0).order_by("-pk")
    wanted = {"", request.number_digest if request else ""}  # "": of the stop
    wanted |= {row.number_digest for row in numbers if row.confirmed}
    return _Known(
        now=now,
        user=fresh,
        numbers=numbers,
        app=AuthenticatorApp.objects.active_of(fresh),
        recovery_codes=RecoveryCode.objects.left(fresh),
        request=request,
        sign_in=latest([Kind.SIGN_IN]),
        guess=latest([Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT]),
        suspension=suspensions.first() if any(row.suspended_at for row in numbers) else None,
        text=text,
        tries=list(tries[:TRIES_LOOKED_AT]),
        revocation=Revocation.objects.open_of(fresh).first(),
        guards=list(Guard.objects.in_force(now).filter(key__in=wanted, kind__in=_BARS)),
        health=[one for one in GatewayHealth.objects.all() if one.is_tripped(now)],
    )


_IN_VAIN = [Outcome.NOTHING_WAITING, Outcome.OUT_OF_REACH]
_BARS = [Guard.Kind.STOP, Guard.Kind.DENY, Guard.Kind.OPTED_OUT]


# -- why no text came --------------------------------------------------------------


def _no_text(why: Why, words: str, advice: str) -> Cause:
    return Cause(Question.NO_TEXT, why, words, advice)


def _of_texts(known: _Known) -> Iterator[Cause]:
    request = known.request
    yield from _not_asked(known)
    refused = _refused(request, known) if request else None
    became = list(_became(known))
    # What would refuse the next text counts more than what may have become of the last.
    doubtful = [cause for cause in became if cause.why in _DOUBTFUL]
    certain = [cause for cause in became if cause.why not in _DOUBTFUL]
    order = [refused, *certain, *_in_force(known), *doubtful]
    if request and _is_told(request) and request.data.get("rule") == limits.RESEND_WAIT:
        # A text left a moment ago: what became of that one is the question.
        order = [*certain, *doubtful, refused, *_in_force(known)]
    yield from filter(None, order)


_DOUBTFUL = {Why.NUMBER_MISTYPED, Why.NOT_CONFIRMED, Why.ARRIVED, Why.FORGOTTEN}


def _is_later(one: AuditEvent, other: AuditEvent) -> bool:
    return (one.at, one.pk) > (other.at, other.pk)


def _not_asked(known: _Known) -> Iterator[Cause]:
    """Nothing was asked for at all, or nothing lately, or the password came first."""
    request, sign_in = known.request, known.sign_in
    if sign_in and (request is None or _is_later(sign_in, request)):
        at = moment(sign_in.at)
        if sign_in.outcome == Grant.INVALID_GRANT:
            yield _no_text(
                Why.WRONG_PASSWORD,
                f"At the last sign-in, {at}, the password was wrong: no text is sent then.",
                _CHOOSE_ANOTHER,
            )
        elif sign_in.outcome == Grant.NOT_NOW:
            yield _password_limit(Question.NO_TEXT, sign_in, known.now)
        elif sign_in.outcome == Grant.CODE_REQUIRED and known.app:
            yield _no_text(
                Why.APP_INSTEAD,
                f"At the last sign-in, {at}, no text was sent: this account has an authenticator "
                "app, whose code is asked for.",
                "Tell them to enter the code of the app. The page that asks for it has a button "
                "that sends a text instead.",
            )
    if request is None:
        yield _no_text(
            Why.NOTHING_ASKED,
            "No text was ever asked for: no such request of this account reached a decision.",
            _WHICH_ACCOUNT,
        )
    elif known.now - request.at >= LATELY:
        yield _no_text(
            Why.NOTHING_ASKED,
            f"No text was asked for since {moment(request.at)}: no newer request reached a "
            "decision.",
            _WHICH_ACCOUNT,
        )


def _refused(request: AuditEvent, known: _Known) -> Cause | None:
    """Name the rule that refused the last request for a text, if one did."""
    if not wording.is_refusal(request):
        return None
    name = wording.rule_name(request.data)
    if name not in _RULES:
        return None
    why, advice = _RULES[name]
    if not _is_told(request) and name in _OF_OTHERS:
        why, advice = Why.OTHERS_ASKED, _ASK_LATER
    to = f" to the number {phones.mask(request.last_three)}" if request.last_three else ""
    came_to = "refused" if _is_told(request) else "withheld, but they were told that it was sent"
    came_to += _repeats(request)
    words = f"A text{to} was asked for at {moment(request.at)}, and {came_to}:"
    stands = [cause for cause in (*_guarded(known), *_barred(known)) if cause.why is why]
    because = [cause.words for cause in stands] or [_because(name, request)]
    over = _is_over(request, name, known.now, stands=bool(stands))
    again = _again(request, known.now)
    if name in _STANDING:
        again = "This is over." if over else ""
    if over:
        advice = "Tell them to ask once more now."
    elif stands:
        advice = stands[0].advice
    return _no_text(why, " ".join(filter(None, [words, *because, again])), advice)


def _repeats(event: AuditEvent) -> str:
    since = parse_datetime(str(event.data.get("since", "")))
    return f", {event.data['repeated'] + 1} times since {moment(since)}" if since else ""


def _is_told(request: AuditEvent) -> bool:
    """Whether the person knows that it was refused."""
    return request.outcome != Outcome.WITHHELD


_OF_OTHERS = {"asked-number", limits.RESEND_WAIT}
"""Rules that withhold a text because others asked for texts to the same number."""


def _because(name: str, request: AuditEvent) -> str:
    counted = wording.rule(request.data)
    return f"{_MEANS[name]} ({counted})." if name in _MEANS else f"{counted}."


def _is_over(request: AuditEvent, name: str, now: datetime, *, stands: bool) -> bool:
    """Whether what refused would let the same request through by now."""
    if name in _STANDING:
        return not stands
    until = wording.again_at(request)
    waits = name == limits.RESEND_WAIT and _is_told(request)
    return until is not None and until <= now and not waits


_STANDING = {
    *(limits.STOP, limits.OPTED_OUT, "deny-number"),
    *("locked", "factor_disabled", "suspended"),
}
"""Rules of which it is known whether they still stand, and how long."""

_MEANS: dict[str, str] = {
    "file": "the budget of texts of the file is used up",
    "total": "the budget of all texts is used up",
    "own-total": "the ceiling of all texts for signing in is reached",
    limits.PREFIX: (
        "numbers that begin like this one are closed to opt-ins for a while, against fraud"
    ),
}
"""What a count comes to, where it does not speak for itself."""


def _again(event: AuditEvent, now: datetime) -> str:
    until = wording.again_at(event)
    if until is None:
        return ""
    if until <= now:
        return f"Trying again works since {moment(until)}."
    return f"Trying again works from {moment_by(until)}."


_IT_ENDS = (
    "Nobody here can lift it; it ends by itself. Tell them to wait until then, and to ask once."
)
_BUDGET = (
    "Tell an administrator at once: everybody is refused, and it may be fraud. Tell the person "
    "when to try again."
)
_BY_LIST = (
    "Staff put it there: see “Stops and lists” for the reason and the end. An administrator can "
    "take it off."
)
_UNLOCK = (
    "Tell them to wait until then; or, if you are sure who it is, press “Unlock”. If the tries "
    "were not theirs, somebody else may know the password: let them change it."
)
_ANOTHER_WAY = "A code of the app or a recovery code leads in."
_UNLOCK_TEXTS = (
    "If you are sure who it is, press “Unlock”. If the tries were not theirs, somebody else may "
    "know the password: let them change it."
)
_END_SUSPENSION = (
    "Press “End the suspension” only if you are sure who it is, and its reason is gone."
)
_CHOOSE_ANOTHER = (
    "Tell them to choose a new one: “Forgotten your password?” on the page to sign in."
)
_WHICH_ACCOUNT = (
    "Ask which name they sign in with, and what the page or the application says: it may be "
    "another account. Requests of a wrong form are in the log only."
)
_LOOK_AT_THE_LOG = (
    "Tell those who run the service to look at the workers and their log. Tell the person that it "
    "is not their phone."
)
_ASK_LATER = (
    "Tell them to ask again then. Do not tell them what others did: the number may be somebody "
    "else's. If it is theirs, another person may have entered it by mistake."
)
_RULES: dict[str, tuple[Why, str]] = {
    "asked-pair": (Why.NUMBER_LIMIT, _IT_ENDS),
    "asked-number": (Why.NUMBER_LIMIT, _IT_ENDS),
    "off-number": (Why.NUMBER_LIMIT, _IT_ENDS),
    "own-number": (Why.NUMBER_LIMIT, _IT_ENDS),
    "asked-user": (Why.USER_LIMIT, _IT_ENDS),
    "own-user": (Why.USER_LIMIT, _IT_ENDS),
    "asked-ip": (Why.ADDRESS_LIMIT, _IT_ENDS),
    "own-ip": (Why.ADDRESS_LIMIT, _IT_ENDS),
    "asked-client": (Why.CLIENT_LIMIT, _IT_ENDS),
    "own-client": (Why.CLIENT_LIMIT, _IT_ENDS),
    "file": (Why.FILE_BUDGET, _BUDGET),
    "total": (Why.TOTAL_BUDGET, _BUDGET),
    "own-total": (Why.TOTAL_BUDGET, _BUDGET),
    limits.RESEND_WAIT: (
        Why.RESEND_WAIT,
        "Tell them to look for the text that was sent before: its code still works.",
    ),
    limits.PREFIX: (
        Why.PREFIX_CLOSED,
        "An administrator can open the prefix, or put this number on the safe list. Tell the "
        "person that it is not their phone.",
    ),
    limits.STOP: (
        Why.ALL_STOPPED,
        "Tell the person that it is not their phone, and that nobody gets texts now. An "
        "administrator knows when they go again.",
    ),
    limits.OPTED_OUT: (
        Why.ANSWERED_STOP,
        "Tell them to text START to the sender of the last text. Or, once they have signed in "
        "with an app or a recovery code, to turn text messages on again under “Two-factor”. "
        "An administrator can allow the number again.",
    ),
    "deny-number": (Why.DENIED, _BY_LIST),
    "deny-prefix": (Why.DENIED, _BY_LIST),
    "region_not_allowed": (
        Why.REGION,
        "Tell them that it takes a mobile number of an allowed country, or an authenticator app "
        "in place of texts. Those who run the service can allow more countries.",
    ),
    "locked": (Why.LOCKED, _UNLOCK),
    "factor_disabled": (Why.DISABLED, _UNLOCK_TEXTS),
    "suspended": (Why.SUSPENDED, _END_SUSPENSION),
    "already_opted_in": (
        Why.ON_ALREADY,
        "Tell them to sign in to change the number, or to turn it off first.",
    ),
    "not_opted_in": (
        Why.NO_NUMBER,
        "Tell them to opt in first, if they wish to get codes by text message.",
    ),
}


# -- what became of the last text --------------------------------------------------


def _became(known: _Known) -> Iterator[Cause]:
    text, request = known.text, known.request
    told = request.data.get("message", 0) if request else 0
    if text is None or text.pending_otp is None or text.pk < told:
        if told and request:
            yield _no_text(
                Why.FORGOTTEN,
                f"A text left for a number {phones.mask(request.last_three)} at "
                f"{moment(request.at)}. What became of it is not kept any more.",
                "Let them ask again while you look at this page.",
            )
        return
    if proved := _proved(text):
        if request is None or not wording.is_refusal(request):
            yield proved  # else they wait for one that was refused since
        return
    yield from _BECAME[State(text.state)](known, text)


def _waiting(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    """It was queued, or a process holds it, or held it when it died."""
    at = moment(text.created_at)
    if text.reason == "all texts are stopped":
        yield _all_stopped()
    elif known.tries and known.tries[0].fate != Fate.ACCEPTED:
        yield _down(known, text)
    elif text.reason == "no gateway serves this number now":
        yield _down(known, text) if known.health else _no_gateway(text)
    elif text.state == State.QUEUED or _is_left(text, known.now):
        yield _no_text(
            Why.NOT_TAKEN_UP,
            f"The text of {at} waits: no process has sent it.",
            _LOOK_AT_THE_LOG,
        )
    else:
        yield _no_text(
            Why.NOT_CONFIRMED,
            f"The text of {at} is being sent at this moment.",
            "Open this page again in a minute.",
        )


def _is_left(text: SmsMessage, now: datetime) -> bool:
    return text.claimed_at is not None and text.claimed_at <= now - LEASE


def _sent(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    yield from _mistyped(known, text)
    yield _no_text(
        Why.NOT_CONFIRMED,
        f"The gateway {text.gateway} took the text for the number "
        f"{text.provider_user.masked_number} at {moment(text.sent_at or text.created_at)}. The "
        "carrier has not confirmed it.",
        "Ask whether the phone is on and has coverage. Texts can take minutes; then let them ask "
        "again.",
    )


def _delivered(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    yield from _mistyped(known, text)
    yield _no_text(
        Why.ARRIVED,
        f"The text was delivered to the number {text.provider_user.masked_number} at "
        f"{moment(text.delivered_at or text.created_at)}.",
        "Tell them to look among blocked and unknown senders, on the phone with that number.",
    )


def _proved(text: SmsMessage) -> Cause | None:
    code = text.pending_otp
    if code is None or code.closed_at is None or code.closed_as != code.Closed.PROVED:
        return None
    return _no_text(
        Why.ARRIVED,
        f"The last text arrived: its code was entered at {moment(code.closed_at)}.",
        "If they wait for another one, it was not asked for: let them ask while you look.",
    )


def _mistyped(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    """Nobody has shown that the number is theirs: it may be a stranger's."""
    number = text.provider_user
    if number.verified_at:
        return
    others = [row.masked_number for row in known.numbers if row.verified_at]
    words = (
        f"The number may be mistyped: the text of {moment(text.sent_at or text.created_at)} was "
        f"for {number.masked_number}, which nobody has proved to be theirs."
    )
    if others:
        words += f" Proved for this account: {', '.join(others)}."
    yield _no_text(
        Why.NUMBER_MISTYPED,
        words,
        f"Ask how their number ends. If it is not {number.masked_number}, tell them to go back "
        "and enter it again; a stranger's phone has the text.",
    )


def _failed(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    last = known.tries[0] if known.tries else None
    gateway = text.gateway or (last.gateway if last else "")
    number = text.provider_user.masked_number
    at = moment(text.sent_at or text.claimed_at or text.created_at)
    reason = wording.why(text.reason)
    if text.reason.startswith(wording.CARRIER):
        yield _no_text(
            Why.CARRIER_REFUSED,
            f"The gateway {gateway} took the text for the number {number} at {at}; then the "
            f"carrier refused it: {reason}.",
            "Ask how their number ends: is it this one? If so, is the phone on, can it get texts, "
            "does it block senders? Then let them ask again.",
        )
        yield from _mistyped(known, text)
    elif text.reason == "the number answered STOP" or (last and last.fate == Fate.OPTED_OUT):
        yield _answered_stop(number)
    elif last and last.fate == Fate.REFUSED:
        yield _no_text(
            Why.GATEWAY_REFUSED,
            f"The gateway {gateway} refused the text for the number {number} at {at}: {reason}.",
            "Ask how their number ends. If it is another one, tell them to enter it again. If it "
            "is this one, tell those who run the service.",
        )
        yield from _mistyped(known, text)
    elif last or text.reason == "it could not be sent for a day":
        yield _down(known, text)
    else:
        yield _no_text(
            Why.NOT_TAKEN_UP,
            f"The text of {at} was given up: {reason}.",
            _LOOK_AT_THE_LOG,
        )


def _expired(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    yield _no_text(
        Why.EXPIRED_UNSENT,
        f"The text of {moment(text.created_at)} was not sent in time: {wording.why(text.reason)}.",
        "Tell them to ask again now. If it happens often, tell those who run the service.",
    )
    if known.tries:
        yield _down(known, text)


_BECAME: dict[State, Callable[[_Known, SmsMessage], Iterator[Cause]]] = {
    State.QUEUED: _waiting,
    State.SENDING: _waiting,
    State.SENT: _sent,
    State.DELIVERED: _delivered,
    State.FAILED: _failed,
    State.EXPIRED: _expired,
    State.WITHHELD: lambda known, text: iter(()),  # the request says it
}


def _down(known: _Known, text: SmsMessage) -> Cause:
    """No gateway could be reached, or none answered."""
    failed = list(dict.fromkeys(made.gateway for made in known.tries)) or [
        one.gateway for one in known.health
    ]
    said = wording.why(known.tries[0].reason if known.tries else text.reason)
    words = (
        f"No gateway has taken the text of {moment(text.created_at)}: it is down or fails. "
        f"Tried: {', '.join(failed) or UNKNOWN}; the last one said: {said}."
    )
    left_alone = [one for one in known.health if one.gateway in failed]
    return _no_text(
        Why.GATEWAY_DOWN,
        " ".join([words, *map(_tripped, left_alone)]),
        "Tell those who run the service: it is so for everybody. Tell the person that it is not "
        "their phone; the text goes by itself once the gateway works, while its code does.",
    )


def _tripped(health: GatewayHealth) -> str:
    assert health.tripped_until
    return (
        f"The gateway {health.gateway} failed {health.failures} times in a row and rests until "
        f"{moment(health.tripped_until)}."
    )


def _no_gateway(text: SmsMessage) -> Cause:
    return _no_text(
        Why.NO_GATEWAY,
        f"The text of {moment(text.created_at)} waits: no gateway serves its number.",
        "Tell those who run the service. Tell the person that it is not their phone.",
    )


# -- what stands in the way now ----------------------------------------------------


def _deactivated(question: Question) -> Cause:
    return Cause(
        question,
        Why.DEACTIVATED,
        "The account is deactivated: its password is refused as if wrong, and no text leaves.",
        "Nobody can change that on these pages. Ask those who run the service why it is so before "
        "you promise anything.",
    )


def _in_force(known: _Known) -> Iterator[Cause]:
    """What would refuse the next text, whatever became of the last one."""
    yield from _guarded(known)
    yield from (_of(Question.NO_TEXT, cause) for cause in _barred(known))


def _guarded(known: _Known) -> Iterator[Cause]:
    for guard in known.guards:
        if guard.kind == Guard.Kind.STOP:
            yield _all_stopped(guard)
        elif guard.kind == Guard.Kind.OPTED_OUT:
            yield _answered_stop(phones.mask(guard.last_three))
        elif guard.until:
            yield _no_text(
                Why.DENIED,
                f"The number {phones.mask(guard.last_three)} is on the deny list until "
                f"{moment(guard.until)}: “{_reason(guard)}”.",
                _BY_LIST,
            )


def _resting(known: _Known) -> Iterator[Cause]:
    for health in known.health:
        yield _no_text(
            Why.GATEWAY_DOWN,
            _tripped(health),
            "Meanwhile texts go through the next gateway, if there is one.",
        )


def _reason(row: Guard | AuditEvent | Revocation) -> str:
    return wording.masked(row.reason, longest=8)


def _of(question: Question, cause: Cause) -> Cause:
    return Cause(question, cause.why, cause.words, cause.advice)


def _all_stopped(guard: Guard | None = None) -> Cause:
    words = "Staff stopped all texts."
    if guard:
        words = f"Staff stopped all texts at {moment(guard.made_at)}: “{_reason(guard)}”."
    return _no_text(Why.ALL_STOPPED, words, _RULES[limits.STOP][1])


def _answered_stop(number: str) -> Cause:
    words = f"Somebody answered STOP from the number {number}: no text is sent to it."
    return _no_text(Why.ANSWERED_STOP, words, _RULES[limits.OPTED_OUT][1])


# -- why somebody cannot sign in ---------------------------------------------------


def _no_entry(why: Why, words: str, advice: str) -> Cause:
    return Cause(Question.NO_ENTRY, why, words, advice)


def _of_entry(known: _Known) -> Iterator[Cause]:
    yield from _barred(known)
    yield from _of_password(known)
    yield from _of_guess(known)
    yield from _of_waiting(known)
    yield from _of_factors(known)


def _barred(known: _Known) -> Iterator[Cause]:
    """Disabled, suspended, locked: codes are not heard, and texts not sent."""
    user, active = known.user, known.active
    another_way = f"{_ANOTHER_WAY} " if known.app or known.recovery_codes else ""
    if user.otp_disabled_at:
        yield _no_entry(
            Why.DISABLED,
            f"Codes by text message are disabled since {moment(user.otp_disabled_at)}, after "
            f"{user.otp_failures} wrong codes.",
            f"{another_way}{_UNLOCK_TEXTS}",
        )
    if active and active.suspended_at:
        event = known.suspension
        yield _no_entry(
            Why.SUSPENDED,
            f"Staff suspended the number {active.masked_number} at {moment(active.suspended_at)}: "
            f"“{_reason(event) if event else UNKNOWN}”.",
            f"{another_way}{_END_SUSPENSION}",
        )
    if user.locked_for(known.now) and user.otp_locked_until:
        yield _no_entry(
            Why.LOCKED,
            f"No code is accepted, and no text sent, until {moment_by(user.otp_locked_until)}, "
            f"after "
            f"{user.otp_failures} wrong codes.",
            _UNLOCK,
        )


def _of_password(known: _Known) -> Iterator[Cause]:
    event = known.sign_in
    if not known.user.has_usable_password():
        yield _no_entry(
            Why.NO_PASSWORD,
            "The account has no password.",
            "Those who run the service can set one.",
        )
    if event is None or known.now - event.at >= LATELY:
        return
    if event.outcome == Grant.NOT_NOW and event.data.get("rule"):
        yield _password_limit(Question.NO_ENTRY, event, known.now)
    elif event.outcome == Grant.INVALID_GRANT:
        yield _no_entry(
            Why.WRONG_PASSWORD,
            f"At the last sign-in, {moment(event.at)}, the password was wrong.",
            _CHOOSE_ANOTHER,
        )


def _password_limit(question: Question, event: AuditEvent, now: datetime) -> Cause:
    """What is known of it: the refused try. The counter itself tells no name."""
    rule = wording.rule(event.data) or "too many tries"
    at = f"at {moment(event.at)}{_repeats(event)}"
    place = "several networks" if "networks" in event.data else event.ip or UNKNOWN
    words = f"Sign-in was refused {at}, from {place}: {rule}."
    return Cause(
        question,
        Why.PASSWORD_LIMIT,
        f"{words} {_again(event, now)}".strip(),
        "Nobody here can lift it; it ends by itself. From another network they can sign in now. "
        "Have they forgotten it? “Forgotten your password?” mails a link to a new one.",
    )


def _of_guess(known: _Known) -> Iterator[Cause]:
    event = known.guess
    if event is None or known.now - event.at >= LATELY or not wording.is_refusal(event):
        return
    if event.outcome in {Outcome.LOCKED, Outcome.FACTOR_DISABLED} or any(_barred(known)):
        return  # that is said, while it holds
    details = "; ".join(wording.reasons(event))
    words = f"At the last try, {moment(event.at)}: {wording.decided(event)}"
    yield _no_entry(
        Why.CODE_REFUSED,
        f"{words} ({details})." if details else f"{words}.",
        "Only the newest code works, for ten minutes at most. Tell them to ask for another.",
    )


def _of_waiting(known: _Known) -> Iterator[Cause]:
    """They got as far as the code, and no further: the other question is theirs."""
    request, later = known.request, (known.guess, known.sign_in)
    if request is None or request.data.get("purpose") != Purpose.SIGN_IN:
        return
    if request.kind == Kind.RESEND and wording.is_refusal(request):
        return  # staff asked, and perhaps for nothing
    stale = known.now - request.at >= LATELY or any(
        one and _is_later(one, request) for one in later
    )
    if stale or any(_barred(known)):
        return
    yield _no_entry(
        Why.NO_CODE_ENTERED,
        f"A code to sign in was asked for at {moment(request.at)}, and none was entered since.",
        "The password was right. If the text did not come, see above why.",
    )


def _of_factors(known: _Known) -> Iterator[Cause]:
    active = known.active
    if waits := known.revocation:
        yield _no_entry(
            Why.REVOCATION_WAITS,
            f"Support was asked at {moment(waits.asked_at)} to remove all second factors. That "
            f"takes effect at {moment(waits.due_at)}, unless it is called off: "
            f"{_reason(waits)}",
            _until_then(known, waits),
        )
    if known.user.is_staff and not (active or known.app):
        yield _no_entry(
            Why.SET_UP_FIRST,
            "This is a member of staff without a second factor: the admin needs one.",
            "Tell them to set one up after the password, as they are led to.",
        )
    if active and not known.app and not known.recovery_codes:
        yield _no_entry(
            Why.PHONE_ONLY,
            f"The phone with the number {active.masked_number} is the only way in: there is no "
            "authenticator app, and no recovery code is left.",
            "If it is lost: press “Suspend” so that nobody else uses it, make sure who it is, and "
            "have all second factors removed.",
        )


def _until_then(known: _Known, waits: Revocation) -> str:
    if not waits.is_about(known.active, known.app):
        return "Their factors are others by now: nothing will be removed."
    return (
        "Then the password alone leads in. If it was not the person who asked: withdraw the "
        "revocation, and let them change the password."
    )
