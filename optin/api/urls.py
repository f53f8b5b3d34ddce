"""Addresses of the calls: matched without regard to case, with or without a last slash."""

from django.urls import URLPattern, URLResolver, re_path

from optin.api import oauth, receipts
from optin.api.endpoints import EndpointsView, EndpointView, SecretView
from optin.api.events import EventsView
from optin.api.sandbox import SandboxTextsView
from optin.api.tokens import RefreshView, TokenView
from optin.api.views import NotFound, OptInView, OptOutView, PingView, VerifyView


def any_case(path: str) -> str:
    """Return a pattern for *path* in any case.

    Not ``(?i)``: with that, no ``reverse()`` works. The given case stands first, so it
    is the one that ``reverse()`` writes.
    """
    return "".join(f"[{char}{char.swapcase()}]" if char.isalpha() else char for char in path)


urlpatterns: list[URLPattern | URLResolver] = [
    re_path(rf"^{any_case(address)}/?$", view.as_view(), name=name)
    for address, view, name in [
        ("User/verify-2fa-opt-in", VerifyView, "verify"),
        ("User/opt-in-to-2fa", OptInView, "opt-in"),
        ("User/opt-out-from-2fa", OptOutView, "opt-out"),
        ("authorisation/token", TokenView, "token"),
        ("authorisation/token-2fa", TokenView, "token-2fa"),
        ("authorisation/refresh", RefreshView, "refresh"),
        ("authorisation/ping", PingView, "ping"),
        ("events", EventsView, "events"),
        ("endpoints", EndpointsView, "endpoints"),
        ("sandbox/texts", SandboxTextsView, "sandbox-texts"),
    ]
]
_ONE = rf"^{any_case('endpoints')}/(?P<pk>[^/]+)"
urlpatterns += [
    re_path(rf"{_ONE}/?$", EndpointView.as_view(), name="endpoint"),
    re_path(rf"{_ONE}/{any_case('secret')}/?$", SecretView.as_view(), name="endpoint-secret"),
    *(
        re_path(rf"^{any_case(beginning)}/", NotFound.as_view())
        for beginning in ("User", "authorisation", "events", "endpoints")
    ),
    *oauth.urlpatterns,
    *receipts.urlpatterns,
]
