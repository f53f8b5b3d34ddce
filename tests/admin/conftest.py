"""Staff of each role, signed in or not, and somebody whom they look after."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY

from optin.models import AuthenticatorApp, User
from tests.conftest import make_user

ROLES = ("auditor", "support", "administrator")
PEOPLE = ("anonymous", "person", "no-factor", "unproved", *ROLES, "superuser")
"""Whoever may come to the door: not signed in, no staff, staff without a second factor or in
a session that has not proved it; staff in each role."""

In = Callable[[str], Client]
OnStaff = Callable[[str], User]


@pytest.fixture(autouse=True)
def roles(db: None) -> None:
    """The groups, as the migration makes them: the flush after other tests takes them away."""
    importlib.import_module("optin.migrations.0010_staff").make_roles(apps, None)


def give_app(user: User) -> AuthenticatorApp:
    now = timezone.now()
    return AuthenticatorApp.objects.create(
        user=user,
        confirmed=True,
        secret_encrypted=AuthenticatorApp.seal("A" * 32, user.pk),
        created_at=now,
        verified_at=now,
    )


def make_staff(role: str) -> User:
    """Somebody in *role* with an authenticator app, made at the first call."""
    known = User.objects.filter(username=role).first()
    if known:
        found: User = known
        return found
    user = make_user(role)
    User.objects.filter(pk=user.pk).update(
        is_staff=role != "person", is_superuser=role == "superuser"
    )
    if role in ROLES or role in {"no-factor", "unproved"}:
        user.groups.add(Group.objects.get(name=role if role in ROLES else "administrator"))
    if role not in {"person", "no-factor"}:
        give_app(user)
    user.refresh_from_db()
    return user


@pytest.fixture
def on_staff() -> OnStaff:
    return make_staff


@pytest.fixture
def signed_in() -> In:
    """Return the browser of somebody: *how* they stand is one of ``PEOPLE``."""

    def sign_in(how: str) -> Client:
        client = Client()
        if how == "anonymous":
            return client
        user = make_staff(how)
        client.force_login(user)
        session: Any = client.session
        session["began"] = session["seen"] = timezone.now().timestamp()
        if how in {*ROLES, "superuser"}:
            app = AuthenticatorApp.objects.get(user=user)
            session[DEVICE_ID_SESSION_KEY] = app.persistent_id
        session.save()
        return client

    return sign_in
