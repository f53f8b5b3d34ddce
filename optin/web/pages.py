"""What the views share: who may see a page, how it is shown, where an accepted form leads."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods
from oauth2_provider.models import get_application_model

from optin.errors import Deactivated, FactorNeeded, PasswordNeeded, SignedOut
from optin.models import EmailChange, Revocation, User
from optin.models.second_factors import overview
from optin.operations.factors import Standing
from optin.operations.passwords import Attempt
from optin.operations.sign_in import SignIn
from optin.outcomes import SignInOutcome, whole_seconds
from optin.runtime.redirects import SeeOther, local
from optin.web import sessions, words

View = Callable[..., HttpResponseBase]

form_page = require_http_methods(["GET", "HEAD", "POST"])


def open_to_all(view: View) -> View:
    """Let everybody see *view*; whose session was ended meanwhile may sign in again."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except (Deactivated, SignedOut, UpdateError):
            # Save nothing of it: perhaps it is gone.
            request.session = type(request.session)(request.session.session_key)
            return SeeOther("sign-in", then=request.get_full_path(), ended=1)

    return guarded


def signed_in(view: View) -> View:
    """Let nobody see *view* who is not signed in; ask again for proofs that are too old."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        here = request.get_full_path()
        if not request.user.is_authenticated:
            # In the address, as a stranger has no session.
            ended = {"ended": 1} if _has_ended(request) else {}
            return SeeOther("sign-in", then=here, **ended)
        try:
            return view(request, *args, **kwargs)
        except PasswordNeeded:
            return SeeOther("confirm", then=here)
        except FactorNeeded:
            return SeeOther("prove", then=here)

    return open_to_all(guarded)


def _has_ended(request: HttpRequest) -> bool:
    """Whether the cookie names a session that is gone; not after somebody signed out."""
    has_cookie = bool(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    return has_cookie and request.session.session_key is None


def demand(request: HttpRequest, standing: Standing | None = None) -> User:
    """Return who is signed in, if they have proved lately that it is them, by a factor too.

    Each operation asks again, under its lock.

    :param standing: what counts of that of the session, if not all of it.
    """
    user, standing = sessions.user_of(request), standing or sessions.standing(request)
    standing.demand(timezone.now(), overview(user))
    return user


def page(
    request: HttpRequest,
    template: str,
    form: BaseForm | None = None,
    *,
    status: int | None = None,
    focus: str = "",
    **context: Any,
) -> HttpResponse:
    """Show a page; 422 where its *form* was sent and refused, unless *status* says more.

    :param focus: the field that is the one task of the page. What is wrong comes before it.
    """
    refused = form is not None and form.errors and request.method == "POST"
    if form is not None and form.errors and _is_mistyped(request, form):
        context.setdefault("request_id", "")  # support has nothing to look up
    if form is not None and focus and not form.errors:
        form.fields[focus].widget.attrs["autofocus"] = True
    status = status or (422 if refused else 200)
    then = on_to(request)
    on_the_way = f"?{urlencode({'next': then})}" if then else ""
    context = {"form": form, "on_the_way": on_the_way, "program": _program(then), **context}
    return render(request, template, context, status=status)


def _program(then: str) -> str:
    """Return the name of the application whose request the address *then* is, or "".

    Anybody can make such an address, so it must name one of the application's own redirect URIs.
    """
    address = urlsplit(then)
    if address.path != reverse("oauth2_provider:authorize"):
        return ""
    asked = parse_qs(address.query)
    client_id, redirect_uri = (asked.get(name, [""])[0] for name in ("client_id", "redirect_uri"))
    if not client_id.isprintable():
        return ""  # the database takes no NUL
    found = get_application_model().objects.filter(client_id=client_id).first()
    is_its_own = found is not None and redirect_uri in found.redirect_uris.split()
    return str(found.name) if is_its_own else ""


def _is_mistyped(request: HttpRequest, form: BaseForm) -> bool:
    """Whether *form* was refused for what its fields hold, before anything was decided.

    Then some error has the code of a validation. What a view adds after a decision has none, and
    what a code page left in the session has a request id.
    """
    if request.method != "POST":
        return "request_id" not in request.session
    return any(error.code for errors in form.errors.as_data().values() for error in errors)


def refused_password(
    request: HttpRequest, template: str, form: BaseForm, result: Attempt | SignIn, **context: Any
) -> HttpResponse:
    """Show *form* again after a password that did not do: the same for every reason."""
    by_name = "username" in form.fields
    if result.outcome is not SignInOutcome.NOT_NOW or result.retry_after is None:
        if by_name:
            form.add_error(
                None, _("The user name, email address or password isn't right. Try again.")
            )
        else:
            form.add_error("password", _("That password isn't right. Check it and try again."))
        return page(request, template, form, **context)
    wait = result.retry_after
    form.add_error(
        None, _("Too many tries. You can try again in %(wait)s.") % {"wait": words.in_words(wait)}
    )
    response = page(request, template, form, status=429, **context)
    response["Retry-After"] = str(whole_seconds(wait))
    return response


def linked(
    request: HttpRequest,
    template: str,
    found: EmailChange | Revocation | None,
    *,
    newer: Callable[[User], object],
    cancel: Callable[..., object],
) -> HttpResponse:
    """The page behind a link about what waits: a GET asks, a POST cancels it.

    Used, or too late, it says what became of it, and what to do; or that another one waits,
    which this link does not reach.

    :param newer: returns what waits for a person now.
    """
    if found is None:
        return page(request, template, status=404)
    if request.method != "POST":
        waits = None if found.is_open else newer(found.user)
        return page(request, template, found=found, newer=waits)
    if found.is_open:
        cancel(found, origin=sessions.origin_of(request))
    return SeeOther(request.path)


def on_to(request: HttpRequest) -> str:
    """Return the page of this host that the address asks to go on to, by ``next=``, if any."""
    return local(request.GET.get("next", ""))


def next_page(request: HttpRequest, otherwise: str) -> str:
    """``on_to``, or another page where the address names none."""
    return on_to(request) or resolve_url(otherwise)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form whose token is old: of a page from before a sign-in, in most cases.

    Nothing was done. Who is signed in meanwhile, in another tab, is led to where they are.
    """
    if request.path.startswith(resolve_url("sign-in")) and request.user.is_authenticated:
        return SeeOther(next_page(request, "account"))
    return render(request, "403_csrf.html", status=403)
