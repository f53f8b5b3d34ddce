"""All addresses of the service."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path

from optin import admin
from optin.api import oauth
from optin.api.views import not_found_beside
from optin.web import consent, openid, views


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Any address that is no other: for staff, a page in the frame of theirs."""
    page = views.not_found(request, exception)
    return admin.site.not_found(request) or page


OAUTH = [*oauth.ENDPOINTS, *consent.ENDPOINTS]
if settings.OPENID_KEYS:
    OAUTH += [*oauth.OPENID_ENDPOINTS, *openid.ENDPOINTS]

urlpatterns = [
    path("", include("optin.api.urls")),
    path("", include("optin.api.help")),
    path("", include("optin.api.schema")),
    path("", include("optin.web.urls")),
    # One name space for both faces: the toolkit looks its endpoints up in it.
    path("o/", include((OAUTH, "oauth2_provider"))),
    *(oauth.openid_urlpatterns if settings.OPENID_KEYS else []),
    path("admin/", admin.site.urls),
    re_path("", not_found_beside(not_found)),
]

handler400 = "optin.web.views.bad_request"
handler403 = "optin.web.views.denied"
handler404 = "twofa_site.urls.not_found"
handler500 = "optin.web.views.server_error"
