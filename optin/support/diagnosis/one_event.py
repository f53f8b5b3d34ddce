"""Why one event came to what it did: what a request id leads to (G-07)."""

from optin import phones
from optin.causes import Cause, Question, Why
from optin.models import AuditEvent
from optin.outcomes import WITHHELD, CodeOutcome, SignInOutcome, TokenOutcome
from optin.support import wording
from optin.support.diagnosis.barriers import deactivated
from optin.support.diagnosis.explanations import no_text
from optin.support.diagnosis.facts import Kind, Known
from optin.support.diagnosis.last_text import what_became
from optin.support.diagnosis.refusals import bars_of, find_refusal, password_limit
from optin.support.diagnosis.why_no_access import of_refused
from optin.support.diagnosis.why_no_sign_in import code_refused, token_ended, wrong_password
from optin.support.wording import moment


def explain(event: AuditEvent, known: Known) -> Cause | None:
    """Return the cause, and what helps now; None if nothing is known to be wrong.

    :param known: what is true now of the account that *event* is about.
    """
    if event.kind in {Kind.OPT_IN, Kind.CHALLENGE}:
        return _of_text(event, known)
    if not wording.is_refusal(event):
        return None
    if event.kind in {Kind.SIGN_IN, Kind.PASSWORD, Kind.DISOWN}:
        return _of_password(event, known)
    if event.kind == Kind.ACCESS:
        return of_refused(event, known)
    if event.kind in {Kind.REFRESH, Kind.TOKEN}:
        return _of_token(event, known)
    if event.kind in _OF_CODES or event.outcome in _BARS:
        return _of_code(event, known)
    return None


_OF_CODES = {Kind.VERIFY_OPT_IN, Kind.CHECK, Kind.OPT_OUT, Kind.PASSKEY}

_BARS = {CodeOutcome.LOCKED, CodeOutcome.FACTOR_DISABLED, CodeOutcome.OTP_INCORRECT}
"""Outcomes for which a change of a factor or of the email address is refused, like a code."""


def _of_text(event: AuditEvent, known: Known) -> Cause | None:
    if wording.is_refusal(event) or event.outcome == WITHHELD:
        return find_refusal(event, known)
    if known.text is None or known.text.pk <= event.data.get("message", 0):
        return next(what_became(known), None)
    number = phones.mask(event.last_three)
    return no_text(
        Why.FORGOTTEN,
        f"A text for the number {number} was asked for at {moment(event.at)}, and another one "
        "since.",
        "Only the code of the newest text works. See “What may be wrong” for what became of "
        "that one.",
    )


def _of_code(event: AuditEvent, known: Known) -> Cause:
    if event.outcome == CodeOutcome.LOCKED:
        return _stands(event, known, Why.LOCKED) or code_refused(event, known)
    if event.outcome == CodeOutcome.FACTOR_DISABLED:
        bars = Why.SIM_SWAPPED, Why.DISABLED, Why.SUSPENDED
        return _stands(event, known, *bars) or code_refused(event, known)
    return code_refused(event, known)


def _of_token(event: AuditEvent, known: Known) -> Cause | None:
    if not known.user.is_active:
        return deactivated(Question.NO_ENTRY, known)
    # Others are faults of the application, such as a scope that the person did not allow.
    return token_ended(event) if event.outcome == TokenOutcome.INVALID_REFRESH else None


def _of_password(event: AuditEvent, known: Known) -> Cause | None:
    if not known.user.is_active:
        return deactivated(Question.NO_ENTRY, known)
    if event.outcome == SignInOutcome.INVALID_GRANT:
        return wrong_password(event)
    if event.outcome != SignInOutcome.NOT_NOW:
        return None
    if wording.rule_name(event.data):
        return password_limit(Question.NO_ENTRY, event, known.now)
    # The password was right, and the app's codes are locked.
    return _stands(event, known, Why.LOCKED) or code_refused(event, known)


def _stands(event: AuditEvent, known: Known, *wanted: Why) -> Cause | None:
    """Return what bars now what *event* asked for, if it is one of *wanted*."""
    return next((cause for cause in bars_of(event, known) if cause.why in wanted), None)
