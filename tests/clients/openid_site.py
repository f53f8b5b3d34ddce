"""A Django site that signs people in with mozilla-django-oidc, set up as its docs say."""

import os
import sys
from pathlib import Path
from urllib.parse import urlencode
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

SERVICE = os.environ["SERVICE"]

settings.configure(
    SECRET_KEY=os.environ["SECRET"],
    ALLOWED_HOSTS=["books.example.com"],
    ROOT_URLCONF=__name__,
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    USE_X_FORWARDED_HOST=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path(os.environ["FOLDER"], "site.sqlite3"),
        }
    },
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "mozilla_django_oidc"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["mozilla_django_oidc.auth.OIDCAuthenticationBackend"],
    OIDC_RP_CLIENT_ID="django",
    OIDC_RP_CLIENT_SECRET=os.environ["SECRET"],
    OIDC_RP_SIGN_ALGO="RS256",
    OIDC_RP_SCOPES="openid profile email",
    OIDC_USE_PKCE=True,
    OIDC_STORE_ID_TOKEN=True,
    OIDC_AUTH_REQUEST_EXTRA_PARAMS={"acr_values": os.environ["ACR"]},
    OIDC_OP_AUTHORIZATION_ENDPOINT=f"{SERVICE}/o/authorize/",
    OIDC_OP_TOKEN_ENDPOINT=f"{SERVICE}/o/token/",
    OIDC_OP_USER_ENDPOINT=f"{SERVICE}/o/userinfo/",
    OIDC_OP_JWKS_ENDPOINT=os.environ["JWKS"],
    OIDC_OP_LOGOUT_URL_METHOD=f"{__name__}.logout_url",
    ALLOW_LOGOUT_GET_METHOD=True,
    LOGIN_REDIRECT_URL="/claims",
    LOGOUT_REDIRECT_URL="/claims",
)


def claims(request: HttpRequest) -> JsonResponse:
    email = request.user.email if request.user.is_authenticated else ""
    return JsonResponse({"email": email, "id_token": request.session.get("oidc_id_token")})


def logout_url(request: HttpRequest) -> str:
    back = {"client_id": "django", "post_logout_redirect_uri": "https://books.example.com/claims"}
    return f"{SERVICE}/o/logout/?{urlencode(back)}"


urlpatterns = [path("oidc/", include("mozilla_django_oidc.urls")), path("claims", claims)]

if __name__ == "__main__":
    django.setup()
    call_command("migrate", verbosity=0)
    make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application()).serve_forever()
