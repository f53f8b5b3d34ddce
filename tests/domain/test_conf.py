"""Settings: each reads its documented text, and each wrong value stops the start."""

import base64
import os
import runpy
import secrets
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import LazySettings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

import twofa_site.settings as settings_module
from optin.conf import MAX_HOST, MIN_OTP_LIFETIME, Rate, faults, parse
from optin.gateways import every_setting
from optin.messaging import delivery
from tests.kit.documents import OWN_SECRETS, production_environment

SETTINGS = {setting.name: setting for setting in every_setting()}
ROOT = Path(settings_module.__file__).resolve().parents[1]
KEY = bytes(range(224, 256))


def _pem(key: Any) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


KEY_TEXT = base64.urlsafe_b64encode(KEY).decode()
SECRET = "".join(map(chr, range(40, 100)))
RSA_KEY = _pem(rsa.generate_private_key(65537, 2048))

# The checks look at the canary of the keys.
pytestmark = pytest.mark.django_db

READ: list[tuple[str, str, Any]] = [
    ("OPTIN_OTP_DIGITS", "6", 6),
    ("OPTIN_LOCK_SECONDS", "900,1800, 3600", (900, 1800, 3600)),
    ("OPTIN_SENDS_PER_NUMBER", " 5/600 , 10/86400 ", (Rate(5, 600), Rate(10, 86_400))),
    ("OPTIN_SENDS_PER_IP", "0", ()),
    ("OPTIN_FICTIONAL_NUMBERS", " No ", "no"),
    ("OPTIN_CURRENCY", " NZD ", "NZD"),
    ("OPTIN_KEYS", f"k2:{KEY_TEXT},k1:{'A' * 43}", {"k2": KEY, "k1": bytes(32)}),
    ("OPTIN_DIGEST_KEY", KEY_TEXT.rstrip("="), KEY),
    ("OPTIN_OLD_DIGEST_KEYS", f"{KEY_TEXT}, {KEY_TEXT}", (KEY, KEY)),
    ("OPTIN_GATEWAY_CA", " ", ""),
    ("LEGACY_ACCESS_KEYS", "False", False),
    ("OPTIN_NO_PROXY", "1", True),
    ("TRUSTED_PROXIES", "", ()),
    ("TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8", (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
    ("BASE_URL", "https://2fa.example.com/", "https://2fa.example.com"),
    ("LOG_LEVEL", "debug", "DEBUG"),
    ("OPTIN_GATEWAY_HTTP_URL", " https://sms.example.com/?k=1 ", "https://sms.example.com/?k=1"),
    ("OPTIN_GATEWAY_HTTP_HEADERS", "A:1 || B: c, d:e ", (("A", "1"), ("B", "c, d:e"))),
    ("OPTIN_GATEWAY_HTTP_HEADERS", "A: 1\r\nB: 2\n\n", (("A", "1"), ("B", "2"))),
    ("OPTIN_GATEWAY_HTTP_TAKEN", "a.0.status = ok=1", ("a.0.status", "ok=1")),
    ("OPTIN_GATEWAY_HTTP_TAKEN", "error=", ("error", "")),
    ("OPTIN_GATEWAY_HTTP_PRICE", "0.0455", Decimal("0.0455")),
    ("OPTIN_GATEWAY_TWILIO_KEY", f"SK{'0A' * 16}", f"SK{'0A' * 16}"),
    ("OPTIN_GATEWAY_TWILIO_SENDER", "Harbour Bks", "Harbour Bks"),
    ("OPTIN_RECEIPT_SECRET", "A1b2" * 8, "A1b2" * 8),
    ("OPTIN_SENDERS", "AU:Harbour B, NZ:+6421555", (("AU", "Harbour B"), ("NZ", "+6421555"))),
    ("OPTIN_NEWEST_EVENT", " /var/lib/optin/newest ", "/var/lib/optin/newest"),
    ("OPTIN_RECOVERY_DELAY", "259200", 259_200),
    ("OPTIN_ALARM_EMAIL", "a@example.com, b@example.com", ("a@example.com", "b@example.com")),
]

UNREADABLE: dict[str, list[str]] = {
    "OPTIN_OTP_DIGITS": ["seven", "", "-7", "\u0667"],
    "OPTIN_LOCK_SECONDS": ["900,"],
    "OPTIN_SENDS_PER_IP": ["25", "25/5m", "25/300/1", "25/300,0"],
    "OPTIN_DIGEST_KEY": ["short", KEY_TEXT + "AAAA", "!" + KEY_TEXT],
    "OPTIN_OLD_DIGEST_KEYS": [f"{KEY_TEXT},short"],
    "OPTIN_OPENID_KEYS": [
        *("", " \n", "nonsense", f"{RSA_KEY}{RSA_KEY}"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        f"{_pem(ec.generate_private_key(ec.SECP256R1()))}",
        f"{_pem(rsa.generate_private_key(65537, 1024))}",  # noqa: S505
        f"{RSA_KEY}and more",
    ],
    "OPTIN_KEYS": [
        *(KEY_TEXT, f":{KEY_TEXT}", f"k1:{KEY_TEXT},k1:{KEY_TEXT}", f"{'k' * 17}:{KEY_TEXT}"),
    ],
    "LEGACY_ACCESS_KEYS": ["perhaps"],
    "OPTIN_GATEWAY_HTTP_HEADERS": [f"Authorization {KEY_TEXT}"],
    "OPTIN_GATEWAY_HTTP_TAKEN": ["ok", "=ok"],
    "TRUSTED_PROXIES": ["10.0.0.1/8", "proxy.example.com"],
    "OPTIN_GATEWAY_HTTP_PRICE": ["", "-1", "1000", "0.00001", "NaN", "1e9999999"],
    "OPTIN_SENDERS": ["Harbour", "AU:", ":Harbour"],
}

WRONG: dict[str, list[Any]] = {
    "OPTIN_FICTIONAL_NUMBERS": ["perhaps"],
    "OPTIN_OTP_DIGITS": [5, 8],
    "OPTIN_OTP_LIFETIME": [65, 601],
    "OPTIN_OTP_TRIES": [0, 11],
    "OPTIN_LOCK_SECONDS": [(), (59, 900), (900, 899), (900, 86_401), (900,) * 11],
    "OPTIN_DISABLE_AFTER": [0, 51],
    "OPTIN_RESEND_WAIT": [(), (30, 3601)],
    "OPTIN_SENDS_PER_NUMBER": [(Rate(5, 600), Rate(10, 600)), (Rate(0, 600),), (Rate(5, 0),)],
    "OPTIN_SMS_REGIONS": [(), ("AU", "Australia")],
    "OPTIN_KEYS": [{}, {"k1": b"short"}],
    "OPTIN_DIGEST_KEY": [b"x" * 31],
    "OPTIN_OLD_DIGEST_KEYS": [(KEY, b"x" * 31)],
    "OPTIN_GATEWAYS": [()],
    "OPTIN_GATEWAY_CA": ["/nowhere", __file__],
    "OPTIN_DELIVERY": ["pigeon"],
    "TRUSTED_PROXIES": [
        (ip_network("0.0.0.0/1"), ip_network("128.0.0.0/1")),
        (ip_network("::/1"),),
    ],
    "SECRET_KEY": ["s" * 50, "s3cr-" * 9],
    "TIME_ZONE": ["", "Sydney"],
    "LOG_LEVEL": ["LOUD"],
    "OPTIN_GATEWAY_HTTP_URL": [
        *("sms.example.com", "ftp://sms.example.com", "https://", "https://[::1"),
        *("https://me:secret@sms.example.com", "https://sms.example.com/ x"),
    ],
    "OPTIN_GATEWAY_HTTP_HEADERS": [
        *((("A b", "1"),), (("A", ""),), (("A", "1\r\nB: 2"),), (("A", "caf\u00e9"),)),
        *((("A", "1"), ("a", "2")), (("content-length", "1"),)),
    ],
    "OPTIN_GATEWAY_HTTP_REGIONS": [("au",)],
    "OPTIN_GATEWAY_KANNEL_USER": ["two\r\nlines"],
    "OPTIN_GATEWAY_TWILIO_ACCOUNT": [f"AC{'0' * 33}", f"SK{'0' * 32}", f"AC{'g' * 32}"],
    "OPTIN_GATEWAY_TWILIO_SENDER": ["HarbourBooks"],
    "OPTIN_WEBHOOK_PORTS": [(), (443, 0), (65_536,)],
    "OPTIN_RECEIPT_SECRET": ["a" * 31, "a" * 129, "a/" * 16],
    "OPTIN_SENDERS": [
        *((("Australia", "Harbour"),), (("AU", "Harbour"), ("AU", "Books"))),
        *((("AU", "HarbourBooks"),), (("AU", "Caf\u00e9"),), (("AU", "+1"),)),
    ],
    "BASE_URL": [
        *("2fa.example.com", "ftp://2fa.example.com", "https://", "https://2fa.example.com/path"),
        *("https://2fa.example.com?x=1", "https://user@2fa.example.com"),
        *("https://2fa.example.com:port", "https://\u00e9.example.com"),
        f"https://{'a' * (MAX_HOST + 1)}",
    ],
    "OPTIN_AUDIT_RETENTION": [29, 36_501],
    "OPTIN_SUPPORT": ["x" * 101, "two\nlines"],
    "OPTIN_NEWEST_EVENT": ["newest"],
    "OPTIN_RECOVERY_DELAY": [-1, 86_399, 1_209_601],
    "OPTIN_ALARM_EMAIL": [
        ("ops@example.com", "two words@example.com"),
        ("ops@x.com\nBcc: y@x.com",),
    ],
    "OPTIN_SERVICE_NAME": ["", "n" * 21, "Caf\u00e9", "two\nlines", "[two septets]"],
}


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_reads_what_is_written(name: str, text: str, value: object) -> None:
    """One text for each way to write something, and each way that is right."""
    read = SETTINGS[name].parse(text)
    assert (read, SETTINGS[name].fault(read)) == (value, "")


def test_the_first_key_written_is_current() -> None:
    assert list(parse.ring(f"k2:{KEY_TEXT},k1:{KEY_TEXT}")) == ["k2", "k1"]


@pytest.mark.parametrize("name", UNREADABLE)
def test_refuses_what_it_cannot_read(name: str) -> None:
    for text in UNREADABLE[name]:
        with pytest.raises(ValueError, match=r".") as caught:
            SETTINGS[name].parse(text)
        assert KEY_TEXT not in str(caught.value)


def test_each_setting_says_what_it_is_and_its_default_is_right() -> None:
    """But for what has no default: the keys, and the address."""
    assert len({setting.check_id for setting in SETTINGS.values()}) == len(SETTINGS)
    assert all(setting.__doc__ for setting in SETTINGS.values())
    wrong = {name for name, setting in SETTINGS.items() if setting.fault(setting.default)}
    assert wrong == {"OPTIN_KEYS", "OPTIN_DIGEST_KEY", "BASE_URL", "SECRET_KEY"}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_a_fault(name: str) -> None:
    """S-62."""
    for value in WRONG[name]:
        fault = SETTINGS[name].fault(value)
        assert fault, value
        assert "secret" not in fault


# -- what only shows together ------------------------------------------------------


HTTP = {
    "OPTIN_GATEWAYS": ("http",),
    "OPTIN_GATEWAY_HTTP_URL": "https://sms.example.com/send?key=secret",
    "OPTIN_GATEWAY_HTTP_BODY": '{"to": "{to}", "text": "{body}"}',
}
"""What the gateway http must be told."""
TWILIO = {
    "OPTIN_GATEWAYS": ("twilio",),
    "OPTIN_GATEWAY_TWILIO_ACCOUNT": f"AC{'0' * 32}",
    "OPTIN_GATEWAY_TWILIO_TOKEN": "t0ken",
    "OPTIN_GATEWAY_TWILIO_SENDER": "Books",
}


def typed(content_type: str) -> dict[str, Any]:
    return {"OPTIN_GATEWAY_HTTP_HEADERS": (("content-type", content_type),)}


@pytest.fixture
def production(settings: LazySettings) -> LazySettings:
    """Settings that no check of ours finds fault with, but for the gateway."""
    settings.DEBUG = False
    settings.BASE_URL = "https://2fa.example.com"
    settings.OPTIN_KEYS = {"k1": KEY}
    settings.OPTIN_DIGEST_KEY = KEY[::-1]
    return settings


def ours() -> list[str]:
    """The ids of our own errors."""
    return [str(m.id) for m in run_checks() if m.is_serious() and str(m.id).startswith("optin.")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"OPTIN_GATEWAYS": ("simulator", "pigeon")}, ["optin.E103", "optin.E105"]),
        (HTTP, []),
        ({**HTTP, "OPTIN_GATEWAY_HTTP_URL": ""}, ["optin.E106"]),
        ({**HTTP, "OPTIN_GATEWAY_HTTP_URL": "http://sms.example.com/"}, ["optin.E106"]),
        ({**HTTP, "OPTIN_GATEWAY_HTTP_BODY": '{"text": "{body}"}'}, ["optin.E106"]),
        ({**HTTP, "OPTIN_GATEWAY_HTTP_BODY": "to={to}&text={body}"}, ["optin.E106"]),
        ({**HTTP, **typed("application/x-www-form-urlencoded")}, ["optin.E106"]),
        ({**HTTP, **typed("text/plain")}, ["optin.E106"]),
        ({**HTTP, **typed("Application/JSON; charset=utf-8")}, []),
        (TWILIO, []),
        ({**TWILIO, "OPTIN_GATEWAY_TWILIO_URL": "http://api.example.com"}, ["optin.E106"]),
        ({**HTTP, "OPTIN_DIGEST_KEY": KEY}, ["optin.E107"]),
        ({"BASE_URL": "http://2fa.example.com"}, ["optin.E102", "optin.E103"]),
        ({"DEBUG": True, "BASE_URL": "https://2fa.example.com"}, ["optin.E101"]),
        ({"DEBUG": True, "BASE_URL": "http://[::1]:8000"}, []),
    ],
    ids=str,
)
def test_dangerous_together(
    production: LazySettings, changes: dict[str, Any], expected: list[str]
) -> None:
    """S-62."""
    for name, value in changes.items():
        setattr(production, name, value)
    assert ours() == expected


def test_atomic_requests_are_refused(production: LazySettings) -> None:
    databases = production.DATABASES
    production.DEBUG, production.BASE_URL = True, "http://127.0.0.1:8000"
    databases["default"]["ATOMIC_REQUESTS"] = True
    try:
        assert ours() == ["optin.E104"]
    finally:
        databases["default"]["ATOMIC_REQUESTS"] = False


def test_what_a_gateway_lacks_is_told_without_its_secrets(production: LazySettings) -> None:
    for name, value in {**HTTP, "OPTIN_GATEWAY_HTTP_BODY": '{"secret": "'}.items():
        setattr(production, name, value)
    [found] = [message for message in run_checks() if message.id == "optin.E106"]
    assert "OPTIN_GATEWAY_HTTP_BODY" in found.msg
    assert found.hint
    assert "secret" not in f"{found.msg} {found.hint}"


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("W201", {"SENDS_MAIL": False}, {"SENDS_MAIL": True}),
        ("W202", {"ENGINE": "sqlite3"}, {"ENGINE": "sqlite3", "DEBUG": True}),
        ("W202", {"ENGINE": "sqlite3"}, {"ENGINE": "postgresql"}),
        ("W206", {}, {"TRUSTED_PROXIES": (ip_network("10.0.0.0/8"),)}),
        ("W206", {}, {"OPTIN_NO_PROXY": True}),
        ("W206", {}, {"DEBUG": True}),
        ("W208", {"OPTIN_NEWEST_EVENT": ""}, {"OPTIN_NEWEST_EVENT": "/newest"}),
        ("W209", {"OPTIN_SUPPORT": ""}, {"OPTIN_SUPPORT": "+61 2 5550 1234"}),
        ("W213", {"OPTIN_OTP_DIGITS": 6}, {"OPTIN_OTP_DIGITS": 7}),
    ],
)
def test_a_deployment_is_warned(
    production: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wrong: dict[str, Any],
    right: dict[str, Any],
) -> None:
    """S-39."""
    for changes, is_wrong in ((wrong, True), (right, False)):
        for setting, value in changes.items():
            if setting == "ENGINE":
                monkeypatch.setitem(production.DATABASES["default"], setting, value)
            else:
                setattr(production, setting, value)
        found = [m.id for m in run_checks(include_deployment_checks=True)]
        assert (f"optin.{name}" in found) is is_wrong


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("OPTIN_SERVICENAME", "Did you mean OPTIN_SERVICE_NAME?"),
        ("OPTIN_GATEWAY_HTTP_UR_FILE", "Did you mean OPTIN_GATEWAY_HTTP_URL?"),
        ("OPTIN_QWERTYUIOP_ASDFGHJKL", "Remove it."),
        ("OPTIN_KEYS_COMMAND", None),
        ("OPTIN_SENDS_PER_FILE", None),
        ("OPTIN_GATEWAY_HARBOUR_KEY", None),
    ],
)
def test_a_name_with_a_typing_error_is_warned(
    production: LazySettings, name: str, hint: str | None
) -> None:
    production.OPTIN_VARIABLES = [name]
    found = [m for m in run_checks(include_deployment_checks=True) if m.id == "optin.W210"]
    assert [(m.msg, m.hint) for m in found] == (
        [(f"There is no setting {name}.", hint)] if hint else []
    )


# -- laws --------------------------------------------------------------------------


@given(value=st.text(max_size=40))
@pytest.mark.slow
def test_any_address_is_judged_by_a_sentence(value: str) -> None:
    for text in (value, f"https://{value}"):
        assert isinstance(faults.address(text), str)


# -- the environment ---------------------------------------------------------------


def run(tmp_path: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with this environment and no other."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_a_development_start_needs_no_variable(tmp_path: Path) -> None:
    done = run(tmp_path, "manage.py", "check", "--fail-level", "WARNING")
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


PRODUCTION = {
    "SECRET_KEY": SECRET,
    "BASE_URL": "https://2fa.example.com",
    "OPTIN_KEYS": f"k1:{KEY_TEXT}",
    "OPTIN_DIGEST_KEY": base64.urlsafe_b64encode(KEY[::-1]).decode(),
    "OPTIN_GATEWAYS": "http",
    "OPTIN_GATEWAY_HTTP_URL": "https://sms.example.com/send",
    "OPTIN_GATEWAY_HTTP_BODY": '{"to": "{to}", "text": "{body}"}',
}
"""All that a start without DEBUG needs."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, "", marks=pytest.mark.slow),
        ({"OPTIN_GATEWAYS": "simulator"}, "optin.E103"),
        ({"OPTIN_KEYS": "k1:c2hvcnQ"}, "OPTIN_KEYS must be 32 bytes long, not 5 (optin.E018)"),
        pytest.param({"SECRET_KEY": ""}, "SECRET_KEY", marks=pytest.mark.slow),
    ],
)
def test_a_dangerous_start_is_stopped(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    """S-62: that of an application server, which runs no command."""
    script = "import twofa_site.wsgi; print('serving')"
    done = run(tmp_path, "-c", script, **PRODUCTION | changes)
    assert (done.returncode, done.stdout) == ((1, "") if said else (0, "serving\n")), done.stderr
    assert said in done.stderr


SHELL = ("manage.py", "shell", "--no-imports", "-c")
BY_COMMAND = {"OPTIN_KEYS": ""}
"""The ring is not given but by a command."""


def named(value: object) -> str | None:
    return ",".join(f"{k}={v}"[:40] for k, v in value.items()) if isinstance(value, dict) else ""


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DEBUG": "perhaps"}, "DEBUG must be true or false (optin.E110)."),
        ({"PORT": "70000"}, "PORT must be from 1 to 65535 (optin.E111)."),
        ({"DATABASE_URL": "postgres://me:letmein@db.example.com:port/optin"}, "(optin.E112)."),
        ({"DATABASE_URL": "postgres://me:letmein/@db.example.com/optin"}, "(optin.E112)."),
        ({"EMAIL_URL": "submission://me:letmein@mail.example.com:port"}, "(optin.E113)."),
        ({"EMAIL_URL": "file:///var/mails"}, "(optin.E113)."),
        ({"TIME_ZONE": "Sydney"}, "TIME_ZONE must be the name of a time zone"),
        ({"TRUSTED_PROXIES": "letmein"}, "TRUSTED_PROXIES must be networks"),
        ({"OPTIN_GATEWAY_HTTP_HEADERS": "letmein"}, "(optin.E031)."),
        ({"SECRET_KEY": "", "SECRET_KEY_FILE": "/nowhere"}, "SECRET_KEY_FILE must be a file"),
        ({"OPTIN_KEYS_FILE": "/nowhere"}, "OPTIN_KEYS_FILE must be a file"),
        (BY_COMMAND | {"OPTIN_KEYS_COMMAND": "/nowhere letmein"}, "failed: FileNotFoundError."),
        (BY_COMMAND | {"OPTIN_KEYS_COMMAND": "/bin/false"}, "OPTIN_KEYS_COMMAND ended with 1."),
        (BY_COMMAND | {"OPTIN_KEYS_COMMAND": "/bin/true"}, "OPTIN_KEYS_COMMAND printed nothing."),
        (BY_COMMAND | {"OPTIN_KEYS_COMMAND": "/bin/echo letmein"}, "OPTIN_KEYS must be kid:base64"),
        ({"OPTIN_KEYS_COMMAND": "/bin/echo"}, "Give OPTIN_KEYS_COMMAND or OPTIN_KEYS, not both."),
        (
            BY_COMMAND | {"OPTIN_KEYS_COMMAND": "/bin/echo", "OPTIN_KEYS_FILE": "/dev/null"},
            "Give OPTIN_KEYS_COMMAND or OPTIN_KEYS_FILE, not both.",
        ),
    ],
    ids=named,
)
def test_what_cannot_be_read_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    """Without the value, which may be a secret."""
    environment = {"DATA_DIR": str(tmp_path), **PRODUCTION, **environment}
    monkeypatch.setattr(os, "environ", environment)
    with pytest.raises(ImproperlyConfigured) as caught:
        runpy.run_path(settings_module.__file__)
    assert said in str(caught.value)
    assert "letmein" not in "".join(traceback.format_exception(caught.value))


def test_quotes_around_a_value_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A shell and systemd take them off, docker's --env-file does not."""
    file = production_environment() | OWN_SECRETS
    bare = {name: text.strip("'") for name, text in file.items()}
    quoted = [{name: f"{quote}{bare[name]}{quote}" for name in bare} for quote in "'\""]
    read = []
    for environment in (bare, file, *quoted):
        monkeypatch.setattr(os, "environ", {"DATA_DIR": str(tmp_path), **environment})
        found = runpy.run_path(settings_module.__file__)
        names = [setting.name for setting in every_setting()]
        read.append([found[name] for name in (*names, "DATABASES", "_email", "DEFAULT_FROM_EMAIL")])
    assert read[1:] == [read[0]] * 3


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "ring").write_text(f"k1:{KEY_TEXT}\n")
    done = run(
        tmp_path,
        *SHELL,
        "from optin.conf import conf; print(conf.keys, conf.sends_per_ip)",
        OPTIN_KEYS_FILE=str(tmp_path / "ring"),
        OPTIN_SENDS_PER_IP="1/2,3/4",
    )
    rates = (Rate(1, 2), Rate(3, 4))
    assert done.stdout.strip() == f"{ {'k1': KEY} } {rates}", done.stderr


def test_a_secret_may_come_from_a_command(tmp_path: Path) -> None:
    """It runs once, without a shell, and leaves no secret in the environment."""
    store = tmp_path / "store"
    (tmp_path / "secret").write_text(SECRET)
    store.write_text(f'#!/bin/sh\ncd {tmp_path}\necho "$1" >> runs\ncat secret\n')
    store.chmod(0o700)
    done = run(
        tmp_path,
        *SHELL,
        "import os; from django.conf import settings; "
        "print(settings.SECRET_KEY, os.environ.get('SECRET_KEY'))",
        SECRET_KEY_COMMAND=f"{store} 'of the $HOME'",
        DEBUG="1",
    )
    assert done.stdout.strip() == f"{SECRET} None", done.stderr
    assert (tmp_path / "runs").read_text() == "of the $HOME\n"


def test_lifetimes_are_those_of_the_standard_endpoints_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lifetimes = {"OPTIN_ACCESS_TOKEN_LIFETIME": "10800", "OPTIN_REFRESH_TOKEN_LIFETIME": "31536000"}
    monkeypatch.setattr(os, "environ", {"DATA_DIR": str(tmp_path), **lifetimes})
    toolkit = runpy.run_path(settings_module.__file__)["OAUTH2_PROVIDER"]
    assert toolkit["ACCESS_TOKEN_EXPIRE_SECONDS"] == 10_800
    assert toolkit["REFRESH_TOKEN_EXPIRE_SECONDS"] == 31_536_000
    assert toolkit["ROTATE_REFRESH_TOKEN"] is True


def test_a_code_of_the_shortest_life_can_still_be_sent() -> None:
    assert timedelta(seconds=MIN_OTP_LIFETIME) > delivery.WORTH_IT


def test_processes_that_start_at_once_have_one_development_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads it before it is there."""
    with ThreadPoolExecutor(8) as pool:
        for n in range(100):
            monkeypatch.setattr(settings_module, "DATA_DIR", tmp_path / str(n))
            made = partial(secrets.token_urlsafe, 48)
            calls = [pool.submit(settings_module._kept, "secret_key", made) for _ in range(8)]
            (secret,) = {call.result() for call in calls}
            assert len(secret) == 64
