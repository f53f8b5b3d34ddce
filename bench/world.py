"""The world of a measurement: a database with many users, each with a code waiting.

Run against ``DATABASE_URL`` (a database of its own is made there and dropped again);
without one, against SQLite.
"""

import atexit
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "twofa_site.settings")
if "DATA_DIR" not in os.environ:
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="optin-bench-")
    atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)
# As in production: with DEBUG, Django records statements and checks more.
os.environ.setdefault("DEBUG", "false")
os.environ.setdefault("SECRET_KEY", secrets.token_hex(40))
for _name, _id in (("OPTIN_KEYS", "bench:"), ("OPTIN_DIGEST_KEY", "")):
    os.environ.setdefault(_name, _id + urlsafe_b64encode(secrets.token_bytes(32)).decode())
os.environ.setdefault("EMAIL_URL", "dummy://")

import django

django.setup()

from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import (
    setup_databases,
    setup_test_environment,
    teardown_databases,
    teardown_test_environment,
)
from django.utils import timezone
from oauth2_provider.models import AccessToken, set_token_value

from optin import codes, keys
from optin.audit import seals
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    Membership,
    PendingOtp,
    ProviderUser,
    Purpose,
    User,
)
from optin.models.audit import committed
from optin.operations import sign_in
from optin.origin import Face, Origin


committed.disconnect(dispatch_uid="keep_sealing")  # nothing else runs while a benchmark measures

FILE_ID = 777
PASSWORD = "correct horse battery staple"  # noqa: S105  (of nobody)


@dataclass(frozen=True, slots=True)
class Person:
    """What a client of one user knows."""

    username: str
    provider_user_id: int
    code: str
    token: str
    access_key: str

    @property
    def wrong_code(self) -> str:
        return f"{(int(self.code) + 1) % 10_000_000:07d}"


class SameSim:
    """A provider that knows of no swapped SIM, and answers at once."""

    name = "same-sim"

    def swapped(self, number: str, *, hours: int, patience: float) -> bool:
        return False


@contextmanager
def database() -> Iterator[None]:
    """An empty database with all tables, dropped at the end."""
    setup_test_environment(debug=False)
    if connection.vendor == "sqlite":
        # A file, not memory: in memory a thread fails immediately if another holds the lock,
        # and other processes cannot see the database.
        connection.settings_dict["TEST"]["NAME"] = os.path.join(os.environ["DATA_DIR"], "bench.db")
    old = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        let_mail_leave()
        teardown_databases(old, verbosity=0)
        teardown_test_environment()


def url() -> str:
    """The address of that database, for other processes."""
    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    return f"postgres://{config['USER']}@{config['HOST']}:{config['PORT']}/{config['NAME']}"


def people(count: int, label: str = "person", password: str = "") -> list[Person]:
    """Make *count* users with a token, an access key and an open code.

    :param password: the hash of the password; empty for no password.
    """
    now = timezone.now()
    file, _ = File.objects.get_or_create(id=FILE_ID, defaults={"name": "Bench"})
    sign_in.enable_password_clients()
    users = User.objects.bulk_create(
        User(username=f"{label}{i}", email=f"{label}{i}@example.com", password=password or "!")
        for i in range(count)
    )
    Membership.objects.bulk_create(Membership(user=user, file=file) for user in users)
    tokens, texts = [], []
    for user in users:
        text = secrets.token_urlsafe(24)
        token = AccessToken(
            user=user,
            application=sign_in.application(),
            expires=now + timedelta(hours=12),
            scope=f"full fileid:{FILE_ID}",
        )
        set_token_value(token, text)
        tokens.append(token)
        texts.append(text)
    AccessToken.objects.bulk_create(tokens)
    access_keys = [secrets.token_urlsafe(24) for _ in users]
    AccessKey.objects.bulk_create(
        AccessKey(
            user=user,
            file=file,
            digest=keys.sha256(key),
            prefix=key[:6],
            created_at=now,
            last_used_at=now,
        )
        for user, key in zip(users, access_keys, strict=True)
    )
    rows = ProviderUser.objects.bulk_create(
        ProviderUser(
            user=user,
            file=file,
            number_encrypted="k:none",
            number_digest=secrets.token_hex(32),
            last_three="000",
            created_at=now,
        )
        for user in users
    )
    pending = PendingOtp.objects.bulk_create(
        PendingOtp(
            provider_user=row,
            purpose=Purpose.OPT_IN,
            file=file,
            nonce=codes.new_nonce(),
            key_id=keys.current_id(),
            digits=7,
            issued_at=now,
            expires_at=now + timedelta(minutes=10),
        )
        for row in rows
    )
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE")
    return [
        Person(user.username, row.pk, otp.code(), token, key)
        for user, row, otp, token, key in zip(users, rows, pending, texts, access_keys, strict=True)
    ]


def rewind() -> None:
    """Open every code again, with no tries and no failures, once the mails have left."""
    let_mail_leave()
    now = timezone.now()
    ProviderUser.objects.update(confirmed=False, verified_at=None)
    PendingOtp.objects.update(
        tries=0,
        closed_at=None,
        closed_as="",
        issued_at=now,
        expires_at=now + timedelta(minutes=10),
    )
    for count in ("otp", "program"):
        none = {f"{count}_locked_until": None, f"{count}_disabled_at": None}
        User.objects.update(**{f"{count}_failures": 0}, **none)


def let_mail_leave() -> None:
    """Wait until the queue of mails is empty, at most a minute."""
    for _ in range(10):
        delivery.postman.wait()


def make_events(count: int) -> None:
    """Make *count* events, shared among all people, and seal them."""
    user, then = User.objects.latest("pk"), timezone.now() - timedelta(minutes=6)
    kind, origin = AuditEvent.Kind.VERIFY_OPT_IN, Origin(Face.API, ip="192.0.2.1")
    with transaction.atomic():
        one = AuditEvent.objects.record(
            kind, "otp_incorrect", now=then, origin=origin, user_id=user.pk, data={"try": 1}
        )
    columns = [f.attname for f in AuditEvent._meta.concrete_fields if not f.primary_key]
    made = {"user_id": "u.id", "previous": "md5(random()::text)"}
    taken = ", ".join(made.get(name, f"e.{name}") for name in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO optin_auditevent ({', '.join(columns)}) SELECT {taken} "  # noqa: S608
            "FROM optin_auditevent e, optin_user u, "
            "generate_series(0, %(count)s / (SELECT count(*) FROM optin_user)) "
            "WHERE e.id = %(id)s LIMIT %(count)s",
            {"count": count, "id": one.pk},
        )
        cursor.execute("ANALYZE")
    logging.disable()  # each seal is a line
    seals.seal(timezone.now())


def main() -> None:
    """Make the tables, people and events in the database at ``DATABASE_URL``; print the people.

    COUNT people have a code waiting, and COUNT have no number yet. For every ten events, there is
    one more person who does nothing.
    """
    count, past = map(int, sys.argv[1:])
    call_command("migrate", verbosity=0)
    made = people(count)
    PendingOtp.objects.update(expires_at=timezone.now() + timedelta(days=1))
    new = people(count, "new", make_password(PASSWORD))
    ProviderUser.objects.filter(user__username__startswith="new").delete()
    if past:
        people(past // 10, "more")
        make_events(past)
    for person in made:
        body = {"ProviderUserId": person.provider_user_id, "Otp": person.wrong_code}
        print(json.dumps({"token": person.token, "body": body}))
    for person in new:
        print(json.dumps({"token": person.token, "username": person.username}))


if __name__ == "__main__":
    main()
