"""What happens while something that the service needs is not there (S-64)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from optin.conf import KEY_BYTES
from optin.models import File, ProviderUser, User
from optin.operations import opt_ins, staff_actions
from optin.outcomes import SendOutcome
from optin.runtime import throttle
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parent.parent.parent


def test_redis_away(access_key: str, phone: Phone, client: Client, settings: LazySettings) -> None:
    """Configured and not there: a quick 503; back again: no restart is needed."""
    url = f"/User/opt-in-to-2fa?FileId=777&WsAccessKey={access_key}"
    body = {"MobileNumber": NUMBER}
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # nobody listens there
    throttle._limiter.cache_clear()

    away = client.post(url, body, content_type="application/json")

    assert (away.status_code, away["Retry-After"]) == (503, "5")
    assert phone.messages == []
    settings.REDIS_URL = ""
    throttle._limiter.cache_clear()
    assert client.post(url, body, content_type="application/json").status_code == 200


_FIRST_REQUESTS = """
import sys, threading, time
import django
django.setup()
from optin.runtime import throttle

class Slow:  # any import of a part of it takes a while
    def find_spec(self, name, path, target=None):
        if name.startswith("redis."):
            time.sleep(0.05)

sys.meta_path.insert(0, Slow())
first = threading.Thread(target=throttle._limiter)
first.start()
time.sleep(0.2)
throttle._limiter()
first.join()
"""


def test_a_second_request_comes_during_the_first(tmp_path: Path) -> None:
    """A process that just started counts both in Redis."""
    environ = os.environ | {
        "DJANGO_SETTINGS_MODULE": "twofa_site.settings",
        "DATA_DIR": str(tmp_path),
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    command = [sys.executable, "-c", _FIRST_REQUESTS]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_a_number_is_encrypted_anew_when_its_key_is_lost(
    user: User, file: File, active: ProviderUser, phone: Phone, settings: LazySettings
) -> None:
    """Staff release a number that no key opens any more; its owner opts in again."""
    staff_actions.revoke(user, reason="key lost", origin=ORIGIN)
    settings.OPTIN_KEYS = {"new": b"n" * KEY_BYTES}

    sending = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)

    assert sending.outcome is SendOutcome.SENT
    assert len(phone.messages) == 2
    active.refresh_from_db()
    assert active.open_number() == NUMBER


def test_a_secret_file_may_end_in_a_line_break(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    environ = os.environ | {
        "SECRET_KEY_FILE": str(secret),
        "DEBUG": "1",
        "DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "twofa_site.settings",
    }
    environ.pop("BASE_URL", None)
    script = "from django.conf import settings; print(repr(settings.SECRET_KEY))"

    printed = subprocess.run(
        [sys.executable, "-c", script],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert printed == "'correct horse'\n"
