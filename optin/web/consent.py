"""The page on which a person lets an application act for them (RFC 6749, 4.1; PKCE)."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from oauth2_provider import views

from optin import sign_in
from optin.web import sessions
from optin.web.pages import SeeOther


class Authorize(views.AuthorizationView):
    """The toolkit's page, for somebody who is signed in, second factor included."""

    template_name = "consent.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not request.user.is_authenticated:
            return SeeOther("sign-in", then=request.get_full_path())
        response = super().dispatch(request, *args, **kwargs)
        if request.method == "POST" and response.status_code == 302:
            response.status_code = 303
        return _allow_redirect(request, response)

    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        user: Any = self.request.user
        sign_in.record_consent(
            user,
            client_id=form.cleaned_data["client_id"],
            allowed=bool(form.cleaned_data["allow"]),
            origin=sessions.origin_of(self.request),
        )
        return response


def _allow_redirect(request: HttpRequest, response: Any) -> Any:
    """Let the form lead to the client: browsers hold its redirect against ``form-action`` too."""
    uri = urlsplit(request.GET.get("redirect_uri", ""))
    if response.status_code == 200 and uri.scheme == "https" and uri.netloc:
        policy = {**settings.SECURE_CSP, "form-action": ["'self'", f"https://{uri.netloc}"]}
        response["Content-Security-Policy"] = "; ".join(
            f"{name} {' '.join(sources)}" for name, sources in policy.items()
        )
    return response


ENDPOINTS = [path("authorize/", Authorize.as_view(), name="authorize")]
