"""Why one event came to what it did: what a reference leads to (G-07)."""

from optin.models import AuditEvent
from optin.outcomes import WITHHELD, CodeOutcome, SignInOutcome
from optin.support import wording
from optin.support.diagnosis.barriers import barred
from optin.support.diagnosis.causes import Cause, Question, Why
from optin.support.diagnosis.facts import Kind, Known
from optin.support.diagnosis.last_text import what_became
from optin.support.diagnosis.refusals import find_refusal, password_limit
from optin.support.diagnosis.why_no_access import of_refused
from optin.support.diagnosis.why_no_sign_in import code_refused, wrong_password


def explain(event: AuditEvent, known: Known) -> Cause | None:
    """Return the cause, and what helps now; None if nothing is known to be wrong.

    :param known: what is true now of the account that *event* is about.
    """
    if event.kind in {Kind.OPT_IN, Kind.CHALLENGE}:
        return _of_text(event, known)
    if not wording.is_refusal(event):
        return None
    if event.kind == Kind.ACCESS:
        return of_refused(event, known)
    if event.kind in {Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT}:
        return _of_code(event, known)
    if event.kind == Kind.SIGN_IN:
        if event.outcome == SignInOutcome.NOT_NOW:
            return password_limit(Question.NO_ENTRY, event, known.now)
        if event.outcome == SignInOutcome.INVALID_GRANT:
            return wrong_password(event)
    return None


def _of_text(event: AuditEvent, known: Known) -> Cause | None:
    if wording.is_refusal(event) or event.outcome == WITHHELD:
        return find_refusal(event, known)
    is_last = known.text is not None and known.text.pk == event.data.get("message")
    return next(what_became(known), None) if is_last else None


def _of_code(event: AuditEvent, known: Known) -> Cause:
    why = {CodeOutcome.LOCKED: Why.LOCKED, CodeOutcome.FACTOR_DISABLED: Why.DISABLED}
    wanted = {why.get(CodeOutcome(event.outcome)), Why.SUSPENDED}
    if event.outcome in why:
        for cause in barred(known):
            if cause.why in wanted:
                return cause
    return code_refused(event)
