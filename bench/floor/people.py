"""Make the tables and the people of this site, and print what a client of each needs.

python -m bench.floor.people COUNT
"""

import json
import secrets
import sys
from datetime import timedelta

import django

django.setup()

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, set_token_value

PASSWORD = "correct horse battery staple"  # noqa: S105  (of nobody)


def make(count: int) -> dict[str, User]:
    """Return people by their tokens. Their password is ``PASSWORD``."""
    call_command("migrate", verbosity=0)
    application = Application.objects.create(
        client_id="app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
    )
    password, expires = make_password(PASSWORD), timezone.now() + timedelta(hours=12)
    users = User.objects.bulk_create(
        User(username=f"person{n}", password=password) for n in range(count)
    )
    found, tokens = {}, []
    for user in users:
        text = secrets.token_urlsafe(24)
        token = AccessToken(user=user, application=application, expires=expires, scope="full")
        set_token_value(token, text)
        tokens.append(token)
        found[text] = user
    AccessToken.objects.bulk_create(tokens)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return found


if __name__ == "__main__":
    for token in make(int(sys.argv[1])):
        print(json.dumps({"token": token, "body": {"ProviderUserId": 1, "Otp": "0000000"}}))
