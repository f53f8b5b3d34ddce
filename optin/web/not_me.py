"""The page behind the link of a mail about a change: "this was not me"."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_safe

from optin.messaging import wording
from optin.models import Notice
from optin.models.second_factors import overview
from optin.operations.not_me import Effect, disown, effect, subject_of
from optin.operations.verification import REPEATED_WITHIN
from optin.outcomes import SignInOutcome
from optin.runtime.redirects import SeeOther
from optin.web import sessions
from optin.web.forms import PasswordForm
from optin.web.pages import form_page, page, refused_password


@form_page
@sensitive_post_parameters("password")
def not_me(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the mailed link (P-14a): with the password it takes a change back."""
    now = timezone.now()
    notice = wording.disownable(token, now)
    if notice and notice.disowned_at and now < notice.disowned_at + REPEATED_WITHIN:
        if request.session.get("disowned", {}).get("notice") != notice.pk:
            request.session.pop("disowned", None)  # what became of another change
        return SeeOther("not-me-done")  # the second half of a double click
    if notice is None or notice.disowned_at:
        return page(request, "not_me_gone.html", status=404)
    form = PasswordForm(request.POST or None)
    context: dict[str, Any] = {
        "notice": notice,
        "effect": effect(notice),
        "subject": subject_of(notice),
        "is_removal": notice.kind in _REMOVALS,
    }
    if not form.is_valid():
        return page(request, "not_me.html", form, **context)
    result = disown(notice, form.cleaned_data["password"], origin=sessions.origin_of(request))
    if result.outcome is not SignInOutcome.SIGNED_IN:
        return refused_password(request, "not_me.html", form, result, **context)
    request.session.flush()
    notice.user.refresh_from_db()
    left, done, now_left = overview(notice.user), context["effect"], effect(notice)
    if now_left.takes_back:
        done = Effect.GONE  # it is there still: nothing was taken back
    elif now_left is Effect.TAKEN:
        done = now_left  # by somebody who was faster
    request.session["disowned"] = {
        "effect": done,
        "is_removal": context["is_removal"],
        "notice": notice.pk,
        "took_back": done.takes_back,
        "is_stuck": left.is_on and not done.takes_back,  # a thief would get the code
        "number": left.number.last_three if left.number else "",
        "app": bool(left.app),
        "passkeys": [one.name for one in left.passkeys],
    }
    return SeeOther("not-me-done")


_REMOVALS = {Notice.Kind.RELEASED, Notice.Kind.APP_REMOVED, Notice.Kind.PASSKEY_REMOVED}


@require_safe
def not_me_done(request: HttpRequest) -> HttpResponse:
    """Say what happened to the account. A double click loses the session, and the details."""
    return page(request, "not_me_done.html", **request.session.get("disowned", {}))
