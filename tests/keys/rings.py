"""Keys in words: an old one, a new one, and rings of them."""

import base64
import os
import string
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from django.utils import timezone

from optin.models import AuthenticatorApp, File, ProviderUser
from tests.kit.people import make_user, number
from tests.kit.server import ROOT

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
DIGEST, NEW_DIGEST = b"d" * 32, b"e" * 32


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
