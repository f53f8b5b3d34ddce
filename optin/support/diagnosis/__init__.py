"""Why no text came, why somebody cannot opt in or sign in: the likely causes in words (P-21).

``Known`` reads each fact of one account once, by one query, and pure functions find the causes in
it. What staff can do about a cause is in ``operations``; the page that shows the causes is in
``admin``.
"""

from collections.abc import Iterable
from datetime import datetime

from optin.causes import Cause, Question, Why
from optin.models import User
from optin.support.diagnosis.barriers import deactivated, programs_barred, resting
from optin.support.diagnosis.explanations import EXPLAINED
from optin.support.diagnosis.facts import Known
from optin.support.diagnosis.one_event import explain
from optin.support.diagnosis.why_no_access import of_access
from optin.support.diagnosis.why_no_sign_in import of_entry, of_opt_in, of_removal
from optin.support.diagnosis.why_no_text import of_texts

__all__ = [
    "EXPLAINED",
    "Cause",
    "Known",
    "Question",
    "Why",
    "causes_of",
    "diagnose",
    "explain",
]


def diagnose(user: User, now: datetime) -> list[Cause]:
    """Return the causes for each question, the most likely first, with *user* read anew."""
    return causes_of(Known(User.objects.select_related("proposed").get(pk=user.pk), now))


def causes_of(known: Known) -> list[Cause]:
    """Return the causes for each question that *known* has, the most likely first."""
    if not known.user.is_active:
        # Earlier causes would only mislead.
        return [deactivated(question, known) for question in (Question.NO_TEXT, Question.NO_ENTRY)]
    no_text = _unlike([*of_texts(known), *resting(known)])
    no_opt_in = _unlike(of_opt_in(known))
    no_entry = _unlike(of_entry(known))
    no_access = [*programs_barred(known), *of_access(known)]
    return [*of_removal(known), *no_text, *no_opt_in, *no_access, *no_entry]


def _unlike(causes: Iterable[Cause]) -> list[Cause]:
    """Leave out what was said already."""
    first: dict[Why, Cause] = {}
    for cause in causes:
        first.setdefault(cause.why, cause)
    return list(first.values())
