"""Set up authenticator apps, passkeys and recovery codes."""

from dataclasses import dataclass
from datetime import timedelta

import pyotp
from django.utils import timezone

from optin.models import AuthenticatorApp, Passkey, User
from optin.operations import authenticators
from optin.operations.factors import Standing
from optin.origin import Face, Origin
from optin.outcomes import By, FactorOutcome
from optin.passkeys import rp_id
from tests.kit.people import make_user

WEB = Origin(Face.WEB, ip="192.0.2.9")


def standing() -> Standing:
    """The standing of a session that has proved everything just now."""
    now = timezone.now()
    return Standing(now, now, By.APP)


def app_code(secret: str, steps: int = 0) -> str:
    """What the app shows, so many steps of 30 seconds from now."""
    at = timezone.now() + timedelta(seconds=30 * steps)
    return pyotp.TOTP(secret.replace(" ", "")).at(at)


def make_recovery_codes(user: User, origin: Origin = WEB) -> list[str]:
    user = User.objects.get(pk=user.pk)
    codes = authenticators.new_recovery_codes(user, standing=standing())
    before = authenticators.newest_recovery_code(user)
    result = authenticators.keep_recovery_codes(
        user, codes, instead_of=before, standing=standing(), origin=origin
    )
    assert result.outcome is FactorOutcome.OK
    return codes


def add_passkey(user: User, **dead: str) -> None:
    """Give *user* a passkey whose key nobody has; *dead* sets columns that make it unusable."""
    row = {"name": "key", "rp_id": rp_id(), "public_key": "k", **dead}
    Passkey.objects.create(
        user=user, credential_id=f"of {user.pk}", created_at=timezone.now(), sign_count=0,
        can_be_backed_up=False, is_backed_up=False, **row,
    )  # fmt: skip


@dataclass(frozen=True)
class App:
    """Somebody's authenticator app."""

    user: User
    secret: str

    @property
    def row(self) -> AuthenticatorApp:
        return AuthenticatorApp.objects.get(user=self.user)

    def code(self, steps: int = 0) -> str:
        return app_code(self.secret, steps)


def begin_app(user: User, origin: Origin = WEB) -> str:
    """Begin to set up the app of *user*; return its secret."""
    user = User.objects.get(pk=user.pk)
    authenticators.begin_app(user, standing=standing(), origin=origin)
    waiting = authenticators.waiting_secret(user, origin=origin)
    assert waiting
    return waiting[0]


def prove_app(user: User, secret: str, *, steps: int = 0) -> authenticators.Change:
    user, code = User.objects.get(pk=user.pk), app_code(secret, steps)
    return authenticators.confirm_app(user, code, standing=standing(), origin=WEB)


def add_app(user: User, *, steps: int = 0) -> App:
    """Set up the app of *user*, to the end, with its code of so many steps from now."""
    secret = begin_app(user)
    assert prove_app(user, secret, steps=steps).outcome is FactorOutcome.OK
    return App(user, secret)


def set_up_app(user: User) -> str:
    """Give *user* an authenticator app; return its secret."""
    return add_app(user).secret


def add_apps(count: int) -> list[AuthenticatorApp]:
    """Add *count* people with an app each, under the current key."""
    return [add_app(make_user(f"app{n}")).row for n in range(count)]
