"""What is wrong with texts is found before any leaves (G-06)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.checks import run_checks
from django.utils.translation import trans_real

from optin.conf import MAX_HOST
from optin.messaging import wording
from optin.messaging.segments import size
from optin.models import Purpose
from tools import checks, lint
from tools.lint import Fault
from tools.routes import read_plan

CODE = "%(code)s is your %(service)s code %(purpose)s. Do not share it."
FAREWELL = (
    "Your %(service)s account now uses another mobile number. If this was not you, look "
    "at our email or contact support."
)
REMOVAL = "%(service)s turns off two-factor sign-in on %(day)s. Cancel: %(link)s"
OPT_OUT = "to turn OFF two-factor sign-in"
SIGN_IN = "to sign in"

KANNEL: dict[str, Any] = {
    "OPTIN_GATEWAYS": ("kannel",),
    "OPTIN_GATEWAY_KANNEL_URL": "http://127.0.0.1:13013/cgi-bin/sendsms",
    "OPTIN_GATEWAY_KANNEL_USER": "optin",
    "OPTIN_GATEWAY_KANNEL_PASSWORD": "secret",
    "OPTIN_GATEWAY_KANNEL_SENDER": "+61491570156",
    "OPTIN_SMS_REGIONS": ("GB",),
}
HTTP: dict[str, Any] = {
    "OPTIN_GATEWAYS": ("http",),
    "OPTIN_GATEWAY_HTTP_BODY": '{"to": "{to}", "from": "{sender}", "text": "{body}"}',
    "OPTIN_SMS_REGIONS": ("GB",),
}
LONGEST: dict[str, Any] = {
    "OPTIN_SERVICE_NAME": "n" * 20,
    "BASE_URL": f"https://{'h' * (MAX_HOST - 12)}.example.com",
    "OPTIN_RECOVERY_DELAY": 86_400,
}


@pytest.fixture
def translate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Change words of the German catalogue."""

    def change(words: Mapping[str, str]) -> None:
        german = trans_real.translation("de")
        known = german.gettext
        monkeypatch.setattr(german, "gettext", lambda text: words.get(text) or known(text))

    return change


def found() -> set[tuple[str, str, str]]:
    return {(one.fault.value, one.kind, one.language) for one in lint.report()}


# -- faults in translations --------------------------------------------------------

EVERY = tuple(purpose.value for purpose in Purpose)

SEEDED = [
    pytest.param(
        {SIGN_IN: "zum Anmelden, s\u00eeg"}, {}, Fault.NOT_GSM_7, ["sign_in"], id="accent"
    ),
    pytest.param(
        # 160 signs, of which one takes two places.
        {FAREWELL: "%(service)s" + 149 * "x" + "\u20ac"},
        {},
        Fault.TOO_LONG,
        ["farewell"],
        id="euro-takes-two",
    ),
    pytest.param(
        # It fits with 28 Dezember, and not with 28 September.
        {"j M": "j F", REMOVAL: "%(service)s %(day)s %(link)s" + 90 * "x"},
        {"OPTIN_RECOVERY_DELAY": 86_400},
        Fault.TOO_LONG,
        ["removal"],
        id="longest-month-of-a-removal",
    ),
    pytest.param(
        {CODE: "%(service)s: %(code)s %(purpose)s."},
        {},
        Fault.CODE_NOT_FIRST,
        EVERY,
        id="code-late",
    ),
    pytest.param({CODE: "%(code)s %(purpose)s."}, {}, Fault.NO_SERVICE, EVERY, id="no-service"),
    pytest.param(
        {CODE: "%(code)s: Code von %(service)s."}, {}, Fault.NO_PURPOSE, EVERY, id="no-purpose"
    ),
    pytest.param(
        {CODE: "%(cod)s: Code von %(service)s %(purpose)s."},
        {},
        Fault.UNWRITABLE,
        EVERY,
        id="other-placeholder",
    ),
]


@pytest.mark.parametrize(("words", "given", "fault", "kinds"), SEEDED)
def test_a_fault_in_a_translation_is_named(
    settings: LazySettings,
    translate: Callable[[Mapping[str, str]], None],
    words: dict[str, str],
    given: dict[str, Any],
    fault: Fault,
    kinds: list[str],
) -> None:
    """S-43, G-06. By its text and its language, and nothing else is."""
    for name, value in given.items():
        setattr(settings, name, value)
    translate(words)
    assert found() == {(fault.value, kind, "de") for kind in kinds}
    # The checks tell the same, and stop the start.
    told = checks.check_texts()
    assert {one.id for one in told} <= {"optin.E109", "optin.E121"}
    assert len(told) == len(kinds)
    assert all(" in de " in one.msg and one.hint for one in told)


def test_a_text_that_just_fits(translate: Callable[[Mapping[str, str]], None]) -> None:
    translate({FAREWELL: "%(service)s" + 148 * "x" + "\u20ac"})
    assert found() == set()


def test_a_sign_that_cannot_be_seen_is_named(
    translate: Callable[[Mapping[str, str]], None],
) -> None:
    translate({SIGN_IN: "zum\u00a0Anmelden", OPT_OUT: "ab\u2019zum AUSschalten"})
    first, second = lint.report()
    assert "(U+00A0)" in first.text
    assert "\u2019 (U+2019)" in second.text


# -- faults in the last line -------------------------------------------------------


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "\n\n@2fa.example.com #0000000\nThank you.",
        "\n\n@2fa.example.com #000000",
        "\n\n@2fa.example.com:8443 #0000000",
    ],
)
def test_a_fault_in_the_last_line_is_named(ending: str) -> None:
    sample = wording.samples()[0]
    words = sample.body.partition("\n")[0]
    findings = lint.lint([replace(sample, body=words + ending)], read_plan())
    assert [one.fault for one in findings] == [Fault.ORIGIN_NOT_LAST]


# -- faults in settings ------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"BASE_URL": "https://b\u00fccher.example.com"}, Fault.HOST),
        ({"BASE_URL": "https://[1"}, Fault.HOST),
        ({"OPTIN_SERVICE_NAME": "Anne\u2019s"}, Fault.NOT_GSM_7),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_SENDER": "12"}, Fault.SENDER),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_SENDER": "+0491570156"}, Fault.SENDER),
        (HTTP | {"OPTIN_GATEWAY_HTTP_SENDER": "12 34"}, Fault.SENDER),
        # Once for all regions.
        (
            KANNEL | {"OPTIN_SMS_REGIONS": ("NZ", "DE"), "OPTIN_GATEWAY_KANNEL_SENDER": "1"},
            Fault.SENDER,
        ),
        (KANNEL | {"OPTIN_SENDERS": (("GB", "HarbourBooks"),)}, Fault.SENDER),
        (
            KANNEL | {"OPTIN_SMS_REGIONS": ("CA",), "OPTIN_SENDERS": (("CA", "Harbour"),)},
            Fault.SENDER_IN_REGION,
        ),
        (
            KANNEL | {"OPTIN_SMS_REGIONS": ("AU",), "OPTIN_GATEWAY_KANNEL_SENDER": "Harbour"},
            Fault.SENDER_UNREGISTERED,
        ),
        ({"OPTIN_SENDS_TOTAL": ()}, Fault.NO_CEILING),
        ({"OPTIN_OWN_SENDS_TOTAL": ()}, Fault.NO_CEILING),
    ],
)
def test_a_fault_in_a_setting_is_named(
    settings: LazySettings, given: dict[str, Any], fault: Fault
) -> None:
    for name, value in given.items():
        setattr(settings, name, value)
    assert [one.fault for one in lint.report()] == [fault]


@pytest.mark.django_db
def test_an_error_stops_the_start_and_a_warning_does_not(settings: LazySettings) -> None:
    for name, value in KANNEL.items():
        setattr(settings, name, value)
    settings.OPTIN_GATEWAY_KANNEL_SENDER = "HarbourBooks"
    settings.OPTIN_SENDS_TOTAL = ()
    of_lint = set(lint.CHECK_OF.values()) | {lint.OF_WORDS}
    for deploy, ids in ((False, ["E122"]), (True, ["E122", "W215"])):
        told = [str(one.id) for one in run_checks(include_deployment_checks=deploy)]
        assert sorted(id_ for id_ in told if id_.removeprefix("optin.") in of_lint) == [
            f"optin.{id_}" for id_ in ids
        ]


# -- nothing is wrong --------------------------------------------------------------


@pytest.mark.parametrize("digits", [6, 7])
@pytest.mark.parametrize(
    "given",
    [
        {},
        LONGEST,
        LONGEST | {"OPTIN_SERVICE_NAME": "Anne's (Books) & Co."},
        KANNEL | {"OPTIN_GATEWAY_KANNEL_SENDER": ""},
        KANNEL | {"OPTIN_GATEWAY_KANNEL_SENDER": "0491570156"},
        KANNEL | {"OPTIN_SMS_REGIONS": ("US",), "OPTIN_SENDERS": (("US", "72345"),)},
        KANNEL | {"OPTIN_GATEWAY_KANNEL_SENDER": "Harbour-Bks"},
        KANNEL
        | {
            "OPTIN_SMS_REGIONS": ("AU", "US"),
            "OPTIN_SENDERS": (("AU", "1stHarbour"), ("US", "+12025550123")),
            "OPTIN_SENDERS_REGISTERED": ("AU",),
        },
        # A gateway for other regions, one that is not in use, one that is told no sender.
        KANNEL
        | {
            "OPTIN_SMS_REGIONS": ("GB",),
            "OPTIN_GATEWAY_KANNEL_REGIONS": ("US",),
            "OPTIN_GATEWAY_KANNEL_SENDER": "Harbour",
        },
        KANNEL | {"OPTIN_GATEWAY_HTTP_SENDER": "HarbourBooks"},
        HTTP
        | {
            "OPTIN_GATEWAY_HTTP_SENDER": "HarbourBooks",
            "OPTIN_GATEWAY_HTTP_BODY": '{"to": "{to}", "text": "{body}"}',
        },
    ],
)
def test_no_fault_is_found_where_there_is_none(
    settings: LazySettings, given: dict[str, Any], digits: int
) -> None:
    """As shipped, in every language, with the longest values."""
    settings.OPTIN_OTP_DIGITS = digits
    for name, value in given.items():
        setattr(settings, name, value)
    assert found() == set()


def test_every_text_in_every_language_is_looked_at(settings: LazySettings) -> None:
    settings.OPTIN_RECOVERY_DELAY = 86_400
    seen = {(one.kind, one.language) for one in wording.samples()}
    assert seen == {
        (kind, language)
        for kind in (*EVERY, "farewell", "removal")
        for language, _name in settings.LANGUAGES
    }


@pytest.mark.parametrize(
    ("text", "is_gsm_7", "places", "segments"),
    [
        ("[" * 80, True, 160, 1),
        ("x" * 161, True, 161, 2),
        ("x" * 307, True, 307, 3),
        # No segment ends within a sign of two places.
        ("x" * 152 + "\u20ac" + "x" * 151, True, 305, 2),
        ("x" * 152 + "\u20ac" + "x" * 152, True, 306, 3),
        ("\u0142" * 70, False, 70, 1),
        ("\u0142" * 135, False, 135, 3),
        ("\U0001f511" * 36, False, 72, 2),
    ],
)
def test_segments(text: str, is_gsm_7: bool, places: int, segments: int) -> None:
    """3GPP TS 23.038. ``test_kannel`` compares with what Kannel sends."""
    one = size(text)
    assert (one.is_gsm_7, one.places, one.segments) == (is_gsm_7, places, segments)
