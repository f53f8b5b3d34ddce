"""What must never be wrong is refused by the database, whoever writes."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models import Model, UniqueConstraint
from django.utils import timezone

from optin import codes
from optin.models import AuditEvent, File, PendingOtp, ProviderUser, Purpose, User

pytestmark = pytest.mark.django_db


def number(user: User, digest: str = "d1", **changes: Any) -> ProviderUser:
    fields = {
        "user": user,
        "file": File.objects.get(),
        "number_encrypted": "x",
        "number_digest": digest,
        "last_three": "156",
        "created_at": timezone.now(),
        **changes,
    }
    return ProviderUser.objects.create(**fields)


def active(user: User, digest: str = "d1", **changes: Any) -> ProviderUser:
    proved = {"confirmed": True, "verified_at": timezone.now(), **changes}
    return number(user, digest, **proved)


def otp(row: ProviderUser, **changes: Any) -> PendingOtp:
    now = timezone.now()
    fields = {
        "provider_user": row,
        "purpose": Purpose.SIGN_IN,
        "nonce": codes.new_nonce(),
        "key_id": "k",
        "digits": 7,
        "issued_at": now,
        "expires_at": now + timedelta(seconds=600),
        **changes,
    }
    return PendingOtp.objects.create(**fields)


Write = Callable[[User, User], object]


def event(previous: str) -> AuditEvent:
    return AuditEvent.objects.create(at=timezone.now(), previous=previous)


@pytest.mark.parametrize(
    ("name", "violate"),
    [
        ("user_name_unique_without_case", lambda ann, ben: User.objects.create_user("ANN")),
        (
            "user_email_unique_without_case",
            lambda ann, ben: User.objects.create_user("x", ann.email.upper()),
        ),
        ("provider_user_one_row_per_number", lambda ann, ben: (number(ann), number(ann))),
        ("provider_user_one_active_per_user", lambda ann, ben: (active(ann), active(ann, "d2"))),
        ("provider_user_one_active_owner_per_number", lambda ann, ben: (active(ann), active(ben))),
        (
            "provider_user_active_is_proved_and_not_released",
            lambda ann, ben: active(ann, released_at=timezone.now()),
        ),
        (
            "provider_user_only_an_active_one_is_suspended",
            lambda ann, ben: number(ann, suspended_at=timezone.now()),
        ),
        ("pending_otp_one_open_per_purpose", lambda ann, ben: [otp(r) for r in [number(ann)] * 2]),
        (
            "nonce",
            lambda ann, ben: [otp(number(ann, d), nonce="0" * 40) for d in ("d1", "d2")],
        ),
        ("audit_event_follows_another_alone", lambda ann, ben: (event("1:a"), event("1:a"))),
        (
            "otp_failures",
            lambda ann, ben: User.objects.filter(pk=ann.pk).update(otp_failures=-1),
        ),
    ],
)
def test_refused(user: User, stranger: User, name: str, violate: Write) -> None:
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        violate(user, stranger)
    # A partition has its number in the name.
    told = re.sub(r"audit_event_\d+_", "audit_event_", str(caught.value))
    assert name in told or _columns(name) in told


def _columns(name: str) -> str:
    """How SQLite tells which unique constraint was violated: by its columns."""
    for model in apps.get_app_config("optin").get_models():
        for constraint in model._meta.constraints:
            if constraint.name == name and isinstance(constraint, UniqueConstraint):
                return ", ".join(
                    f"{model._meta.db_table}.{_column(model, f)}" for f in constraint.fields
                )
    return name


def _column(model: type[Model], field: str) -> str:
    return str(model._meta.get_field(field).column)  # type: ignore[union-attr]
