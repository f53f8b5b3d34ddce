"""All addresses of the service."""

from django.urls import include, path, re_path

from optin.web import views

urlpatterns = [
    path("", include("optin.api.urls")),
    path("", include("optin.api.help")),
    path("", include("optin.api.schema")),
    path("", include("optin.web.urls")),
    re_path("", views.not_found),
]
