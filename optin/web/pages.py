"""What the views share: who may see a page, how it is shown, where an accepted form leads."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from optin.errors import Deactivated, FactorNeeded, PasswordNeeded
from optin.sign_in import Grant, SignIn
from optin.web import words

View = Callable[..., HttpResponseBase]


class SeeOther(HttpResponseRedirect):
    """Where an accepted POST leads (S-60): a reload asks for that page, and sends nothing."""

    status_code = 303

    def __init__(self, to: str, *args: Any, then: str = "") -> None:
        address = resolve_url(to, *args)
        super().__init__(f"{address}?{urlencode({'next': then})}" if then else address)


def signed_in(view: View) -> View:
    """Let nobody see *view* who is not signed in; ask again for proofs that are too old."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return SeeOther("sign-in", then=request.path)
        try:
            return view(request, *args, **kwargs)
        except PasswordNeeded:
            return SeeOther("confirm", then=request.get_full_path())
        except FactorNeeded:
            return SeeOther("prove", then=request.get_full_path())
        except Deactivated:
            return SeeOther("sign-in")

    return guarded


def page(
    request: HttpRequest,
    template: str,
    form: BaseForm | None = None,
    *,
    status: int = 200,
    **context: Any,
) -> HttpResponse:
    """Show a page; 422 where its *form* was sent and refused."""
    if form is not None and form.errors and request.method == "POST":
        status = 422
    return render(request, template, {"form": form, **context}, status=status)


def refused_password(
    request: HttpRequest, template: str, form: BaseForm, result: SignIn, **context: Any
) -> HttpResponse:
    """Show *form* again after a password that did not do: the same for every reason."""
    if result.grant is not Grant.NOT_NOW or result.retry_after is None:
        form.add_error(None, _("The name or the password is not right. Check both and try again."))
        return page(request, template, form, **context)
    wait = result.retry_after
    form.add_error(
        None,
        _("Too many tries. You can try again in %(wait)s.") % {"wait": words.in_words(wait)},
    )
    response = page(request, template, form, **context)
    response.status_code = 429
    response["Retry-After"] = str(max(int(-(-wait.total_seconds() // 1)), 1))
    return response


def next_page(request: HttpRequest, otherwise: str) -> str:
    """Return the page of this host that the address asks to go on to, by ``next=``."""
    asked = request.GET.get("next", "")
    if url_has_allowed_host_and_scheme(asked, allowed_hosts=None) and asked.startswith("/"):
        return asked
    return resolve_url(otherwise)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form whose token is old: of a page from before a sign-in, in most cases.

    Nothing was done. Who is signed in meanwhile, in another tab, is led to where they are.
    """
    if request.path.startswith(resolve_url("sign-in")) and request.user.is_authenticated:
        return SeeOther(next_page(request, "account"))
    return render(request, "403_csrf.html", status=403)
