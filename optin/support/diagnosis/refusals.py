"""What a rule refused: the last request for a text, or the last sign-in."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from optin import phones
from optin.causes import UNKNOWN, Cause, Question, Why
from optin.conf import conf
from optin.limits import Rule
from optin.models import AuditEvent
from optin.origin import Face
from optin.outcomes import WITHHELD, SendOutcome
from optin.support import wording
from optin.support.diagnosis.barriers import barred, controlled, programs_barred
from optin.support.diagnosis.explanations import EXPLAINED, no_text
from optin.support.diagnosis.facts import Known
from optin.support.wording import moment


def find_refusal(request: AuditEvent, known: Known) -> Cause | None:
    """Name the rule that refused the last request for a text, if one did."""
    if not wording.is_refusal(request):
        return None
    name = wording.rule_name(request.data)
    rule = wording.RULES.get(name)
    if rule is None or rule.why is None:
        return None
    why = rule.why
    if name == Rule.RESEND_WAIT and not is_told(request):
        why = Why.OTHERS_ASKED
    advice = EXPLAINED[why].staff
    to = f" to the number {phones.mask(request.last_three)}" if request.last_three else ""
    came_to = "refused" if is_told(request) else "withheld, but they were told that it was sent"
    words = f"A text{to} was asked for at {moment(request.at)}, and {came_to}:"
    stands = [cause for cause in (*controlled(known), *bars_of(request, known)) if cause.why is why]
    because = [cause.words for cause in stands] or [_because(name, request)]
    over = _is_over(request, name, known.now, stands=bool(stands))
    again = _when_again(request, known.now)
    if rule.stands:
        again = "This is over." if over else ""
    if over:
        advice = "Tell them to ask once now."
    elif stands:
        advice = stands[0].advice
    return no_text(why, " ".join(filter(None, [words, *because, again])), advice)


def bars_of(event: AuditEvent, known: Known) -> Iterator[Cause]:
    """What wrong codes and staff bar now, of what *event* asked for."""
    yield from barred(known)
    if event.face == Face.API:
        yield from programs_barred(known)


JUST_OVER = timedelta(minutes=15)
"""How long a limit that is over is still worth a word: who calls may have met it."""


def find_earlier(known: Known) -> Iterator[Cause]:
    """Name limits that refused a text before the last request was refused, and hold or held."""
    for request in known.refused_before:
        until = wording.again_at(request)
        if until and until > known.now - JUST_OVER and (cause := find_refusal(request, known)):
            yield cause


def is_told(request: AuditEvent) -> bool:
    """Whether the person knows that it was refused."""
    return request.outcome != WITHHELD


def _because(name: str, request: AuditEvent) -> str:
    counted = wording.rule(request.data)
    if name == SendOutcome.REGION_NOT_ALLOWED:
        return f"{counted}. Only numbers of {', '.join(conf.sms_regions)} work here."
    means = wording.RULES[name].means
    return f"{means} ({counted})." if means else f"{counted}."


def _is_over(request: AuditEvent, name: str, now: datetime, *, stands: bool) -> bool:
    """Whether what refused would let the same request through by now."""
    if wording.RULES[name].stands:
        return not stands
    until = wording.again_at(request)
    waits = name == Rule.RESEND_WAIT and is_told(request)
    return until is not None and until <= now and not waits


def _when_again(event: AuditEvent, now: datetime) -> str:
    until = wording.again_at(event)
    if until is None:
        return ""
    if until <= now:
        return f"This ended at {moment(until)}."
    return f"Trying again works from {moment(until)}."


def password_limit(question: Question, event: AuditEvent, now: datetime) -> Cause:
    """The refused try. The counter itself tells no name."""
    rule = wording.rule(event.data) or "too many tries"
    place = "several networks" if "networks" in event.data else event.ip or UNKNOWN
    words = f"Sign-in was refused at {moment(event.at)}, from {place}: {rule}."
    until = wording.again_at(event)
    if until is not None and until <= now:
        advice = "Tell them to try once now."
    else:
        advice = (
            "Nobody here can lift it; it ends by itself. From another network they can sign in now."
        )
    return Cause(
        question,
        Why.PASSWORD_LIMIT,
        f"{words} {_when_again(event, now)}".strip(),
        f"{advice} {EXPLAINED[Why.PASSWORD_LIMIT].staff}",
    )
