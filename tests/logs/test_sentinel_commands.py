"""S-50: what the operators' commands print, log, mail and write holds no secret.

Each runs as an operator runs it, in a process of its own: as it should, refused, and
with settings that do not fit. Keys, old and new, are secrets as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.phone import wrong
from tests.kit.server import running
from tests.logs.sentinels import ANNS, BENS, CAMS, FAULTY, Scene, Secrets

pytestmark = pytest.mark.django_db(transaction=True)

MAIL_PASSWORD, DATABASE_PASSWORD = "sentinel-mail-password", "sentinel-database-password"
NOBODY = "127.0.0.1:1"


@dataclass(frozen=True)
class Keys:
    """The settings of the keys, as an operator changes them from one step to the next."""

    secrets: Secrets

    def ring(self, *names: str) -> dict[str, str]:
        """The ring of these keys, the first the current one."""
        return {"OPTIN_KEYS": ",".join(f"{name}:{self.one(f'{name} ring')}" for name in names)}

    def digest(self, name: str) -> dict[str, str]:
        return {"OPTIN_DIGEST_KEY": self.one(f"{name} digest")}

    def one(self, name: str) -> str:
        """The same key each time for *name*, and a secret from now on."""
        return self.secrets.add_key(f"key {name}", f"sentinel {name}".ljust(32, ".").encode())


@pytest.fixture
def keys() -> Keys:
    return Keys(Secrets())


@pytest.fixture
def scene(tmp_path: Path, keys: Keys) -> Iterator[Scene]:
    old = keys.ring("old") | keys.digest("old")
    with running(tmp_path, env=FAULTY | old, OPTIN_LOCK_AFTER="3") as site:
        scene = Scene(site, keys.secrets)
        scene.secrets.add("password of the mail server", MAIL_PASSWORD)
        scene.secrets.add("password of the database", DATABASE_PASSWORD)
        yield scene


@pytest.mark.slow
def test_no_secret_turns_up_where_commands_run(scene: Scene, keys: Keys) -> None:
    """S-50."""
    make_tenants(scene)
    opt_in(scene)
    stop_people(scene)
    rotate(scene, keys)
    leave_a_number_unread(scene, keys)
    after = {**keys.ring("new"), **keys.digest("old")}
    verify(scene, after)
    let_go(scene, after)
    break_down(scene, keys, after)

    assert scene.leaks() == {}
    # It was all there to be found.
    sent = (scene.site.folder / "sms.jsonl").read_text()
    assert scene.secrets.found_in(sent) >= {f"number {ANNS[3:]}", f"number {BENS[3:]}"}
    assert "Subject: " in "".join(scene.printed.values())


def make_tenants(scene: Scene) -> None:
    assert scene.command("file", "create", "Sentinel Stores", "--id", "4711") == 0
    assert scene.command("file", "add-member", "ann", "4711") == 0
    assert scene.command("access_key", "create", "ben", "4711") == 1
    key = scene.run_for_key("access_key", "create", "ann", "4711")
    path = f"/User/opt-out-from-2fa?FileId=4711&WsAccessKey={key}"
    # As somebody would who has the whole key at hand.
    assert scene.command("access_key", "revoke", "ann", key) == 0
    assert scene.site.send(path, {}).status == 401
    assert scene.command("password_clients", "on") == 0


def opt_in(scene: Scene) -> None:
    """One is opted in and signing in, one locked, and one got his text late."""
    pk = scene.call("ann", "opt-in-to-2fa", {"MobileNumber": ANNS}).json["ProviderUserId"]
    body = {"ProviderUserId": pk, "Otp": scene.code()}
    assert scene.call("ann", "verify-2fa-opt-in", body).status == 200
    assert scene.sign_in("token", "ann").status == 401
    scene.code()
    answer = scene.call("ben", "opt-in-to-2fa", {"MobileNumber": BENS}, 888)
    body = {"ProviderUserId": answer.json["ProviderUserId"], "Otp": wrong(scene.code())}
    for _ in range(3):
        scene.call("ben", "verify-2fa-opt-in", body, 888)
    # The server cannot make his text, for a fault whose words hold the number.
    scene.call("cam", "opt-in-to-2fa", {"MobileNumber": CAMS})
    assert scene.run("send_due").out.startswith("Sent 1.\n")
    scene.code()


def stop_people(scene: Scene) -> None:
    reason = ("--reason", "asked by phone")
    mail = {"EMAIL_URL": f"submission://optin:{MAIL_PASSWORD}@{NOBODY}"}
    assert scene.run("person", "unlock", "ben", *reason, **mail).out.startswith("Unlocked.")
    assert "Sent 1.\n" in scene.run("send_due").out  # the mail
    assert scene.command("person", "revoke-factor", "ben", *reason) == 1


def rotate(scene: Scene, keys: Keys) -> None:
    """Refused while something needs the old key, then done."""
    both = keys.ring("new", "old")
    assert scene.sign_in("token", "ann").status == 401
    scene.code()
    done = scene.run("keys", "rotate", **keys.ring("new"))
    assert "Nothing was done" in done.err
    assert "old (0 numbers, " in scene.run("keys", "rotate", **both).err  # codes on their way
    done = scene.run("keys", "rotate", HOURS_LATER="1", **both)
    assert "No other key than new is in use" in done.out


def leave_a_number_unread(scene: Scene, keys: Keys) -> None:
    """One number does not open any more; and a digest key is not the one of the data."""
    settings = {**keys.ring("new"), "HOURS_LATER": "1"}
    scene.site.sql(
        "UPDATE optin_provideruser SET number_encrypted = 'odd:' || substr(number_encrypted, 5) "
        "WHERE user_id IN (SELECT id FROM optin_user WHERE username = 'ben')"
    )
    done = scene.run("keys", "rotate", **settings | keys.digest("old"))
    assert "1 numbers open with no key" in done.err
    assert scene.command("purge", **settings | keys.digest("new")) == 1  # a check refuses it


def verify(scene: Scene, after: dict[str, str]) -> None:
    done = scene.run("verify_audit", "--seal", HOURS_LATER="2", **after)
    assert "1 seals" in done.out, done
    copies = scene.site.folder / "copies"
    copies.write_text(done.err)
    assert "1 copies" in scene.run("verify_audit", "--copies", str(copies), **after).out


def let_go(scene: Scene, after: dict[str, str]) -> None:
    reason = ("--reason", "asked by letter")
    assert scene.command("person", "revoke-factor", "ann", *reason, **after) == 0
    assert scene.command("person", "erase", "cam", "--yes", "--reason", "cam asked", **after) == 1
    assert scene.command("person", "erase", "cam", "--yes", *reason, **after) == 0
    assert scene.command("purge", HOURS_LATER="25", **after) == 0
    scene.show_people("demo", "--reset", **after)


def break_down(scene: Scene, keys: Keys, after: dict[str, str]) -> None:
    """Without an audit trail, without a database, and with keys that are none."""
    scene.site.sql("ALTER TABLE optin_auditevent RENAME TO away")
    try:
        assert scene.command("keys", "rotate", **after) == 1
        assert scene.command("person", "erase", "ben", "--yes", "--reason", "none", **after) == 1
        assert scene.command("purge", **after) == 1
        assert scene.command("verify_audit", **after) == 2
    finally:
        scene.site.sql("ALTER TABLE away RENAME TO optin_auditevent")
    away = {"DATABASE_URL": f"postgres://optin:{DATABASE_PASSWORD}@{NOBODY}/optin"}
    assert scene.command("verify_audit", **after, **away) == 2
    for wrong_keys in (
        {"OPTIN_KEYS": f"new:{keys.one('new ring')[:-4]}"},
        {"OPTIN_KEYS": ",".join([keys.ring("new")["OPTIN_KEYS"]] * 2)},
        {"OPTIN_DIGEST_KEY": keys.one("new digest")[:-4]},
    ):
        done = scene.run("keys", "rotate", **after | wrong_keys)
        assert done.status == 1
        assert done.err.startswith(next(iter(wrong_keys))), done
