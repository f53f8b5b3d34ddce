"""Settings: each reads its documented text, and each wrong value stops the start."""

import base64
import os
import subprocess
import sys
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.checks import run_checks
from hypothesis import given
from hypothesis import strategies as st

from optin import conf as conf_module
from optin.conf import MAX_HOST, Rate, conf, every_setting

SETTINGS = {setting.name: setting for setting in every_setting()}
KEY = bytes(range(224, 256))
KEY_TEXT = base64.urlsafe_b64encode(KEY).decode()
DAY = 86_400

DOCUMENTED: list[tuple[str, str, Any]] = [
    ("OPTIN_OTP_DIGITS", "6", 6),
    ("OPTIN_OTP_LIFETIME", "300", 300),
    ("OPTIN_OTP_TRIES", "3", 3),
    ("OPTIN_LOCK_AFTER", "5", 5),
    ("OPTIN_LOCK_SECONDS", "900,1800,3600,3600", (900, 1800, 3600, 3600)),
    ("OPTIN_LOCK_SECONDS", "60", (60,)),
    ("OPTIN_DISABLE_AFTER", "100", 100),
    ("OPTIN_RESEND_WAIT", "30,60,120", (30, 60, 120)),
    ("OPTIN_RESEND_WAIT", "0", (0,)),
    ("OPTIN_SENDS_PER_NUMBER", "5/600,10/86400", (Rate(5, 600), Rate(10, DAY))),
    ("OPTIN_SENDS_PER_USER", "10/86400", (Rate(10, DAY),)),
    ("OPTIN_SENDS_PER_IP", "25/300", (Rate(25, 300),)),
    ("OPTIN_SENDS_PER_IP", "0", ()),
    ("OPTIN_SENDS_PER_CLIENT", " 100/300 , 200/600 ", (Rate(100, 300), Rate(200, 600))),
    ("OPTIN_SENDS_PER_FILE", "1000/86400", (Rate(1000, DAY),)),
    ("OPTIN_SENDS_TOTAL", "0", ()),
    ("OPTIN_REQUESTS_PER_USER", "120/60", (Rate(120, 60),)),
    ("OPTIN_FAILED_SIGN_INS_PER_IP", "100/300", (Rate(100, 300),)),
    ("OPTIN_FAILED_SIGN_INS_PER_NAME", "10/300", (Rate(10, 300),)),
    ("OPTIN_SMS_REGIONS", "AU, NZ", ("AU", "NZ")),
    ("OPTIN_KEYS", f"k2:{KEY_TEXT},k1:{'A' * 43}", {"k2": KEY, "k1": bytes(32)}),
    ("OPTIN_DIGEST_KEY", KEY_TEXT, KEY),
    ("OPTIN_DIGEST_KEY", KEY_TEXT.rstrip("="), KEY),
    ("OPTIN_GATEWAYS", "simulator", ("simulator",)),
    ("OPTIN_DELIVERY", "inline", "inline"),
    ("LEGACY_ACCESS_KEYS", "False", False),
    ("LEGACY_ACCESS_KEYS", "1", True),
    ("TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8", (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
    ("TRUSTED_PROXIES", "", ()),
    ("BASE_URL", "https://2fa.example.com/", "https://2fa.example.com"),
    ("OPTIN_SERVICE_NAME", "Harbour Books", "Harbour Books"),
    ("OPTIN_AUDIT_RETENTION", "365", 365),
]

UNREADABLE = [
    ("OPTIN_OTP_DIGITS", "seven"),
    ("OPTIN_OTP_DIGITS", ""),
    ("OPTIN_OTP_DIGITS", "-7"),
    ("OPTIN_OTP_DIGITS", "\u0667"),
    ("OPTIN_OTP_LIFETIME", "10m"),
    ("OPTIN_OTP_LIFETIME", "600.0"),
    ("OPTIN_LOCK_SECONDS", "900,"),
    ("OPTIN_RESEND_WAIT", "30;60"),
    ("OPTIN_SENDS_PER_IP", "25"),
    ("OPTIN_SENDS_PER_IP", "25/5m"),
    ("OPTIN_SENDS_PER_IP", "25/300/1"),
    ("OPTIN_SENDS_PER_IP", ""),
    ("OPTIN_SENDS_PER_IP", "25/300,0"),
    ("OPTIN_DIGEST_KEY", "short"),
    ("OPTIN_DIGEST_KEY", KEY_TEXT + "AAAA"),
    ("OPTIN_DIGEST_KEY", "!" + KEY_TEXT),
    ("OPTIN_DIGEST_KEY", base64.b64encode(KEY).decode()),
    ("OPTIN_KEYS", KEY_TEXT),
    ("OPTIN_KEYS", f":{KEY_TEXT}"),
    ("OPTIN_KEYS", f"k1:{KEY_TEXT},k1:{KEY_TEXT}"),
    ("OPTIN_KEYS", f"{'k' * 17}:{KEY_TEXT}"),
    ("LEGACY_ACCESS_KEYS", "perhaps"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ("TRUSTED_PROXIES", "proxy.example.com"),
]

WRONG: list[tuple[str, Any]] = [
    ("OPTIN_OTP_DIGITS", 5),
    ("OPTIN_OTP_DIGITS", 8),
    ("OPTIN_OTP_LIFETIME", 0),
    ("OPTIN_OTP_LIFETIME", 601),
    ("OPTIN_OTP_TRIES", 0),
    ("OPTIN_OTP_TRIES", 11),
    ("OPTIN_LOCK_AFTER", 0),
    ("OPTIN_LOCK_SECONDS", ()),
    ("OPTIN_LOCK_SECONDS", (900, 0)),
    ("OPTIN_DISABLE_AFTER", 0),
    ("OPTIN_DISABLE_AFTER", 101),
    ("OPTIN_RESEND_WAIT", ()),
    ("OPTIN_RESEND_WAIT", (30, 3601)),
    *(
        (name, (rate,))
        for name, setting in SETTINGS.items()
        if setting.parse is conf_module.rates
        for rate in (Rate(0, 600), Rate(5, 0))
    ),
    ("OPTIN_SENDS_PER_NUMBER", (Rate(5, 600), Rate(10, 600))),
    ("OPTIN_SMS_REGIONS", ()),
    ("OPTIN_SMS_REGIONS", ("au",)),
    ("OPTIN_SMS_REGIONS", ("AU", "Australia")),
    ("OPTIN_KEYS", {}),
    ("OPTIN_KEYS", {"k1": b"short"}),
    ("OPTIN_DIGEST_KEY", b""),
    ("OPTIN_DIGEST_KEY", b"x" * 31),
    ("OPTIN_GATEWAYS", ()),
    ("OPTIN_DELIVERY", "pigeon"),
    ("BASE_URL", ""),
    ("BASE_URL", "2fa.example.com"),
    ("BASE_URL", "ftp://2fa.example.com"),
    ("BASE_URL", "https://"),
    ("BASE_URL", "https://2fa.example.com/path"),
    ("BASE_URL", "https://2fa.example.com?x=1"),
    ("BASE_URL", "https://user@2fa.example.com"),
    ("BASE_URL", "https://2fa.example.com:port"),
    ("BASE_URL", "https://\u00e9.example.com"),
    ("BASE_URL", f"https://{'a' * (MAX_HOST + 1)}"),
    ("OPTIN_AUDIT_RETENTION", 29),
    ("OPTIN_AUDIT_RETENTION", 36_501),
    ("OPTIN_SERVICE_NAME", ""),
    ("OPTIN_SERVICE_NAME", "n" * 21),
    ("OPTIN_SERVICE_NAME", "Caf\u00e9"),
    ("OPTIN_SERVICE_NAME", "`tick`"),
    ("OPTIN_SERVICE_NAME", "two\nlines"),
    ("OPTIN_SERVICE_NAME", "[two septets]"),
]


@pytest.mark.parametrize(("name", "text", "value"), DOCUMENTED)
def test_reads_the_documented_text(name: str, text: str, value: Any) -> None:
    read = SETTINGS[name].parse(text)
    assert read == value
    if name != "OPTIN_OTP_TRIES":
        assert SETTINGS[name].fault(read) == ""


def test_the_first_key_written_is_current() -> None:
    assert list(conf_module.ring(f"k2:{KEY_TEXT},k1:{KEY_TEXT}")) == ["k2", "k1"]


@pytest.mark.parametrize(("name", "text"), UNREADABLE)
def test_refuses_what_it_cannot_read(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        SETTINGS[name].parse(text)
    assert KEY_TEXT not in str(caught.value)


def test_each_setting_has_a_text_and_a_wrong_value() -> None:
    assert {name for name, _, _ in DOCUMENTED} == set(SETTINGS)
    any_value_goes = {"LEGACY_ACCESS_KEYS", "TRUSTED_PROXIES"}
    assert {name for name, _ in WRONG} == set(SETTINGS) - any_value_goes


def test_each_setting_says_what_it_is() -> None:
    assert len({setting.check_id for setting in SETTINGS.values()}) == len(SETTINGS)
    assert all(setting.__doc__ for setting in SETTINGS.values())


@pytest.mark.parametrize("name", SETTINGS)
def test_defaults_are_no_fault(name: str) -> None:
    """But for what has no default: the keys, and the address."""
    setting = SETTINGS[name]
    needed = name in {"OPTIN_KEYS", "OPTIN_DIGEST_KEY", "BASE_URL"}
    assert bool(setting.fault(setting.default)) is needed


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("otp_digits", 7),
        ("otp_lifetime", 600),
        ("otp_tries", 5),
        ("lock_after", 10),
        ("lock_seconds", (900, 1800, 3600, 3600)),
        ("disable_after", 50),
        ("resend_wait", (30, 60, 120)),
        ("sends_per_number", (Rate(5, 600), Rate(10, DAY))),
        ("sends_per_user", (Rate(5, 600), Rate(10, DAY))),
        ("sends_per_ip", (Rate(25, 300),)),
        ("sends_per_client", (Rate(100, 300),)),
        ("sends_per_file", (Rate(1000, DAY),)),
        ("sends_total", (Rate(10_000, DAY),)),
        ("requests_per_user", (Rate(120, 60),)),
        ("failed_sign_ins_per_ip", (Rate(100, 300),)),
        ("failed_sign_ins_per_name", (Rate(10, 300),)),
        ("sms_regions", ("AU",)),
        ("delivery", "inline"),
        ("legacy_access_keys", True),
        ("trusted_proxies", ()),
        ("audit_retention", 730),
    ],
)
def test_the_policy_numbers(name: str, default: Any) -> None:
    """Design, section 4."""
    assert getattr(type(conf), name).default == default


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_has_its_check(settings: LazySettings, name: str, value: Any) -> None:
    """S-62."""
    setattr(settings, name, value)
    found = {message.id: message for message in run_checks()}
    message = found[SETTINGS[name].check_id]
    assert message.msg.startswith(name)
    assert message.is_serious()


# -- what only shows together ------------------------------------------------------


@pytest.fixture
def production(settings: LazySettings) -> LazySettings:
    """Settings that no check of ours finds fault with, but for the gateway."""
    settings.DEBUG = False
    settings.BASE_URL = "https://2fa.example.com"
    settings.OPTIN_KEYS = {"k1": KEY}
    settings.OPTIN_DIGEST_KEY = KEY
    return settings


def ours() -> list[str]:
    """The ids of our own errors."""
    return [str(m.id) for m in run_checks() if m.is_serious() and str(m.id).startswith("optin.")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["optin.E103"]),
        ({"OPTIN_GATEWAYS": ("simulator", "pigeon")}, ["optin.E103", "optin.E105"]),
        ({"OPTIN_GATEWAYS": ("pigeon",)}, ["optin.E105"]),
        ({"BASE_URL": "http://2fa.example.com"}, ["optin.E102", "optin.E103"]),
        ({"DEBUG": True, "BASE_URL": "https://2fa.example.com"}, ["optin.E101"]),
        ({"DEBUG": True, "BASE_URL": "http://192.0.2.1:8000"}, ["optin.E101"]),
        ({"DEBUG": True, "BASE_URL": "http://127.0.0.1:8000"}, []),
        ({"DEBUG": True, "BASE_URL": "http://localhost:8000"}, []),
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


@pytest.mark.parametrize("sends", [True, False])
def test_a_deployment_without_mail_is_warned(production: LazySettings, sends: bool) -> None:
    """S-39."""
    production.SENDS_MAIL = sends
    found = {m.id for m in run_checks(include_deployment_checks=True)}
    assert ("optin.W201" in found) is not sends


# -- laws --------------------------------------------------------------------------

READERS = [
    conf_module.integer,
    conf_module.boolean,
    conf_module.integers,
    conf_module.words,
    conf_module.rates,
    conf_module.key,
    conf_module.ring,
    conf_module.networks,
]


@given(text=st.one_of(st.text(max_size=60), st.text("0123456789,/:. aA=_-", max_size=60)))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in READERS:
        with suppress(ValueError):
            read(text)


@given(value=st.lists(st.builds(Rate, st.integers(0), st.integers(0)), max_size=4))
def test_rates_are_read_as_written(value: list[Rate]) -> None:
    text = ",".join(f"{rate.count}/{rate.seconds}" for rate in value) or "0"
    assert conf_module.rates(text) == tuple(value)


key_ids = st.text("ak1-_.", min_size=1, max_size=16)
keys = st.binary(min_size=32, max_size=32)


@given(ring=st.dictionaries(key_ids, keys, min_size=1))
def test_rings_are_read_as_written(ring: dict[str, bytes]) -> None:
    text = ",".join(f"{kid}:{base64.urlsafe_b64encode(key).decode()}" for kid, key in ring.items())
    assert list(conf_module.ring(text).items()) == list(ring.items())


@given(value=st.text(max_size=40))
def test_any_address_is_judged_by_a_sentence(value: str) -> None:
    for text in (value, f"https://{value}"):
        assert isinstance(conf_module.address(text), str)


# -- the environment ---------------------------------------------------------------


def manage(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, with this environment and no other."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=Path(__file__).resolve().parents[2],
        env={
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(tmp_path),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_development_start_needs_no_variable(tmp_path: Path) -> None:
    done = manage(tmp_path, "check", "--fail-level", "WARNING")
    assert (done.returncode, "no issues" in done.stdout) == (0, True), done.stderr
    secret = tmp_path / "secret_key"
    assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OPTIN_OTP_DIGITS": "8"}, "optin.E001"),
        ({"OPTIN_OTP_LIFETIME": "900"}, "optin.E002"),
        ({"OPTIN_RESEND_WAIT": "soon"}, "OPTIN_RESEND_WAIT must be a whole number"),
        ({"DEBUG": "1", "BASE_URL": "https://2fa.example.com"}, "optin.E101"),
        ({"BASE_URL": "https://2fa.example.com"}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "s" * 50}, "optin.E102"),
        ({"SECRET_KEY": "s" * 50, "BASE_URL": "https://2fa.example.com"}, "optin.E018"),
        ({"SECRET_KEY": "s" * 50, "BASE_URL": "https://2fa.example.com"}, "optin.E103"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_dangerous_start_is_stopped(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    """S-62."""
    done = manage(tmp_path, "check", **environment)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "ring").write_text(f"k1:{KEY_TEXT}")
    done = manage(
        tmp_path,
        "shell",
        "--no-imports",
        "-c",
        "from optin.conf import conf; print(conf.keys, conf.sends_per_ip)",
        OPTIN_KEYS_FILE=str(tmp_path / "ring"),
        OPTIN_SENDS_PER_IP="1/2,3/4",
    )
    rates = (Rate(1, 2), Rate(3, 4))
    assert done.stdout.strip() == f"{ {'k1': KEY} } {rates}", done.stderr
