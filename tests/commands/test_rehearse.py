"""``limits rehearse``: what attacks come to with the shipped settings (G-05).

They are played in a process of its own, over an hour, on SQLite whatever ``DATABASE_URL`` is.
"""

import base64
import json
import re
import secrets
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from tests.kit.commands import run
from tests.kit.server import PRESENT
from tools.rehearsals import playing
from tools.rehearsals.attacks import ATTACKS

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
PRODUCTION = {
    "BASE_URL": "https://2fa.example.com",
    "SECRET_KEY": secrets.token_hex(32),
    "OPTIN_KEYS": f"now:{KEY}",
    "OPTIN_DIGEST_KEY": KEY,
    # Nobody listens there.
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "EMAIL_URL": "smtp://127.0.0.1:1",
    "OPTIN_DELIVERY": "worker",
    "OPTIN_GATEWAYS": "http",
    "OPTIN_GATEWAY_HTTP_URL": "https://127.0.0.1:1/",
    "OPTIN_GATEWAY_HTTP_BODY": '{"to": "{to}", "text": "{body}"}',
    "OPTIN_GATEWAY_HTTP_PRICE": "0.045",
    "OPTIN_SUPPORT": "support@example.com",
}
OFF = (
    *("OPTIN_SENDS_PER_NUMBER", "OPTIN_SENDS_PER_USER", "OPTIN_SENDS_PER_IP"),
    *("OPTIN_SENDS_PER_CLIENT", "OPTIN_BREAKER_UNPROVED"),
    *("OPTIN_FAILED_SIGN_INS_PER_IP", "OPTIN_SIGN_INS_PER_IP"),
)


@pytest.fixture(scope="module")
def shipped() -> dict[str, dict[str, Any]]:
    """The report of each attack, with the shipped settings."""
    found = json.loads(run("limits", "rehearse", "all", "--short", "--json"))
    return {one["attack"]: one for one in found}


def measured(report: dict[str, Any]) -> dict[str, tuple[int, bool]]:
    """What was measured for each part of the promise, and whether that is kept."""
    return {one["says"]: (one["measured"], one["is_kept"]) for one in report["bounds"]}


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_shipped_settings_keep_the_promise(
    shipped: dict[str, dict[str, Any]], attack: str
) -> None:
    """G-05."""
    report = shipped[attack]
    assert report["is_kept"], report["bounds"]
    assert report["first_refusal"] is not None
    assert report["texts"] > 0
    honest = report["honest"]
    assert honest["visits"] > 150
    assert honest["succeeded"] >= 0.99 * honest["visits"]


@pytest.mark.slow
def test_pumping_is_stopped_and_seen(shipped: dict[str, dict[str, Any]]) -> None:
    """G-05. Whatever share is verified; with an alarm for each prefix, when it is closed.

    It goes on for 20 minutes of one hour of the clock, and 30 of the next.
    """
    report = shipped["pumping"]
    assert measured(report)["Texts under one prefix in an hour of the clock"] == (100, True)
    by_share = {int(of): int(n) for of, n in re.findall(r"(\d+) %: (\d+)", report["note"])}
    assert by_share[0] == 20 < by_share[12] <= 25
    assert [100 < by_share[share] <= 200 for share in (25, 30, 50)] == [True] * 3
    assert [alarm["name"] for alarm in report["alarms"]] == ["prefix"] * 5
    assert report["alarms"][0]["at"] == report["first_refusal"]
    # The price of closing it: whoever has a number there is refused too, and the report says so.
    assert report["honest"]["hits"] == {"prefix": 1}


@pytest.mark.slow
def test_people_who_are_attacked_without_their_password_get_in(
    shipped: dict[str, dict[str, Any]],
) -> None:
    """G-05."""
    for attack in ("lockout", "bombing"):
        attacked = shipped[attack]["attacked"]
        assert attacked["succeeded"] == attacked["visits"] > 0
    # With it, the codes of an account can be locked: that is told apart, not hidden.
    assert shipped["guessing"]["attacked"]["hits"]["locked"] > 0


@pytest.mark.slow
def test_without_limits_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OFF:
        monkeypatch.setenv(name, "0")
    out = StringIO()
    with pytest.raises(CommandError, match="broken"):
        call_command(
            "limits", "rehearse", "pumping", "spraying", "bombing", "--short", "--json", stdout=out
        )
    pumping, spraying, bombing = map(measured, json.loads(out.getvalue()))
    assert pumping["Texts under one prefix in an hour of the clock"] > (100, False)
    assert spraying["Wrong passwords from one address in 5 minutes"] > (100, False)
    assert bombing["Texts of strangers to one number in 24 hours"] > (20, False)


@pytest.mark.slow
def test_it_needs_neither_the_database_nor_a_gateway(
    shipped: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """G-05. Nor a mail server or Redis. The same seed plays the same, and nothing stays behind."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    ledger = tmp_path / "ledger.log"
    env = {**PRODUCTION, "DATA_DIR": str(tmp_path / "var"), "TMPDIR": str(temporary)}
    env["OPTIN_LEDGER"] = str(ledger)
    done = PRESENT.manage("limits", "rehearse", "bombing", "--short", "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (report,) = json.loads(done.stdout)
    assert report["cost"] == "0.450"
    prices = {"price": "0.045", "cost": "0.450"}
    assert report == {**shipped["bombing"], **prices}
    assert list(temporary.iterdir()) == []
    assert not ledger.exists()
    assert not re.search(r"\+?61\d{9}", done.stdout), "no number"


def test_nothing_is_played_with_the_settings_of_the_service() -> None:
    with pytest.raises(ImproperlyConfigured, match="settings of its own"):
        next(playing.play(["bombing"], seed=1, is_short=True, region="AU"))


def test_what_cannot_be_played_is_refused_at_once() -> None:
    with pytest.raises(CommandError, match="NZ is none of OPTIN_SMS_REGIONS"):
        run("limits", "rehearse", "pumping", "--region", "NZ")
    with pytest.raises(CommandError, match="invalid choice"):
        run("limits", "rehearse", "fire")
