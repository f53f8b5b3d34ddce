"""A sandbox takes numbers for fiction only, and elsewhere they are taken in development only."""

import pytest
from django.core.checks import run_checks

from optin import fiction, phones
from optin.conf import conf
from optin.errors import InvalidMobileNumber, OnlyFiction
from optin.models import File, ProviderUser, User
from optin.operations import opt_ins
from optin.outcomes import SendOutcome
from tests.kit.people import NUMBER, ORIGIN

REAL = "+61499999999"


@pytest.mark.parametrize(
    ("written", "region"),
    [
        *((number, "AU") for number in fiction.AUSTRALIAN),
        ("+447700900000", "GB"),
        ("+447700900999", "GB"),
        ("+33639980000", "FR"),
        ("+33 6 39 98 99 99", "FR"),
        ("+46701740605", "SE"),
        ("+46 70 174 06 99", "SE"),
        ("+1 212 555 0100", "US"),
        ("+1 416 555 0199", "CA"),
        ("+61491570007", ""),
        ("+447700901000", ""),
        ("+33639970000", ""),
        ("+46701740604", ""),
        ("+46701740700", ""),
        ("+12125550200", ""),
        ("+1 876 555 0100", ""),  # Jamaica has a plan of its own
    ],
)
def test_what_is_for_fiction(written: str, region: str) -> None:
    try:
        number = phones.parse(written, home_region="AU")
    except InvalidMobileNumber:
        assert not region
        return
    assert number.is_fiction is bool(region)
    if region:
        assert number.region == phones.region_of(number.e164) == region


def test_a_sandbox_takes_no_number_of_a_person(tester: User, sandbox_file: File) -> None:
    with pytest.raises(OnlyFiction):
        opt_ins.opt_in(tester, sandbox_file, REAL, origin=ORIGIN)
    assert not ProviderUser.objects.exists()


def test_regions_count_in_a_sandbox_too(tester: User, sandbox_file: File) -> None:
    asked = opt_ins.opt_in(tester, sandbox_file, "+447700900006", origin=ORIGIN)
    assert asked.outcome is SendOutcome.REGION_NOT_ALLOWED


@pytest.mark.parametrize(
    ("setting", "gateways", "taken"),
    [
        ("auto", ("simulator",), True),
        ("auto", ("http",), False),
        ("auto", ("simulator", "http"), False),
        ("yes", ("http",), True),
        ("no", ("simulator",), False),
    ],
)
def test_other_files_take_fiction_in_development(
    user: User, file: File, settings: object, setting: str, gateways: tuple[str, ...], taken: bool
) -> None:
    settings.OPTIN_FICTIONAL_NUMBERS, settings.OPTIN_GATEWAYS = setting, gateways  # type: ignore[attr-defined]
    assert conf.takes_fiction is taken
    if not taken:
        with pytest.raises(InvalidMobileNumber) as refused:
            opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
        assert refused.type is InvalidMobileNumber  # the sentence of any unfit number
        assert not ProviderUser.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("setting", "warns"), [("yes", True), ("auto", False), ("no", False)])
def test_a_real_gateway_and_fiction_are_warned_of(
    settings: object, setting: str, warns: bool
) -> None:
    settings.OPTIN_FICTIONAL_NUMBERS = setting  # type: ignore[attr-defined]
    settings.OPTIN_GATEWAYS = ("http",)  # type: ignore[attr-defined]
    assert ("optin.W211" in {message.id for message in run_checks()}) is warns
