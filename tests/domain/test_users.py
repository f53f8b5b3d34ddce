"""What saving a person does, and does not do, to what the operations keep on the row."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import update_last_login
from django.contrib.auth.signals import user_logged_in
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken, get_application_model

from optin.models import User
from optin.models.users import note_sign_in
from optin.operations import sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def stale(user: User) -> User:
    """The person as somebody read them before they were disabled."""
    read: User = get_user_model().objects.get(pk=user.pk)
    user.otp_failures, user.otp_disabled_at, user.session_epoch = 50, timezone.now(), 3
    user.otp_locked_until = timezone.now() + timedelta(minutes=15)
    user.save_counts()
    return read


def test_a_stale_copy_does_not_put_the_counts_back(stale: User, user: User) -> None:
    """S-05, S-07a: a form or ``changepassword`` holds the row for as long as a human types."""
    stale.first_name = "Ann"
    stale.save()

    user.refresh_from_db()
    assert user.first_name == "Ann"
    assert (user.otp_failures, user.session_epoch) == (50, 3)
    assert user.otp_disabled_at == user.otp_locked_until - timedelta(minutes=15)  # type: ignore[operator]


@pytest.mark.parametrize("change", ["password", "deactivation"])
def test_a_change_of_standing_ends_sign_ins(stale: User, user: User, change: str) -> None:
    """S-34."""
    sign_in.enable_password_clients()
    client, now = get_application_model().objects.get(), timezone.now()
    token = RefreshToken.objects.create(user=user, application=client, token="x")
    AccessToken.objects.create(user=user, application=client, token="y", expires=now)
    if change == "password":
        stale.set_password("a new one")
    else:
        stale.is_active = False
    stale.save()

    user.refresh_from_db()
    token.refresh_from_db()
    assert user.session_epoch == 4
    assert token.revoked is not None
    assert AccessToken.objects.exists() is (change == "password")


def test_one_receiver_notes_a_sign_in() -> None:
    """Ours takes the name of Django's, and so must be connected first (``INSTALLED_APPS``)."""
    receivers, _ = user_logged_in._live_receivers(User)
    assert note_sign_in in receivers
    assert update_last_login not in receivers
