"""Keys in words: an old one, a new one, and rings of them."""

import base64
import os
import string
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pyotp
import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.utils import timezone

from optin.models import AuthenticatorApp, Canary, File, ProviderUser, User
from optin.operations import authenticators
from optin.operations.factors import Standing
from optin.origin import Face, Origin
from optin.outcomes import By, FactorOutcome
from tests.conftest import make_user

ROOT = Path(__file__).resolve().parent.parent.parent
OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
DIGEST, NEW_DIGEST = b"d" * 32, b"e" * 32
WEB = Origin(Face.WEB, ip="192.0.2.9")


@pytest.fixture
def ring(settings: LazySettings, db: None) -> LazySettings:
    """A service that was started with the key ``old``."""
    settings.OPTIN_KEYS = {"old": OLD}
    settings.OPTIN_DIGEST_KEY = DIGEST
    Canary.objects.look()
    return settings


def run(*arguments: str) -> str:
    """Run a command; return what it printed, errors too."""
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out)
    return out.getvalue()


def number(n: int) -> str:
    """The n-th mobile number."""
    return f"+6149{n:07d}"


def add_numbers(file: File, count: int) -> list[ProviderUser]:
    """Add rows under the current key: one user, *count* numbers that nobody proved."""
    user = make_user("many", file)
    now = timezone.now()
    return ProviderUser.objects.bulk_create(
        ProviderUser(
            user=user,
            file=file,
            number_encrypted=ProviderUser.seal(number(n), user),
            number_digest=ProviderUser.digest_of(number(n)),
            last_three=number(n)[-3:],
            created_at=now,
        )
        for n in range(count)
    )


def key_ids() -> set[str]:
    """The ids of the keys that numbers and secrets of apps are under."""
    numbers = ProviderUser.objects.values_list("number_encrypted", flat=True)
    secrets = AuthenticatorApp.objects.values_list("secret_encrypted", flat=True)
    return {text.partition(":")[0] for text in [*numbers, *secrets]}


@dataclass(frozen=True)
class App:
    """Somebody's authenticator app."""

    user: User
    secret: str

    @property
    def row(self) -> AuthenticatorApp:
        return AuthenticatorApp.objects.get(user=self.user)

    def code(self, steps: int = 0) -> str:
        """What it shows so many steps of 30 seconds from now."""
        return pyotp.TOTP(self.secret).at(timezone.now() + timedelta(seconds=30 * steps))


def standing() -> Standing:
    """Of a session that has proved everything just now."""
    now = timezone.now()
    return Standing(now, now, By.APP)


def begin_app(user: User) -> str:
    """Begin to set up the app of *user*; return its secret."""
    user = User.objects.get(pk=user.pk)
    authenticators.begin_app(user, standing=standing(), origin=WEB)
    waiting = authenticators.waiting_secret(user, origin=WEB)
    assert waiting
    return waiting[0]


def prove_app(user: User, secret: str, *, steps: int = 0) -> authenticators.Change:
    user = User.objects.get(pk=user.pk)
    code = App(user, secret).code(steps)
    return authenticators.confirm_app(user, code, standing=standing(), origin=WEB)


def add_app(user: User, *, steps: int = 0) -> App:
    """Set up the app of *user*, to the end, with its code of so many steps from now."""
    secret = begin_app(user)
    assert prove_app(user, secret, steps=steps).outcome is FactorOutcome.OK
    return App(user, secret)


def add_apps(count: int) -> list[AuthenticatorApp]:
    """Add *count* people with an app each, under the current key."""
    return [add_app(make_user(f"app{n}")).row for n in range(count)]


def written(keys: Mapping[str, bytes]) -> str:
    """Return *keys* as the environment has them."""
    return ",".join(f"{kid}:{base64.urlsafe_b64encode(key).decode()}" for kid, key in keys.items())


def environment(
    folder: Path, database: str, ring: Mapping[str, bytes], digest: bytes
) -> dict[str, str]:
    """The environment of a process with these keys."""
    return {
        "PATH": os.environ["PATH"],
        "DEBUG": "1",
        "SECRET_KEY": string.ascii_letters,
        "BASE_URL": "http://127.0.0.1:8000",
        "DATA_DIR": str(folder),
        "DATABASE_URL": database,
        "OPTIN_KEYS": written(ring),
        "OPTIN_DIGEST_KEY": written({"": digest})[1:],
        "LOG_LEVEL": "WARNING",
    }


def python(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
