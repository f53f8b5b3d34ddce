"""What must never be wrong is refused by the database, whoever writes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models import Model, UniqueConstraint
from django.utils import timezone

from optin import codes
from optin.models import (
    AccessKey,
    AuditEvent,
    AuditSeal,
    AuthenticatorApp,
    EmailChange,
    File,
    Guard,
    Membership,
    PendingOtp,
    ProviderUser,
    Purpose,
    Revocation,
    User,
)

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


def app(user: User, *, proved: bool = False, **changes: Any) -> AuthenticatorApp:
    now = timezone.now()
    fields = {"confirmed": True, "verified_at": now} if proved else {}
    return AuthenticatorApp.objects.create(user=user, created_at=now, **fields | changes)


def key(user: User) -> AccessKey:
    made: AccessKey = AccessKey.objects.keep("text", user, File.objects.get(), timezone.now())
    return made


def seal(first: int = 1, last: int = 2, count: int = 2) -> AuditSeal:
    return AuditSeal.objects.create(first_id=first, last_id=last, count=count, at=timezone.now())


def guard(kind: str, covers: str, **changes: Any) -> Guard:
    return Guard.objects.create(kind=kind, covers=covers, made_at=timezone.now(), **changes)


Write = Callable[[User, User], object]


def revocation(user: User, **fields: Any) -> Revocation:
    now = timezone.now()
    due = {"asked_at": now, "due_at": now + timedelta(days=1)}
    return Revocation.objects.create(**{"user": user, "reason": "x", **due, **fields})


def email_change(user: User, **fields: Any) -> EmailChange:
    now = timezone.now()
    address = {"new_address": "new@example.org", "asked_at": now}
    return EmailChange.objects.create(**{"user": user, **address, **fields})


def event(previous: str) -> AuditEvent:
    return AuditEvent.objects.create(at=timezone.now(), previous=previous)


VIOLATIONS: dict[str, list[Write]] = {
    "user_name_unique_without_case": [lambda ann, ben: User.objects.create_user("ANN")],
    "user_email_unique_without_case": [
        lambda ann, ben: User.objects.create_user("x", ann.email.upper())
    ],
    "revocation_one_open_per_user": [lambda ann, ben: (revocation(ann), revocation(ann))],
    "email_change_one_open_per_user": [lambda ann, ben: (email_change(ann), email_change(ann))],
    "user_test_account_is_no_staff": [
        lambda ann, ben: User.objects.create(username="t", is_test=True, is_staff=True),
        lambda ann, ben: User.objects.create(username="t", is_test=True, is_superuser=True),
    ],
    "membership_unique": [
        lambda ann, ben: Membership.objects.create(user=ann, file=File.objects.get())
    ],
    "provider_user_one_row_per_number": [lambda ann, ben: (number(ann), number(ann))],
    "provider_user_one_active_per_user": [lambda ann, ben: (active(ann), active(ann, "d2"))],
    "provider_user_one_active_owner_per_number": [lambda ann, ben: (active(ann), active(ben))],
    "provider_user_active_is_proved_and_not_released": [
        lambda ann, ben: number(ann, confirmed=True),
        lambda ann, ben: active(ann, released_at=timezone.now()),
        lambda ann, ben: number(ann, verified_at=timezone.now()),
    ],
    "provider_user_only_an_active_one_is_suspended": [
        lambda ann, ben: number(ann, suspended_at=timezone.now())
    ],
    "pending_otp_one_open_per_purpose": [
        lambda ann, ben: [otp(row) for row in [number(ann)] * 2],
    ],
    "pending_otp_expires_after_issue": [
        lambda ann, ben: otp(number(ann), expires_at=timezone.now())
    ],
    "pending_otp_closed_for_a_reason": [
        lambda ann, ben: otp(number(ann), closed_at=timezone.now()),
        lambda ann, ben: otp(number(ann), closed_as=PendingOtp.Closed.VERIFIED),
    ],
    "authenticator_app_one_active_one_waiting": [
        lambda ann, ben: (app(ann), app(ann)),
        lambda ann, ben: (app(ann, proved=True), app(ann, proved=True)),
    ],
    "authenticator_app_active_is_proved": [
        lambda ann, ben: app(ann, confirmed=True),
        lambda ann, ben: app(ann, verified_at=timezone.now()),
    ],
    "guard_ends_but_for_the_stops": [
        lambda ann, ben: guard("stop", "all", key="x"),
        lambda ann, ben: guard("stop", "number"),
        lambda ann, ben: guard("deny", "number", key="x"),  # without an end
        lambda ann, ben: guard("deny", "number", until=timezone.now()),
        lambda ann, ben: guard("deny", "all", key="x", until=timezone.now()),
        lambda ann, ben: guard("no_texts", "number"),
        lambda ann, ben: guard("no_texts", "prefix", key="x"),
        lambda ann, ben: guard("no_texts", "number", key="x", until=timezone.now()),
    ],
    "audit_seal_one_from_each_start": [lambda ann, ben: (seal(), seal(last=3))],
    "audit_event_follows_another_alone": [lambda ann, ben: (event("1:a"), event("1:a"))],
    "nonce": [
        lambda ann, ben: [otp(number(ann, d), nonce="0" * 40) for d in ("d1", "d2")],
    ],
    "digest": [lambda ann, ben: (key(ann), key(ben))],
    "otp_failures": [lambda ann, ben: User.objects.filter(pk=ann.pk).update(otp_failures=-1)],
}


@pytest.mark.parametrize(
    ("name", "violate"),
    [
        pytest.param(name, violate, id=f"{name}-{n}")
        for name, writes in VIOLATIONS.items()
        for n, violate in enumerate(writes)
    ],
)
def test_refused(user: User, stranger: User, name: str, violate: Write) -> None:
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        violate(user, stranger)
    assert name in str(caught.value) or _columns(name) in str(caught.value)


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
