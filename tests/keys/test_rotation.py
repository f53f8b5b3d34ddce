"""``keys rotate``: what is under an old key comes under the new one (S-51)."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from optin.models import (
    AuditEvent,
    AuthenticatorApp,
    Canary,
    File,
    ProposedNumber,
    ProviderUser,
    Purpose,
    User,
)
from optin.operations import key_rotation
from optin.operations.key_rotation import Use
from optin.origin import Face
from optin.outcomes import CodeOutcome, FactorOutcome, SendOutcome
from tests.keys.rings import (
    DIGEST,
    NEW,
    NEW_DIGEST,
    OLD,
    OTHER,
    add_numbers,
    environment,
    key_ids,
    python,
)
from tests.kit.apps import App, add_app, add_apps, begin_app, prove_app
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN, make_user
from tests.kit.races import closing
from tests.kit.server import ROOT
from tests.kit.trail import newest_event, one_event
from tests.kit.world import World, nothing_happens

pytestmark = pytest.mark.django_db(transaction=True)

BOTH = {"new": NEW, "old": OLD}


@pytest.fixture
def seen(ring: LazySettings, world: World) -> World:
    """A code for ``NUMBER`` is on the phone, all under the old key; the new one is in front."""
    ring.OPTIN_KEYS = BOTH
    return world


@pytest.fixture
def used(seen: World) -> World:
    """The same, and the code is used: the number is active."""
    assert seen.guess(seen.code()).outcome is CodeOutcome.OK
    return seen


@pytest.fixture
def app(used: World, settings: LazySettings) -> App:
    """The authenticator app of the same person, set up while the old key was current."""
    settings.OPTIN_KEYS = {"old": OLD}
    app = add_app(used.user)
    settings.OPTIN_KEYS = BOTH
    used.clock.shift(30)  # to its next code
    return app


# -- what it does ------------------------------------------------------------------


def test_afterwards_the_old_key_can_go(used: World, app: App, settings: LazySettings) -> None:
    """S-51."""
    with one_event(AuditEvent.Kind.KEYS, "rotated", face=Face.COMMAND, user_id=None):
        output = run("keys", "rotate")

    assert "Encrypted with the key new: 1 numbers, 1 apps, 0 webhooks, 0 proposed." in output
    assert output.endswith("No other key than new is in use: older ones may be removed.\n")
    assert newest_event().data == {
        "key": "new",
        "numbers": 1,
        "apps": 1,
        "webhooks": 0,
        "proposed": 0,
        "unreadable": 0,
        "unreadable_apps": 0,
        "unreadable_webhooks": 0,
        "unreadable_proposed": 0,
        "needed": {},
    }
    settings.OPTIN_KEYS = {"new": NEW}
    assert Canary.objects.get().opens()
    assert used.row.open_number() == NUMBER
    used.purpose = Purpose.SIGN_IN
    assert used.guess(app.code()).outcome is CodeOutcome.OK
    used.clock.shift(30)
    assert used.ask().outcome is SendOutcome.SENT
    assert used.guess(used.code()).outcome is CodeOutcome.OK


def test_a_code_on_its_way_keeps_its_key(seen: World, settings: LazySettings) -> None:
    """S-65: it works, and the operator hears that its key must stay."""
    needed = r"now: old \(0 numbers, 0 apps, 0 webhooks, 0 proposed, 1 codes on their way\)"
    with one_event(AuditEvent.Kind.KEYS, "incomplete"), pytest.raises(CommandError, match=needed):
        run("keys", "rotate")

    assert newest_event().data["needed"] == {
        "old": {"numbers": 0, "apps": 0, "webhooks": 0, "proposed": 0, "codes": 1}
    }
    assert key_ids() == {"new"}
    settings.OPTIN_KEYS = {"new": NEW}
    assert not Canary.objects.get().opens()  # whoever removes it now is told at the start
    settings.OPTIN_KEYS = BOTH
    assert seen.guess(seen.code()).outcome is CodeOutcome.OK
    assert "older ones may be removed" in run("keys", "rotate")
    settings.OPTIN_KEYS = {"new": NEW}
    assert Canary.objects.get().opens()


def test_only_the_ciphertext_changes_and_that_once(used: World, app: App) -> None:
    def others() -> list[dict[str, Any]]:
        return [
            {name: value for name, value in row.items() if not name.endswith("_encrypted")}
            for model in (ProviderUser, AuthenticatorApp)
            for row in model.objects.order_by("pk").values()
        ]

    before = others()
    run("keys", "rotate")
    assert others() == before
    sealed = used.row.number_encrypted, app.row.secret_encrypted
    again = run("keys", "rotate")
    assert "Encrypted with the key new: 0 numbers, 0 apps, 0 webhooks, 0 proposed." in again
    assert (used.row.number_encrypted, app.row.secret_encrypted) == sealed


def test_in_chunks(ring: LazySettings, file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_rotation, "CHUNK", 3)
    add_numbers(file, 7)
    add_apps(4)
    ring.OPTIN_KEYS = BOTH

    told = [line for line in run("keys", "rotate").splitlines() if line.endswith("so far.")]

    numbers = [f"{n} numbers, 0 apps, 0 webhooks, 0 proposed so far." for n in (3, 6, 7)]
    apps = [f"7 numbers, {n} apps, 0 webhooks, 0 proposed so far." for n in (3, 4)]
    assert told == [*numbers, *apps]
    assert key_ids() == {"new"}


def test_an_app_that_nobody_has_proved_yet_is_encrypted_again_too(
    seen: World, settings: LazySettings
) -> None:
    secret = begin_app(seen.user)
    seen.clock.shift(600)  # until its code is over
    assert "older ones may be removed" in run("keys", "rotate")
    settings.OPTIN_KEYS = {"new": NEW}
    assert prove_app(seen.user, secret).outcome is FactorOutcome.OK


def test_a_proposed_number_is_encrypted_again_too(
    ring: LazySettings, user: User, settings: LazySettings
) -> None:
    """S-51. One that does not open is named."""
    ProposedNumber.of(user, NUMBER, "import", timezone.now()).save()
    ProposedNumber.of(make_user("eve"), NUMBER, "import", timezone.now()).save()
    ProposedNumber.objects.exclude(user=user).update(number_encrypted="gone:AAAA")
    ring.OPTIN_KEYS = BOTH
    output = run("keys", "rotate")
    assert "1 proposed open with no key of OPTIN_KEYS" in output
    settings.OPTIN_KEYS = {"new": NEW}
    assert ProposedNumber.objects.get(user=user).is_of(NUMBER)


def test_every_field_that_is_encrypted_is_known() -> None:
    """A new one must be rotated too: name it in ``key_rotation``, and here."""
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "optin").rglob("*.py")
        if "migrations" not in path.parts and "keys.encrypt(" in path.read_text(encoding="utf-8")
    }
    # What a session seals counts for a minute, and a form for 20: they need no new key.
    short_lived = {"optin/web/session_store.py", "optin/web/factors.py"}
    assert source - short_lived == {
        "optin/models/authenticators.py",
        "optin/models/canary.py",
        "optin/models/factors.py",
        "optin/models/proposed_numbers.py",
        "optin/models/webhooks.py",
    }


# -- what does not open ------------------------------------------------------------


def test_what_does_not_open_is_left_and_named(used: World, app: App, other_file: File) -> None:
    rows, (first, second) = add_numbers(other_file, 2), add_apps(2)
    ProviderUser.objects.filter(pk=rows[0].pk).update(number_encrypted="gone:AAAA")
    ProviderUser.objects.filter(pk=rows[1].pk).update(number_encrypted="no colon")
    AuthenticatorApp.objects.filter(pk=first.pk).update(secret_encrypted="gone:AAAA")
    swapped = app.row.secret_encrypted  # of somebody else
    AuthenticatorApp.objects.filter(pk=second.pk).update(secret_encrypted=swapped)

    output = run("keys", "rotate")

    assert "1 numbers, 1 apps, 0 webhooks, 0 proposed." in output
    for some, named in (
        ("2 numbers", f"provider users {rows[0].pk}, {rows[1].pk}."),
        ("2 apps", f"authenticator apps {first.pk}, {second.pk}."),
    ):
        assert f"{some} open with no key of OPTIN_KEYS and were left as they are" in output
        assert named in output
    assert "older ones may be removed" in output
    data = newest_event().data
    assert (data["apps"], data["unreadable"], data["unreadable_apps"]) == (1, 2, 2)
    assert key_ids() == {"new", "gone", "no colon", "old"}


def test_an_app_alone_keeps_its_key(
    ring: LazySettings, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run did not reach is counted, and the canary stays under the old key."""
    add_apps(2)
    ring.OPTIN_KEYS = BOTH
    monkeypatch.setattr(key_rotation, "_pass", lambda *args: False)
    with pytest.raises(CommandError, match=r"old \(0 numbers, 2 apps, .* 0 codes"):
        run("keys", "rotate")
    assert newest_event().data["needed"] == {
        "old": {"numbers": 0, "apps": 2, "webhooks": 0, "proposed": 0, "codes": 0}
    }
    assert Canary.objects.get().key_id == "old"


@pytest.mark.parametrize(
    ("ring_now", "digest", "why"),
    [
        ({"new": NEW}, DIGEST, "a key that this database needs is not in OPTIN_KEYS"),
        ({"new": NEW, "old": OTHER}, DIGEST, "has another value than when"),
        (BOTH, NEW_DIGEST, "OPTIN_DIGEST_KEY is not the one"),
        ({}, DIGEST, "OPTIN_KEYS must hold at least one key"),
    ],
    ids=["gone", "another", "digest key", "none"],
)
def test_keys_that_do_not_fit_change_nothing(
    ring_now: dict[str, bytes], digest: bytes, why: str, used: World, settings: LazySettings
) -> None:
    settings.OPTIN_KEYS, settings.OPTIN_DIGEST_KEY = ring_now, digest
    with nothing_happens(used.phone), pytest.raises(CommandError, match=why):
        run("keys", "rotate")


def test_a_lost_key_is_given_up_by_name(used: World, settings: LazySettings) -> None:
    """Else the canary would refuse every start for good. One that is there is not lost."""
    with nothing_happens(used.phone), pytest.raises(CommandError, match="is not lost"):
        run("keys", "rotate", "--lost", "old")
    settings.OPTIN_KEYS = {"new": NEW}
    with pytest.raises(CommandError, match="a key that this database needs"):
        run("keys", "rotate", "--lost", "another")

    output = run("keys", "rotate", "--lost", "old")

    assert "1 numbers open with no key of OPTIN_KEYS" in output
    assert Canary.objects.get().opens()
    assert newest_event().data["lost"] == "old"


# -- killed ------------------------------------------------------------------------

_SEED = """
from optin.models import Canary, File
from tests.keys.rings import add_numbers
Canary.objects.look()
add_numbers(File.objects.create(id=777, name="f"), {count})
"""
_COUNT = """
from tests.keys.rings import key_ids
from optin.models import Canary, ProviderUser
print(ProviderUser.objects.filter(number_encrypted__startswith="old:").count(), end=" ")
print(Canary.objects.get().key_id)
"""


@pytest.mark.slow
def test_killed_in_the_middle_and_again(tmp_path: Path) -> None:
    """S-63: it goes on where it stopped, and the canary says old until it is through."""
    count = 5000
    database = f"sqlite:///{tmp_path}/db.sqlite3"
    old = environment(tmp_path, database, {"old": OLD}, DIGEST)
    both = environment(tmp_path, database, BOTH, DIGEST)

    def shell(script: str) -> list[str]:
        done = python("manage.py", "shell", "-v", "0", "-c", script, env=old)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert python("manage.py", "migrate", env=old).returncode == 0
    shell(_SEED.format(count=count))

    command = [sys.executable, "manage.py", "keys", "rotate"]
    with subprocess.Popen(command, cwd=ROOT, env=both, stdout=subprocess.PIPE) as running:
        assert running.stdout
        running.stdout.readline()
        running.kill()
    assert running.returncode == -signal.SIGKILL

    left, canary = shell(_COUNT)
    assert 0 < int(left) < count
    assert int(left) % key_rotation.CHUNK == 0  # each chunk wholly or not at all
    assert canary == "old"
    done = python("manage.py", "keys", "rotate", env=both)
    assert done.returncode == 0, done.stderr
    assert f"Encrypted with the key new: {left} numbers, 0 apps, " in done.stdout
    new = environment(tmp_path, database, {"new": NEW}, DIGEST)
    assert python("-c", "import twofa_site.wsgi", env=new).returncode == 0


@pytest.mark.postgresql
def test_a_row_that_an_operation_holds_is_not_waited_for(
    used: World, other_file: File, stranger: User
) -> None:
    """It never waits, so it is part of no deadlock; the row is named as still under the old."""
    add_numbers(other_file, 2)
    held = used.row.pk
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM optin_provideruser WHERE id = %s FOR UPDATE", [held])
        done = key_rotation.rotate(origin=ORIGIN)
    finally:
        other.rollback()
        other.close()

    assert done.needed == {"old": Use(numbers=1)}
    assert key_rotation.rotate(origin=ORIGIN).needed == {}


@pytest.mark.postgresql
def test_no_change_is_lost_to_a_chunk(seen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that becomes active while its row is being encrypted again stays active."""
    reading, go_on = Event(), Event()
    seal_anew = ProviderUser.seal_anew

    def slowly(row: ProviderUser) -> None:
        reading.set()
        assert go_on.wait(10)
        seal_anew(row)

    monkeypatch.setattr(ProviderUser, "seal_anew", slowly)
    code = seen.code()
    with ThreadPoolExecutor(2) as pool:
        rotating = pool.submit(closing, lambda: key_rotation.rotate(origin=ORIGIN))
        assert reading.wait(10)
        guessing = pool.submit(closing, lambda: seen.guess(code))
        wait([guessing], timeout=0.5)  # it may be through, or wait for the chunk
        go_on.set()
        assert guessing.result().outcome is CodeOutcome.OK
        assert rotating.result().done == Use(numbers=1)

    assert (seen.row.confirmed, seen.row.open_number()) == (True, NUMBER)


@pytest.mark.postgresql
def test_no_app_is_lost_to_a_chunk(seen: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that is proved while its secret is being encrypted again is proved, and rotated."""
    secret = begin_app(seen.user)
    AuthenticatorApp.objects.update(secret_encrypted=sealed_with_old(secret, seen.user))
    read, go_on = Event(), Event()
    step_of = AuthenticatorApp.step_of

    def slowly(row: AuthenticatorApp, *args: Any) -> int | None:
        read.set()
        assert go_on.wait(10)
        return step_of(row, *args)

    monkeypatch.setattr(AuthenticatorApp, "step_of", slowly)
    with ThreadPoolExecutor(2) as pool:
        proving = pool.submit(closing, lambda: prove_app(seen.user, secret))
        assert read.wait(10)  # it has read the row as it was
        rotating = pool.submit(closing, lambda: key_rotation.rotate(origin=ORIGIN))
        assert rotating.result().done["apps"]
        go_on.set()
        assert proving.result().outcome is FactorOutcome.OK

    app = AuthenticatorApp.objects.get()
    assert (app.confirmed, app.open_secret()) == (True, secret)
    assert app.secret_encrypted.startswith("new:")


def sealed_with_old(secret: str, user: User) -> str:
    with override_settings(OPTIN_KEYS={"old": OLD}):
        return AuthenticatorApp.seal(secret, user.pk)
