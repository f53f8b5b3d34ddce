"""Rows of a certain age, and all that is stored."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import connection, models
from django.utils import timezone

from optin import codes, keys
from optin.models import AuthenticatorApp, File, PendingOtp, ProviderUser, Purpose, SmsMessage, User
from optin.models.messages import State
from optin.operations import retention
from optin.origin import Face, Origin

COMMAND = Origin(Face.COMMAND)
DAY = timedelta(hours=24)
MOMENT = timedelta(seconds=1)

Row = dict[str, Any]


def purge() -> retention.Counts:
    return retention.purge(origin=COMMAND)


def number_of(user: User, file: File, mobile: str, at: datetime, **fields: Any) -> ProviderUser:
    """A number that *user* named at *at*."""
    return ProviderUser.objects.create(
        user=user,
        file=file,
        number_encrypted=ProviderUser.seal(mobile, user),
        number_digest=ProviderUser.digest_of(mobile),
        last_three=mobile[-3:],
        created_at=at,
        **fields,
    )


def code_of(row: ProviderUser, at: datetime, **fields: Any) -> PendingOtp:
    """A code that was made at *at*; it lives ten minutes."""
    return PendingOtp.objects.create(
        **{
            "provider_user": row,
            "purpose": Purpose.OPT_IN,
            "file": row.file,
            "nonce": codes.new_nonce(),
            "key_id": keys.current_id(),
            "digits": 7,
            "issued_at": at,
            "expires_at": at + timedelta(minutes=10),
            **fields,
        }
    )


def text_of(code: PendingOtp, at: datetime, **fields: Any) -> SmsMessage:
    """A text that was made at *at*, and left."""
    return SmsMessage.objects.create(
        **{"pending_otp": code, "created_at": at, "state": State.SENT, **fields}
    )


def farewell_to(number: ProviderUser, at: datetime, **fields: Any) -> SmsMessage:
    """A text that was made at *at* for a number that another one replaced, and left."""
    return SmsMessage.objects.create(
        **{"news_to": number, "created_at": at, "sent_at": at, "state": State.SENT, **fields}
    )


def app_of(user: User, at: datetime, **fields: Any) -> AuthenticatorApp:
    """The app that *user* began to set up at *at*."""
    secret = AuthenticatorApp.seal(codes.new_app_secret(), user.pk)
    return AuthenticatorApp.objects.create(
        user=user, secret_encrypted=secret, created_at=at, **fields
    )


def everything() -> Iterator[tuple[str, Row]]:
    """Every row of every table, as the database has it."""
    for table in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            names = [column[0] for column in cursor.description]
            for values in cursor.fetchall():
                yield table, dict(zip(names, values, strict=True))


def rows(*kinds: type[models.Model]) -> dict[str, list[Row]]:
    """What is stored, by model; by default all of ours but the audit trail and the figures."""
    others = ("Audit", "Span", "Figure")
    ours = kinds or [m for m in apps.get_models() if not m.__name__.startswith(others)]
    return {m.__name__: list(m._default_manager.order_by("pk").values()) for m in ours}


def now() -> datetime:
    return timezone.now()
