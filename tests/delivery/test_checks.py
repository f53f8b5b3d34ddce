"""What the checks say of texts before any leaves."""

from typing import Any

import pytest
from django.conf import LazySettings

from optin import checks
from optin.conf import MAX_HOST
from optin.messaging import wording
from optin.models import Purpose

KANNEL = {"OPTIN_GATEWAYS": ("kannel",), "OPTIN_RECEIPT_SECRET": "s" * 32}
TWILIO = KANNEL | {"OPTIN_GATEWAYS": ("twilio",)}
HERE = "http://127.0.0.1:13013/cgi-bin/sendsms"
THERE = "http://kannel.example.com:13013/cgi-bin/sendsms"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"OPTIN_GATEWAYS": ("simulator",)}, []),
        ({"OPTIN_GATEWAYS": ("kannel",)}, ["W204"]),
        ({"OPTIN_GATEWAYS": ("mine.Carrier",)}, ["W204"]),
        (KANNEL, []),
        (KANNEL | {"OPTIN_SENDERS": (("AU", "Harbour"),)}, ["W203"]),
        (KANNEL | {"OPTIN_SENDERS": (("AU", "+61491570156"),)}, []),
        (KANNEL | {"OPTIN_SENDERS": (("NZ", "Harbour"),)}, []),
        (
            KANNEL | {"OPTIN_SENDERS": (("AU", "Harbour"),), "OPTIN_SENDERS_REGISTERED": ("AU",)},
            [],
        ),
        (
            KANNEL | {"OPTIN_SENDERS": (("AU", "Harbour"),), "OPTIN_SMS_REGIONS": ("NZ",)},
            [],
        ),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_SENDER": "Harbour"}, ["W203"]),
        (KANNEL | {"OPTIN_GATEWAY_HTTP_SENDER": "Harbour"}, []),  # not in use
        (KANNEL | {"OPTIN_GATEWAY_TWILIO_SENDER": "Harbour"}, []),
        (TWILIO | {"OPTIN_GATEWAY_TWILIO_SENDER": "Harbour"}, ["W203"]),
        (TWILIO | {"OPTIN_GATEWAY_TWILIO_SENDER": "+61400000000"}, []),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_URL": HERE}, []),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_URL": THERE}, ["W205"]),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_URL": THERE.replace("http:", "https:")}, []),
    ],
)
def test_what_a_deployment_is_warned_of(
    settings: LazySettings, given: dict[str, Any], found: list[str]
) -> None:
    for name, value in given.items():
        setattr(settings, name, value)
    ids = [message.id for message in checks.check_delivery()]
    assert ids == [f"optin.{name}" for name in found]


def test_every_region_has_a_gateway(settings: LazySettings) -> None:
    given = KANNEL | {
        "OPTIN_GATEWAY_KANNEL_URL": HERE,
        "OPTIN_GATEWAY_KANNEL_USER": "optin",
        "OPTIN_GATEWAY_KANNEL_PASSWORD": "secret",
        "OPTIN_GATEWAY_KANNEL_REGIONS": ("AU",),
        "OPTIN_SMS_REGIONS": ("AU", "NZ"),
    }
    for name, value in given.items():
        setattr(settings, name, value)
    [error] = checks.check_gateways()
    assert (error.id, "serves NZ," in error.msg) == ("optin.E114", True)
    settings.OPTIN_GATEWAYS = ("kannel", "simulator")
    assert checks.check_gateways() == []


def test_the_longest_names_fit(settings: LazySettings) -> None:
    """S-43: in every language, for every purpose."""
    settings.OPTIN_SERVICE_NAME = "n" * 20
    settings.BASE_URL = f"https://{'h' * 38}.example.com"
    assert checks.check_texts() == []


def test_the_longest_link_of_a_removal_fits(settings: LazySettings) -> None:
    """With the setting only: without it no such text leaves."""
    settings.OPTIN_RECOVERY_DELAY = 86_400
    settings.OPTIN_SERVICE_NAME = "n" * 20
    settings.BASE_URL = f"https://{'h' * (MAX_HOST - 12)}.example.com"
    assert checks.check_texts() == []
    settings.BASE_URL += ":8443"
    found = [error.msg for error in checks.check_texts()]
    assert [msg.partition("(")[2] for msg in found] == ["en-au: removal).", "de: removal)."]
    settings.OPTIN_RECOVERY_DELAY = 0
    assert checks.check_texts() == []


@pytest.mark.parametrize("sign", ["\u2019", "{", "\u20ac", "\u0142"])
@pytest.mark.parametrize("language", ["en-au", "de"])
def test_a_translation_that_does_not_fit_stops_the_start(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch, sign: str, language: str
) -> None:
    settings.LANGUAGES = [(language, "One")]
    words = dict.fromkeys(Purpose, "to sign in") | {Purpose.CHANGE: f"to change{sign}"}
    monkeypatch.setattr(wording, "_PURPOSE_WORDS", words)
    [error] = checks.check_texts()
    assert error.id == "optin.E109"
    assert f"({language}: change)" in error.msg


def test_one_sign_too_many(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.LANGUAGES = [("en-au", "English")]
    fixed = len(wording._code_words("0" * 7, Purpose.OPT_IN)) - len(
        str(wording._PURPOSE_WORDS[Purpose.OPT_IN])
    )
    for length, errors in ((160 - fixed, 0), (161 - fixed, 4)):
        monkeypatch.setattr(wording, "_PURPOSE_WORDS", dict.fromkeys(Purpose, "x" * length))
        assert len(checks.check_texts()) == errors
