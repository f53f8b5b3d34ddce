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
    AuditNote,
    AuditSeal,
    AuditStream,
    AuthenticatorApp,
    Canary,
    EmailChange,
    Figure,
    File,
    Guard,
    KnownNetwork,
    Membership,
    PendingOtp,
    ProviderUser,
    Purpose,
    RefusalCount,
    Revocation,
    SendCounter,
    SmsMessage,
    Span,
    User,
    WebhookEndpoint,
    WebhookEvent,
    WebhookRepeat,
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


def span(minutes: int = 60) -> Span:
    now = timezone.now()
    end = now + timedelta(minutes=minutes)
    return Span.objects.create(start=now, end=end, day=now.date())


def figure(of: Span) -> Figure:
    return Figure.objects.create(span=of, day=of.day, what=Figure.What.TEXT, name="sent", count=1)


def counter() -> SendCounter:
    return SendCounter.objects.create(scope="s", key="k", window_start=timezone.now(), count=1)


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


def network(user: User) -> KnownNetwork:
    return KnownNetwork.objects.create(user=user, digest="d", last_used_at=timezone.now())


def event(previous: str) -> AuditEvent:
    return AuditEvent.objects.create(at=timezone.now(), previous=previous)


def endpoint(**fields: Any) -> WebhookEndpoint:
    now = timezone.now()
    return WebhookEndpoint.objects.create(
        **{"file": File.objects.get(), "created_at": now, "due_at": now, **fields}
    )


def webhook(message_id: str) -> WebhookEvent:
    return WebhookEvent.objects.create(
        message_id=message_id, file=File.objects.get(), at=timezone.now(), sequence=1
    )


def stream() -> None:
    AuditStream(id=2, event=0, seal=0, last_event=0, last_seal=0).save()


def note(**changes: Any) -> AuditNote:
    values: dict[str, Any] = {"place": "mail", "seals": 1, "last_id": 1, "line": "x"}
    return AuditNote.objects.create(at=timezone.now(), **values | changes)


def refusals(**how: Any) -> RefusalCount:
    now = timezone.now()
    times = dict.fromkeys(("ends_at", "first_at", "last_at"), now)
    return RefusalCount.objects.create(key="k", last={}, count=2, **times, **how)


VIOLATIONS: dict[str, list[Write]] = {
    "audit_note_once_to_each_place": [lambda ann, ben: (note(), note())],
    "audit_note_tells_of_a_seal": [lambda ann, ben: note(seals=0)],
    "audit_stream_is_one": [lambda ann, ben: stream()],
    "canary_is_one": [lambda ann, ben: Canary.objects.create(id=2, sealed="x", digest="x")],
    "user_name_unique_without_case": [lambda ann, ben: User.objects.create_user("ANN")],
    "user_email_unique_without_case": [
        lambda ann, ben: User.objects.create_user("x", ann.email.upper())
    ],
    "revocation_one_open_per_user": [lambda ann, ben: (revocation(ann), revocation(ann))],
    "revocation_closed_says_how": [
        lambda ann, ben: revocation(ann, closed_at=timezone.now()),
        lambda ann, ben: revocation(ann, closed_as=Revocation.Closed.DONE),
    ],
    "revocation_is_due_after_it_was_asked": [
        lambda ann, ben: revocation(ann, due_at=timezone.now())
    ],
    "email_change_one_open_per_user": [lambda ann, ben: (email_change(ann), email_change(ann))],
    "email_change_closed_says_how": [
        lambda ann, ben: email_change(ann, closed_at=timezone.now()),
        lambda ann, ben: email_change(ann, closed_as=EmailChange.Closed.DONE),
    ],
    "email_change_is_due_once_proved": [
        lambda ann, ben: email_change(ann, due_at=timezone.now()),
        lambda ann, ben: email_change(
            ann, proved_at=timezone.now(), due_at=timezone.now() - timedelta(seconds=1)
        ),
    ],
    "user_name_never_empty": [lambda ann, ben: User.objects.create(username="")],
    "user_test_account_is_no_staff": [
        lambda ann, ben: User.objects.create(username="t", is_test=True, is_staff=True),
        lambda ann, ben: User.objects.create(username="t", is_test=True, is_superuser=True),
    ],
    "membership_unique": [
        lambda ann, ben: Membership.objects.create(user=ann, file=File.objects.get())
    ],
    "webhook_endpoint_off_for_a_reason": [
        lambda ann, ben: endpoint(off_at=timezone.now()),
        lambda ann, ben: endpoint(off_why=WebhookEndpoint.Off.STAFF),
    ],
    "webhook_repeat_has_an_event": [
        lambda ann, ben: WebhookRepeat.objects.create(
            endpoint=endpoint(), cursor=1, last=1, due_at=timezone.now()
        )
    ],
    "webhook_event_sequence": [lambda ann, ben: (webhook("a"), webhook("b"))],
    "file_id_in_range": [
        lambda ann, ben: File.objects.create(id=0, name="zero"),
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
    "sms_message_is_a_code_or_a_farewell": [
        lambda ann, ben: SmsMessage.objects.create(created_at=timezone.now()),
        lambda ann, ben: SmsMessage.objects.create(
            created_at=timezone.now(), pending_otp=otp(number(ann)), news_to=number(ben)
        ),
    ],
    "guard_one_of_a_kind": [lambda ann, ben: (guard("stop", "all"), guard("stop", "all"))],
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
    "audit_seal_ends_after_its_start": [lambda ann, ben: seal(first=3)],
    "audit_seal_holds_an_event": [lambda ann, ben: seal(count=0)],
    "send_counter_one_per_window": [lambda ann, ben: (counter(), counter())],
    "refusal_count_one_per_window": [lambda ann, ben: (refusals(), refusals())],
    "refusal_count_tells_no_more_than_it_has": [lambda ann, ben: refusals(told=3)],
    "known_network_once_for_each_user": [lambda ann, ben: (network(ann), network(ann))],
    "audit_event_follows_another_alone": [lambda ann, ben: (event("1:a"), event("1:a"))],
    "span_ends_after_start": [lambda ann, ben: span(minutes=0)],
    "figure_one_of_each_in_a_span": [lambda ann, ben: [figure(of) for of in [span()] * 2]],
    "start": [lambda ann, ben: (span(), span(minutes=30))],
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


def test_every_named_constraint_is_in_the_table() -> None:
    named = {
        constraint.name
        for model in apps.get_app_config("optin").get_models()
        for constraint in model._meta.constraints
    }
    assert named <= set(VIOLATIONS)


def test_what_may_be(user: User, stranger: User) -> None:
    """The other side of each rule: these rows all stand together."""
    released = {"released_at": timezone.now(), "verified_at": timezone.now()}
    mine = active(user)
    number(user, "d2", **released)
    number(stranger, "d1")
    number(stranger, "d3")
    ProviderUser.objects.filter(pk=mine.pk).update(suspended_at=timezone.now())
    for purpose in Purpose:
        otp(mine, purpose=purpose)
    otp(mine, closed_at=timezone.now(), closed_as=PendingOtp.Closed.SUPERSEDED)
    revocation(user)
    revocation(stranger)
    revocation(user, closed_at=timezone.now(), closed_as=Revocation.Closed.CANCELLED)
    User.objects.create_user("no-mail-1")
    User.objects.create_user("no-mail-2")
    File.objects.create(id=1, name="first")
    File.objects.create(id=2_147_483_647, name="last")
    assert ProviderUser.objects.count() == 4
