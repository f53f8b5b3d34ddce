"""Why no text came, and why somebody cannot sign in: the causes in words (P-21).

What is known of one account is read by a fixed number of queries; the causes follow from
it by pure functions. Most likely first: what the last request for a text came to, what
became of the last text, and what stands in the way now.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils.translation import gettext as _

from optin import limits, phones, staff_words
from optin.gateways import Fate
from optin.guesses import Outcome
from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    GatewayHealth,
    GatewayTry,
    Guard,
    ProviderUser,
    RecoveryCode,
    SmsMessage,
    User,
)
from optin.models.messages import LEASE, State
from optin.passwords import Grant
from optin.staff_words import moment

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
    SET_UP_FIRST = "set_up_first"
    PHONE_ONLY = "phone_only"


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
    no_text = _unlike([*_deactivated(known), *_of_texts(known), *_resting(known)])
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
    health: list[GatewayHealth]  # of gateways that are left alone now

    @property
    def active(self) -> ProviderUser | None:
        return next((row for row in self.numbers if row.confirmed), None)


def _read(user: User, now: datetime) -> _Known:
    fresh = User.objects.get(pk=user.pk)
    numbers = list(ProviderUser.objects.filter(user=fresh).order_by("-pk"))
    trail = AuditEvent.objects.about(fresh)
    request = trail.filter(kind__in=[Kind.OPT_IN, Kind.CHALLENGE, Kind.RESEND]).first()
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
        sign_in=trail.filter(kind=Kind.SIGN_IN).first(),
        guess=trail.filter(kind__in=[Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT]).first(),
        suspension=suspensions.first() if any(row.suspended_at for row in numbers) else None,
        text=text,
        tries=list(tries[:TRIES_LOOKED_AT]),
        guards=list(Guard.objects.in_force(now).filter(key__in=wanted, kind__in=_BARS)),
        health=[one for one in GatewayHealth.objects.all() if one.is_tripped(now)],
    )


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
    if request and request.data.get("rule") == limits.RESEND_WAIT:
        # A text left a moment ago: what became of that one is the question.
        order = [*certain, *doubtful, refused, *_in_force(known)]
    yield from filter(None, order)


_DOUBTFUL = {Why.NUMBER_MISTYPED, Why.NOT_CONFIRMED, Why.ARRIVED, Why.FORGOTTEN}


def _not_asked(known: _Known) -> Iterator[Cause]:
    """Nothing was asked for at all, or nothing lately, or the password came first."""
    request, sign_in = known.request, known.sign_in
    if sign_in and (request is None or sign_in.pk > request.pk):
        at = {"time": moment(sign_in.at)}
        if sign_in.outcome == Grant.INVALID_GRANT:
            yield _no_text(
                Why.WRONG_PASSWORD,
                _("At the last sign-in, %(time)s, the password was wrong: no text is sent then.")
                % at,
                _("Let them reset the password."),
            )
        elif sign_in.outcome == Grant.NOT_NOW:
            yield _password_limit(Question.NO_TEXT, sign_in, known.now)
        elif sign_in.outcome == Grant.CODE_REQUIRED and known.app:
            yield _no_text(
                Why.APP_INSTEAD,
                _(
                    "At the last sign-in, %(time)s, no text was sent: this account has an "
                    "authenticator app, whose code is asked for."
                )
                % at,
                _("The page of the code has a button that sends a text."),
            )
    if request is None:
        yield _no_text(
            Why.NOTHING_ASKED,
            _("No text was ever asked for: no such request of this account reached a decision."),
            _(
                "Ask which name they sign in with, and what the page or the application said. "
                "Requests of a wrong form are in the log only."
            ),
        )
    elif known.now - request.at >= LATELY:
        yield _no_text(
            Why.NOTHING_ASKED,
            _("No text was asked for since %(time)s: no newer request reached a decision.")
            % {"time": moment(request.at)},
            _(
                "Ask which name they sign in with, and what the page or the application said. "
                "Requests of a wrong form are in the log only."
            ),
        )


def _refused(request: AuditEvent, known: _Known) -> Cause | None:
    """Name the rule that refused the last request for a text, if one did."""
    if not staff_words.is_refusal(request):
        return None
    name = staff_words.rule_name(request.data)
    if name not in _RULES:
        return None
    why, advice = _RULES[name]
    words = _("A text was asked for at %(time)s, and refused: %(rule)s.") % {
        "time": moment(request.at),
        "rule": staff_words.rule(request.data),
    }
    now = [cause.words for cause in _guarded(known) if cause.why is why]
    return _no_text(
        why, " ".join(filter(None, [words, _again(request, known.now), *now])), advice()
    )


def _again(event: AuditEvent, now: datetime) -> str:
    until = staff_words.again_at(event)
    if until is None:
        return ""
    if until <= now:
        return _("Trying again works since %(time)s.") % {"time": moment(until)}
    return _("Trying again works from %(time)s.") % {"time": moment(until)}


def _it_ends() -> str:
    return _("The limit ends by itself. Let them wait until then, and ask once.")


def _budget() -> str:
    return _("Tell an administrator: everybody is refused, and it may be pumping.")


def _by_list() -> str:
    return _("Staff put it there, with a reason and an end: look at the deny list.")


def _unlock() -> str:
    return _("If you know the person, unlock the account.")


def _look_at_the_log() -> str:
    return _("Look at the log of the workers and of the gateway, and tell those who run it.")


_RULES: dict[str, tuple[Why, Callable[[], str]]] = {
    "asked-number": (Why.NUMBER_LIMIT, _it_ends),
    "own-number": (Why.NUMBER_LIMIT, _it_ends),
    "asked-user": (Why.USER_LIMIT, _it_ends),
    "own-user": (Why.USER_LIMIT, _it_ends),
    "asked-ip": (Why.ADDRESS_LIMIT, _it_ends),
    "own-ip": (Why.ADDRESS_LIMIT, _it_ends),
    "asked-client": (Why.CLIENT_LIMIT, _it_ends),
    "own-client": (Why.CLIENT_LIMIT, _it_ends),
    "file": (Why.FILE_BUDGET, _budget),
    "total": (Why.TOTAL_BUDGET, _budget),
    limits.RESEND_WAIT: (
        Why.RESEND_WAIT,
        lambda: _("Let them look for the text that was sent before; its code still works."),
    ),
    limits.PREFIX: (
        Why.PREFIX_CLOSED,
        lambda: _("An administrator can open the prefix, or put the number on the safe list."),
    ),
    limits.STOP: (
        Why.ALL_STOPPED,
        lambda: _("Ask an administrator when texts will go again."),
    ),
    limits.OPTED_OUT: (
        Why.ANSWERED_STOP,
        lambda: _("Let them text START to the sender of the last text, or allow the number again."),
    ),
    "deny-number": (Why.DENIED, _by_list),
    "deny-prefix": (Why.DENIED, _by_list),
    "region_not_allowed": (
        Why.REGION,
        lambda: _(
            "Ask for a number of an allowed country. Those who run the service allow others."
        ),
    ),
    "locked": (Why.LOCKED, _unlock),
    "factor_disabled": (Why.DISABLED, _unlock),
    "suspended": (
        Why.SUSPENDED,
        lambda: _("Staff did it for a reason: see it in the list. Staff can end it."),
    ),
    "already_opted_in": (
        Why.ON_ALREADY,
        lambda: _("Let them sign in to change the number, or to turn it off first."),
    ),
    "not_opted_in": (
        Why.NO_NUMBER,
        lambda: _("Let them opt in first, if they wish to get codes by text message."),
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
                _(
                    "A text left for a number %(number)s at %(time)s. What became of it "
                    "is not kept any more."
                )
                % {"number": phones.mask(request.last_three), "time": moment(request.at)},
                _("Let them ask again, and look then."),
            )
        return
    yield from _BECAME[State(text.state)](known, text)


def _waiting(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    """It was queued, or a process holds it, or held it when it died."""
    at = {"time": moment(text.created_at)}
    if text.reason == "all texts are stopped":
        yield _all_stopped()
    elif known.tries and known.tries[0].fate != Fate.ACCEPTED:
        yield _down(known, text)
    elif text.reason == "no gateway serves this number now":
        yield _down(known, text) if known.health else _no_gateway(text)
    elif text.state == State.QUEUED or _is_left(text, known.now):
        yield _no_text(
            Why.NOT_TAKEN_UP,
            _("The text of %(time)s waits: no process has sent it.") % at,
            _look_at_the_log(),
        )
    else:
        yield _no_text(
            Why.NOT_CONFIRMED,
            _("The text of %(time)s is being sent at this moment.") % at,
            _("Look again in a minute."),
        )


def _is_left(text: SmsMessage, now: datetime) -> bool:
    return text.claimed_at is not None and text.claimed_at <= now - LEASE


def _sent(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    if proved := _proved(text):
        yield proved
        return
    yield from _mistyped(known, text)
    yield _no_text(
        Why.NOT_CONFIRMED,
        _(
            "The gateway %(gateway)s took the text for the number %(number)s at "
            "%(time)s. The carrier has not confirmed it."
        )
        % {
            "gateway": text.gateway,
            "number": text.provider_user.masked_number,
            "time": moment(text.sent_at or text.created_at),
        },
        _("Is the phone on, and does it have coverage? Texts can take minutes."),
    )


def _delivered(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    if proved := _proved(text):
        yield proved
        return
    yield from _mistyped(known, text)
    yield _no_text(
        Why.ARRIVED,
        _("The text was delivered to the number %(number)s at %(time)s.")
        % {
            "number": text.provider_user.masked_number,
            "time": moment(text.delivered_at or text.created_at),
        },
        _("Let them look among blocked senders and unknown ones, on the phone of that number."),
    )


def _proved(text: SmsMessage) -> Cause | None:
    code = text.pending_otp
    if code is None or code.closed_at is None or code.closed_as != code.Closed.PROVED:
        return None
    return _no_text(
        Why.ARRIVED,
        _("The last text arrived: its code was entered at %(time)s.")
        % {"time": moment(code.closed_at)},
        _("No text was asked for since, or the list says why none left."),
    )


def _mistyped(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    """Nobody has shown that the number is theirs: it may be a stranger's."""
    number = text.provider_user
    if number.verified_at:
        return
    others = [row.masked_number for row in known.numbers if row.verified_at]
    words = _("The text went to a number %(number)s, which nobody has proved.") % {
        "number": number.masked_number
    }
    if others:
        words += " " + _("Proved for this account: %(numbers)s.") % {"numbers": ", ".join(others)}
    yield _no_text(
        Why.NUMBER_MISTYPED,
        words,
        _("Ask for the last three digits of their number. If they differ, it was mistyped."),
    )


def _failed(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    last = known.tries[0] if known.tries else None
    facts = {
        "gateway": text.gateway or (last.gateway if last else ""),
        "number": text.provider_user.masked_number,
        "time": moment(text.sent_at or text.claimed_at or text.created_at),
        "reason": staff_words.why(text.reason),
    }
    if text.reason.startswith(staff_words.CARRIER):
        yield _no_text(
            Why.CARRIER_REFUSED,
            _(
                "The gateway %(gateway)s took the text for the number %(number)s at "
                "%(time)s; then the carrier refused it: %(reason)s."
            )
            % facts,
            _("Does the number exist, can it get texts, does it block them? Compare its end."),
        )
        yield from _mistyped(known, text)
    elif text.reason == "the number answered STOP" or (last and last.fate == Fate.OPTED_OUT):
        yield _answered_stop(text.provider_user.masked_number)
    elif last and last.fate == Fate.REFUSED:
        yield _no_text(
            Why.GATEWAY_REFUSED,
            _(
                "The gateway %(gateway)s refused the text for the number %(number)s at "
                "%(time)s: %(reason)s."
            )
            % facts,
            _("Does the number exist? Compare its last three digits."),
        )
        yield from _mistyped(known, text)
    elif last or text.reason == "it could not be sent for a day":
        yield _down(known, text)
    else:
        yield _no_text(
            Why.NOT_TAKEN_UP,
            _("The text of %(time)s was given up: %(reason)s.") % facts,
            _look_at_the_log(),
        )


def _expired(known: _Known, text: SmsMessage) -> Iterator[Cause]:
    yield _no_text(
        Why.EXPIRED_UNSENT,
        _("The text of %(time)s was not sent in time: %(reason)s.")
        % {"time": moment(text.created_at), "reason": staff_words.why(text.reason)},
        _("Let them ask again. If it happens often, tell those who run the service."),
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
}


def _down(known: _Known, text: SmsMessage) -> Cause:
    """No gateway could be reached, or none answered."""
    failed = list(dict.fromkeys(made.gateway for made in known.tries)) or [
        one.gateway for one in known.health
    ]
    words = _("No gateway took the text of %(time)s: %(gateways)s (%(reason)s).") % {
        "time": moment(text.created_at),
        "gateways": ", ".join(failed) or UNKNOWN,
        "reason": staff_words.why(known.tries[0].reason if known.tries else text.reason),
    }
    left_alone = [one for one in known.health if one.gateway in failed]
    return _no_text(Why.GATEWAY_DOWN, " ".join([words, *map(_tripped, left_alone)]), _if_down())


def _if_down() -> str:
    return _("Tell those who run the service. Waiting texts go by themselves once it works.")


def _tripped(health: GatewayHealth) -> str:
    assert health.tripped_until
    return _("The gateway %(gateway)s failed %(n)s times in a row and rests until %(time)s.") % {
        "gateway": health.gateway,
        "n": health.failures,
        "time": moment(health.tripped_until),
    }


def _no_gateway(text: SmsMessage) -> Cause:
    return _no_text(
        Why.NO_GATEWAY,
        _("The text of %(time)s waits: no gateway serves its number.")
        % {"time": moment(text.created_at)},
        _("Tell those who run the service."),
    )


# -- what stands in the way now ----------------------------------------------------


def _deactivated(known: _Known) -> Iterator[Cause]:
    if not known.user.is_active:
        yield _no_text(
            Why.DEACTIVATED,
            _("The account is deactivated: nothing it asks for is decided or recorded."),
            _("An administrator can activate it."),
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
                _("The number %(number)s is on the deny list until %(time)s: %(reason)s")
                % {
                    "number": phones.mask(guard.last_three),
                    "time": moment(guard.until),
                    "reason": staff_words.masked(guard.reason, longest=8),
                },
                _by_list(),
            )


def _resting(known: _Known) -> Iterator[Cause]:
    for health in known.health:
        yield _no_text(
            Why.GATEWAY_DOWN,
            _tripped(health),
            _("Meanwhile texts go through the next gateway, if there is one."),
        )


def _of(question: Question, cause: Cause) -> Cause:
    return Cause(question, cause.why, cause.words, cause.advice)


def _all_stopped(guard: Guard | None = None) -> Cause:
    words = _("Staff stopped all texts.")
    if guard:
        words = _("Staff stopped all texts at %(time)s: %(reason)s") % {
            "time": moment(guard.made_at),
            "reason": staff_words.masked(guard.reason, longest=8),
        }
    return _no_text(Why.ALL_STOPPED, words, _RULES[limits.STOP][1]())


def _answered_stop(number: str) -> Cause:
    words = _("Somebody answered STOP from the number %(number)s: no text is sent to it.")
    return _no_text(Why.ANSWERED_STOP, words % {"number": number}, _RULES[limits.OPTED_OUT][1]())


# -- why somebody cannot sign in ---------------------------------------------------


def _no_entry(why: Why, words: str, advice: str) -> Cause:
    return Cause(Question.NO_ENTRY, why, words, advice)


def _of_entry(known: _Known) -> Iterator[Cause]:
    yield from (_of(Question.NO_ENTRY, cause) for cause in _deactivated(known))
    yield from _barred(known)
    yield from _of_password(known)
    yield from _of_guess(known)
    yield from _of_factors(known)


def _barred(known: _Known) -> Iterator[Cause]:
    """Disabled, suspended, locked: codes are not heard, and texts not sent."""
    user, active = known.user, known.active
    if user.otp_disabled_at:
        yield _no_entry(
            Why.DISABLED,
            _("Codes by text message are disabled since %(time)s, after %(n)s wrong codes.")
            % {"time": moment(user.otp_disabled_at), "n": user.otp_failures},
            _("A code of the app or a recovery code leads in. Else unlock the account."),
        )
    if active and active.suspended_at:
        event = known.suspension
        yield _no_entry(
            Why.SUSPENDED,
            _("Staff suspended the number %(number)s at %(time)s: %(reason)s")
            % {
                "number": active.masked_number,
                "time": moment(active.suspended_at),
                "reason": staff_words.masked(event.reason, longest=8) if event else UNKNOWN,
            },
            _("A code of the app or a recovery code leads in. Else staff can end it."),
        )
    if user.locked_for(known.now) and user.otp_locked_until:
        yield _no_entry(
            Why.LOCKED,
            _("No code is accepted, and no text sent, until %(time)s, after %(n)s wrong codes.")
            % {"time": moment(user.otp_locked_until), "n": user.otp_failures},
            _unlock(),
        )


def _of_password(known: _Known) -> Iterator[Cause]:
    event = known.sign_in
    if not known.user.has_usable_password():
        yield _no_entry(
            Why.NO_PASSWORD,
            _("The account has no password."),
            _("An administrator can set one."),
        )
    if event is None or known.now - event.at >= LATELY:
        return
    if event.outcome == Grant.NOT_NOW and event.data.get("rule"):
        yield _password_limit(Question.NO_ENTRY, event, known.now)
    elif event.outcome == Grant.INVALID_GRANT:
        yield _no_entry(
            Why.WRONG_PASSWORD,
            _("At the last sign-in, %(time)s, the password was wrong.")
            % {"time": moment(event.at)},
            _("Let them reset the password."),
        )


def _password_limit(question: Question, event: AuditEvent, now: datetime) -> Cause:
    """What is known of it: the refused try. The counter itself tells no name."""
    words = _("Sign-in was refused at %(time)s, from %(ip)s: %(rule)s.") % {
        "time": moment(event.at),
        "ip": event.ip or UNKNOWN,
        "rule": staff_words.rule(event.data) or _("too many tries"),
    }
    return Cause(
        question,
        Why.PASSWORD_LIMIT,
        f"{words} {_again(event, now)}".strip(),
        _("The limit ends by itself. From another network they can sign in now."),
    )


def _of_guess(known: _Known) -> Iterator[Cause]:
    event = known.guess
    if event is None or known.now - event.at >= LATELY or not staff_words.is_refusal(event):
        return
    if event.outcome in {Outcome.LOCKED, Outcome.FACTOR_DISABLED} or any(_barred(known)):
        return  # that is said, while it holds
    details = "; ".join(staff_words.reasons(event))
    words = _("At the last try, %(time)s: %(said)s") % {
        "time": moment(event.at),
        "said": staff_words.decided(event),
    }
    yield _no_entry(
        Why.CODE_REFUSED,
        f"{words} ({details})." if details else f"{words}.",
        _("Only the newest code works, for ten minutes at most. Let them ask for another."),
    )


def _of_factors(known: _Known) -> Iterator[Cause]:
    active = known.active
    if known.user.is_staff and not (active or known.app):
        yield _no_entry(
            Why.SET_UP_FIRST,
            _("This is a member of staff without a second factor: the admin needs one."),
            _("Let them set one up after the password, as they are led to."),
        )
    if active and not known.app and not known.recovery_codes:
        yield _no_entry(
            Why.PHONE_ONLY,
            _(
                "The phone with the number %(number)s is the only way in: there is no "
                "authenticator app, and no recovery code is left."
            )
            % {"number": active.masked_number},
            _("If it is lost, only a revocation by staff leads in. Make sure who it is."),
        )
