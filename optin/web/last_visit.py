"""What happened since the last visit that the person should know, on the account page (G-08).

That is wrong codes, sign-ins, right passwords without a code, applications that were allowed to
act, and texts that the person did not ask for. It leaves out what came from the network and browser
of this session. The last visit is the sign-in before this one. The session keeps its time, so no
page needs another query.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

from django.http import HttpRequest
from django.utils.translation import gettext as _

from optin.audit import repeats
from optin.conf import CLOCK_SLACK
from optin.models import AuditEvent, ProviderUser, Purpose
from optin.models.refusal_counts import SEVERAL
from optin.origin import browser, network_of
from optin.outcomes import CodeOutcome, SendOutcome, SignInOutcome, TokenOutcome
from optin.web import sessions
from optin.web.activity import Told, lines, place_of, told

Kind = AuditEvent.Kind

SHOWN = 5
"""Lines about the person at most, and one about others. The page of all activity has the rest."""

_LOOKED_AT = 500
"""Events about the number that are read, at most. Limits bound the texts to one number."""

_AT_CODES = {Kind.CHECK, Kind.VERIFY_OPT_IN, Kind.OPT_OUT}
_WRONG = {
    *(CodeOutcome.OTP_INCORRECT, CodeOutcome.OTP_EXPIRED, CodeOutcome.OTP_EXHAUSTED),
    *(CodeOutcome.LOCKED, CodeOutcome.FACTOR_DISABLED),
}
_SENT = {SendOutcome.SENT, SendOutcome.RESENT}


def since(
    request: HttpRequest, events: Sequence[AuditEvent], number: ProviderUser | None
) -> list[Told]:
    """Return what to tell, newest first; nothing on the first visit.

    :param events: about the person, newest first.
    :param number: the active one.
    """
    last = sessions.last_visit(request)
    if last is None:
        return []
    news = _not_from_here(request, events, last)
    # Right codes and consents come first: many texts must not push them out.
    first = [event for event in news if _is_right(event) or _is_consent(event)]
    found = lines(first, SHOWN)[0] + lines([e for e in news if e not in first], SHOWN)[0]
    found = found[:SHOWN]
    if number and number.verified_at and number.is_proved:
        found += _for_others(number, max(last, number.verified_at))
    return sorted(found, key=attrgetter("at"), reverse=True)


def _not_from_here(
    request: HttpRequest, events: Sequence[AuditEvent], last: datetime
) -> list[AuditEvent]:
    candidates = [event for event in events if _is_right(event) or _is_told(event)]
    each = repeats.spans(candidates)
    here = _here(request, candidates)
    found: list[AuditEvent] = []
    right_at: set[tuple[str, str]] = (
        set()
    )  # places of right codes and sign-ins newer than this event
    for event in candidates:
        place, span = place_of(event), each[event.pk]
        is_here = place in here and span.network != SEVERAL
        if _is_right(event):
            right_at.add(place)
            # The sign-in of the last visit too: it may have been somebody else's.
            is_due = _is_sign_in(event) and event.at >= last - CLOCK_SLACK
        else:
            # A text whose code was entered from the same place was asked for by that person.
            in_any_case = _is_wrong(event) or _is_consent(event)
            is_due = span.last_at > last and (in_any_case or place not in right_at)
        if is_due and not is_here:
            found.append(event)
    return found


def _here(request: HttpRequest, events: Sequence[AuditEvent]) -> set[tuple[str, str]]:
    """The place of this request, and that of the sign-in that began the session.

    They differ where a phone has changed its network since.
    """
    origin = sessions.origin_of(request)
    began = sessions.began_at(request)
    own = (event for event in events if _is_sign_in(event) and event.at <= began)
    return {
        (network_of(origin.ip, 24), browser(origin.user_agent)),
        *(place_of(event) for event in [next(own, None)] if event),
    }


def _is_right(event: AuditEvent) -> bool:
    """Whether it is a right code, or a sign-in without one."""
    is_code = event.kind in _AT_CODES and event.outcome == CodeOutcome.OK
    return is_code or _is_sign_in(event)


def _is_sign_in(event: AuditEvent) -> bool:
    if event.kind == Kind.CHECK:
        is_for_it = event.data.get("purpose") == Purpose.SIGN_IN
        return is_for_it and event.outcome == CodeOutcome.OK
    outcomes = {SignInOutcome.SIGNED_IN, TokenOutcome.ISSUED}
    return event.kind == Kind.SIGN_IN and event.outcome in outcomes


def _is_wrong(event: AuditEvent) -> bool:
    return event.kind in _AT_CODES and event.outcome in _WRONG


def _is_consent(event: AuditEvent) -> bool:
    return event.kind == Kind.CONSENT and event.outcome in {"ok", "signed_in"}


def _is_told(event: AuditEvent) -> bool:
    """Whether it is a wrong code, a consent, a text, or a right password alone."""
    is_text = event.kind in {Kind.OPT_IN, Kind.CHALLENGE} and event.outcome in _SENT
    is_password = (event.kind, event.outcome) == (Kind.SIGN_IN, SignInOutcome.CODE_REQUIRED)
    return _is_wrong(event) or _is_consent(event) or is_text or is_password


def _for_others(number: ProviderUser, after: datetime) -> list[Told]:
    """Say how many codes were texted to *number* for other accounts: not for whom, or from where.

    Those are not told to strangers (S-38), and another account may be an honest mistake.
    """
    events = AuditEvent.objects.led_by("number_digest", number.number_digest)[:_LOOKED_AT]
    texts = [
        event
        for event in events
        if event.kind == Kind.OPT_IN and event.outcome in _SENT
        if event.user_id != number.user_id and event.at > after
    ]
    if not texts:
        return []
    span = repeats.Span(len(texts), texts[-1].at, texts[0].at, "")
    what = _("Code sent to your number because another account asked for it")
    return [told(what, "", span)]
