"""What became of the last text."""

from collections.abc import Callable, Iterator
from datetime import datetime

from optin import phones
from optin.causes import UNKNOWN, Cause, Why
from optin.gateways import Fate
from optin.models import SmsMessage
from optin.models.messages import LEASE, State, Unsent
from optin.outcomes import CodeOutcome
from optin.support import messages, wording
from optin.support.diagnosis.barriers import all_stopped, answered_stop, tripped
from optin.support.diagnosis.explanations import no_text
from optin.support.diagnosis.facts import Known
from optin.support.wording import moment


def what_became(known: Known) -> Iterator[Cause]:
    text, request = known.text, known.request
    told = request.data.get("message", 0) if request else 0
    if text is None or text.pending_otp is None or text.pk < told:
        if told and request:
            yield no_text(
                Why.FORGOTTEN,
                f"A text left for a number {phones.mask(request.last_three)} at "
                f"{moment(request.at)}. What became of it is not kept any more.",
                "Let them ask again while you look at this page.",
            )
        return
    if verified := _verified(text):
        if request is None or not wording.is_refusal(request):
            yield verified  # else they wait for one that was refused since
        return
    if came := _entered_too_late(known, text):
        yield came
        return
    yield from _BECAME[State(text.state)](known, text)


def _waiting(known: Known, text: SmsMessage) -> Iterator[Cause]:
    """It was queued, or a process holds it, or held it when it died."""
    at = moment(text.created_at)
    if text.reason == Unsent.ALL_STOPPED:
        yield all_stopped()
    elif known.tries and known.tries[0].fate != Fate.ACCEPTED:
        yield _down(known, text)
    elif text.reason == Unsent.NO_GATEWAY:
        yield _down(known, text) if known.health else _no_gateway(text)
    elif text.state == State.QUEUED or _is_left(text, known.now):
        yield no_text(
            Why.NOT_TAKEN_UP,
            f"The text of {at} waits: no process has sent it.",
        )
    else:
        yield no_text(
            Why.NOT_CONFIRMED,
            f"The text of {at} is being sent at this moment.",
            "Open this page again in a minute.",
        )


def _is_left(text: SmsMessage, now: datetime) -> bool:
    return text.claimed_at is not None and text.claimed_at <= now - LEASE


def _sent(known: Known, text: SmsMessage) -> Iterator[Cause]:
    yield from _mistyped(known, text)
    yield no_text(
        Why.NOT_CONFIRMED,
        f"The gateway {text.gateway} took the text for the number "
        f"{text.provider_user.masked_number} at {moment(text.sent_at or text.created_at)}. The "
        "carrier has not confirmed it.",
        "Ask whether the phone is on and has coverage. Texts can take minutes; then let them ask "
        "again.",
    )


def _delivered(known: Known, text: SmsMessage) -> Iterator[Cause]:
    yield from _mistyped(known, text)
    yield no_text(
        Why.ARRIVED,
        f"The text was delivered to the number {text.provider_user.masked_number} at "
        f"{moment(text.delivered_at or text.created_at)}.",
        "Tell them to look among blocked and unknown senders, on the phone with that number.",
    )


def _verified(text: SmsMessage) -> Cause | None:
    code = text.pending_otp
    if code is None or code.closed_at is None or code.closed_as != code.Closed.VERIFIED:
        return None
    return no_text(
        Why.ARRIVED,
        f"The last text arrived: its code was entered at {moment(code.closed_at)}.",
        "No newer code was asked for. Let them ask for one now, while you look.",
    )


def _entered_too_late(known: Known, text: SmsMessage) -> Cause | None:
    """Say that the text came, if a code was entered after it had expired."""
    entered = known.attempt
    if entered is None or text.sent_at is None or entered.outcome != CodeOutcome.OTP_EXPIRED:
        return None
    if "why" in entered.data or entered.at < text.sent_at:  # "why": it was another reason
        return None
    return no_text(
        Why.ARRIVED,
        f"The text of {moment(text.sent_at)} has probably arrived: a code was entered at "
        f"{moment(entered.at)}, when it had expired.",
        "Tell them to ask for a new code, and to enter it at once.",
    )


def _mistyped(known: Known, text: SmsMessage, *, came: bool = True) -> Iterator[Cause]:
    """Nobody has shown that the number is theirs: it may be a stranger's.

    :param came: whether the text may be on a phone.
    """
    number = text.provider_user
    if number.is_proved:
        return
    taken_over = number.taken_over_at is not None
    advice = "tell them to go back and enter it again"
    if taken_over:
        advice = "it came wrong from the old system: remove their second factors"
    others = [row.masked_number for row in known.numbers if row.is_proved]
    words = (
        f"The number may be mistyped: the text of {moment(text.sent_at or text.created_at)} was "
        f"for {number.masked_number}, which nobody has verified{' here' * taken_over}."
    )
    if others:
        words += f" Verified for this account: {', '.join(others)}."
    if (proposed := known.proposed) and proposed.last_three != number.last_three:
        source = proposed.get_source_display()
        words += f" The number that {source} proposed is different: {proposed.masked_number}."
    yield no_text(
        Why.NUMBER_MISTYPED,
        words,
        f"Ask how their number ends. If it is not {number.masked_number}, {advice}"
        f"{'; a stranger may have the text' if came else ''}.",
    )


def _failed(known: Known, text: SmsMessage) -> Iterator[Cause]:
    last = known.tries[0] if known.tries else None
    gateway = text.gateway or (last.gateway if last else "")
    number = text.provider_user.masked_number
    at = moment(text.sent_at or text.claimed_at or text.created_at)
    reason = messages.why(text.reason)
    if text.carrier_refused:
        yield no_text(
            Why.CARRIER_REFUSED,
            f"The gateway {gateway} took the text for the number {number} at {at}; then the "
            f"carrier refused it: {reason}.",
            "Ask how their number ends: is it this one? If so, is the phone on, can it get texts, "
            "does it block senders? Then let them ask again.",
        )
        yield from _mistyped(known, text, came=False)
    elif text.reason == Unsent.OPTED_OUT or (last and last.fate == Fate.OPTED_OUT):
        yield answered_stop(known, number)
    elif last and last.fate == Fate.REFUSED:
        yield no_text(
            Why.GATEWAY_REFUSED,
            f"The gateway {gateway} refused the text for the number {number} at {at}: {reason}.",
            "Ask how their number ends. If it is another one, tell them to enter it again. If it "
            "is this one, tell the operators.",
        )
        yield from _mistyped(known, text, came=False)
    elif last or text.reason == Unsent.TOO_OLD:
        yield _down(known, text)
    else:
        yield no_text(
            Why.NOT_TAKEN_UP,
            f"The text of {at} was given up: {reason}.",
        )


def _expired(known: Known, text: SmsMessage) -> Iterator[Cause]:
    yield no_text(
        Why.EXPIRED_UNSENT,
        f"The text of {moment(text.created_at)} was not sent in time: {messages.why(text.reason)}.",
        "Tell them to ask again now. If it happens often, tell the operators.",
    )
    if known.tries:
        yield _down(known, text)


_BECAME: dict[State, Callable[[Known, SmsMessage], Iterator[Cause]]] = {
    State.QUEUED: _waiting,
    State.SENDING: _waiting,
    State.SENT: _sent,
    State.DELIVERED: _delivered,
    State.FAILED: _failed,
    State.EXPIRED: _expired,
    State.WITHHELD: lambda known, text: iter(()),  # the request says it
}


def _down(known: Known, text: SmsMessage) -> Cause:
    """No gateway could be reached, or none answered."""
    failed = list(dict.fromkeys(made.gateway for made in known.tries)) or [
        one.gateway for one in known.health
    ]
    said = messages.why(known.tries[0].reason if known.tries else text.reason)
    words = (
        f"No gateway has taken the text of {moment(text.created_at)}: it is down or fails. "
        f"Tried: {', '.join(failed) or UNKNOWN}; the last one said: {said}."
    )
    left_alone = [one for one in known.health if one.gateway in failed]
    return no_text(
        Why.GATEWAY_DOWN,
        " ".join([words, *map(tripped, left_alone)]),
        "Tell the operators: it is so for everybody. Tell the person that it is not "
        "their phone; the text goes by itself once the gateway works, while its code does.",
    )


def _no_gateway(text: SmsMessage) -> Cause:
    return no_text(
        Why.NO_GATEWAY,
        f"The text of {moment(text.created_at)} waits: no gateway serves its number.",
        "Tell the operators. Tell the person that it is not their phone.",
    )
