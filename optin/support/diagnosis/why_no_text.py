"""Why no text came, the most likely cause first."""

from collections.abc import Iterator

from optin import limits
from optin.causes import Cause, Question, Why
from optin.models import AuditEvent
from optin.outcomes import SendOutcome, SignInOutcome
from optin.support.diagnosis.barriers import in_force
from optin.support.diagnosis.explanations import no_text
from optin.support.diagnosis.facts import LATELY, Known, is_later
from optin.support.diagnosis.last_text import what_became
from optin.support.diagnosis.refusals import find_earlier, find_refusal, is_told, password_limit
from optin.support.wording import moment


def of_texts(known: Known) -> Iterator[Cause]:
    request, barriers = known.request, list(in_force(known))
    if instead := _another_instead(known):
        yield from [instead, *barriers]  # older texts do not matter then
        return
    yield from _password_first(known)
    if not barriers:
        yield from _not_asked(known)
    refused = find_refusal(request, known) if request else None
    became = list(what_became(known))
    # A reason that refuses the next text matters more than doubts about the last one.
    doubtful = [cause for cause in became if cause.why in _DOUBTFUL]
    if barriers:
        # To wait, or to ask again, would be no help.
        doubtful = [cause for cause in doubtful if cause.why is Why.NUMBER_MISTYPED]
    certain = [cause for cause in became if cause.why not in _DOUBTFUL]
    refusals = [refused, *find_earlier(known)]
    order = [*refusals, *certain, *barriers, *doubtful]
    waits = request and (
        request.outcome == SendOutcome.WAITING
        or request.data.get("rule") == limits.Rule.RESEND_WAIT
    )
    if request and waits and is_told(request):
        # A text left a moment ago: what became of that one is the question.
        order = [*certain, *doubtful, *refusals, *barriers]
    yield from filter(None, order)


_DOUBTFUL = {Why.NUMBER_MISTYPED, Why.NOT_CONFIRMED, Why.ARRIVED, Why.FORGOTTEN}


def _sign_in_since(known: Known) -> AuditEvent | None:
    """The last sign-in, if no text was asked for after it."""
    request, sign_in = known.request, known.sign_in
    return sign_in if sign_in and (request is None or is_later(sign_in, request)) else None


def _another_instead(known: Known) -> Cause | None:
    """The person has a factor that is asked for first."""
    sign_in = _sign_in_since(known)
    if not (sign_in and sign_in.outcome == SignInOutcome.CODE_REQUIRED):
        return None
    if known.factors.usable_passkeys:
        button = "The page has a button that sends a text instead." if known.factors.number else ""
        return no_text(
            Why.PASSKEY_INSTEAD,
            f"At the last sign-in, {moment(sign_in.at)}, no text was sent: this account has a "
            "passkey, and the page asks for that first.",
            f"Tell them to use the passkey. {button}".strip(),
        )
    if not known.factors.app:
        return None
    return no_text(
        Why.APP_INSTEAD,
        f"At the last sign-in, {moment(sign_in.at)}, no text was sent: this account has an "
        "authenticator app, whose code is asked for.",
        "Tell them to enter the code of the app. The page that asks for it has a button "
        "that sends a text instead.",
    )


def _password_first(known: Known) -> Iterator[Cause]:
    """The password was refused, so nothing was asked for."""
    if sign_in := _sign_in_since(known):
        at = moment(sign_in.at)
        if sign_in.outcome == SignInOutcome.INVALID_GRANT:
            yield no_text(
                Why.WRONG_PASSWORD,
                f"At the last sign-in, {at}, the password was wrong: no text is sent then.",
            )
        elif sign_in.outcome == SignInOutcome.NOT_NOW:
            yield password_limit(Question.NO_TEXT, sign_in, known.now)


def _not_asked(known: Known) -> Iterator[Cause]:
    """Nothing was asked for at all, or nothing lately."""
    request, proposed = known.request, known.proposed
    if request and known.now - request.at < LATELY:
        return
    if proposed and not known.factors.is_on:
        number = proposed.masked_number
        yield no_text(
            Why.NOTHING_ASKED,
            f"Two-factor is off. No text comes at sign-in. The number {number} is only proposed.",
            f"Tell them to sign in, press “Turn it on” and send the code to {number}.",
        )
    elif request is None:
        yield no_text(Why.NOTHING_ASKED, "No text was ever asked for with this account.")
    else:
        words = f"No text was asked for since {moment(request.at)} with this account."
        yield no_text(Why.NOTHING_ASKED, words)
