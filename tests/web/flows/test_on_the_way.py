"""Who needs a second factor for a page is led to set one up, and ends on that page (P-26).

By every route, refusals on the way included; and on to this host only (S-60).
"""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
import time_machine

from optin.models import ProviderUser, User
from tests.kit.apps import app_code, make_recovery_codes
from tests.kit.browser import Browser, recover
from tests.kit.people import PASSWORD
from tests.kit.phone import Phone, wrong

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ASKED = "/admin/optin/auditevent/?kind=check&face=web"
TWO_FACTOR = "/account/two-factor/"
NUMBER = f"{TWO_FACTOR}number/"
NUMBER_CODE = f"{NUMBER}code/"
APP = f"{TWO_FACTOR}app/"
RECOVERY = f"{TWO_FACTOR}recovery-codes/"
SUCCESS = f"{TWO_FACTOR}on/"
SIGN_IN = "/sign-in/"
LOG = "/admin/optin/auditevent/"


@pytest.fixture
def staff(browser: Browser, user: User) -> Browser:
    """A new member of staff, who asked for a page for staff and gave the password."""
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    browser.go(ASKED)
    assert browser.path == SIGN_IN
    browser.send(username="ann", password=PASSWORD)
    assert browser.path == TWO_FACTOR
    assert browser.page.heading == "Two-factor sign-in is off"
    assert "You need two-factor sign-in to open the page that you asked for." in browser.page.text
    return browser


def is_there(staff: Browser) -> bool:
    """Whether they see the page that they asked for, as they asked for it."""
    return staff.page.status == 200 and staff.page.address.endswith(ASKED)


def name_number(staff: Browser) -> None:
    staff.click(NUMBER)
    staff.send(number="0491 570 156")
    assert staff.path == NUMBER_CODE


def begin_app(staff: Browser) -> str:
    """Have a secret for an app made; return it."""
    staff.click(APP)
    staff.send()
    return "".join(staff.page.codes[0].split())


def test_by_text(staff: Browser, phone: Phone) -> None:
    name_number(staff)
    staff.send(code=wrong(phone.code()))
    assert "isn't right" in staff.page.errors
    staff.send(code="12")
    staff.send(code=phone.code())
    assert staff.path == SUCCESS
    staff.click(LOG)
    assert is_there(staff)


def test_with_recovery_codes(staff: Browser) -> None:
    """P-07 offers them on the way."""
    secret = begin_app(staff)
    staff.send(code=app_code(secret))
    staff.click(RECOVERY)
    staff.send()
    assert "These codes work from now on." in staff.page.text
    staff.send(press="saved")
    assert is_there(staff)


def test_after_another_number_and_a_walk_aside(staff: Browser, phone: Phone) -> None:
    name_number(staff)
    staff.click(f"{NUMBER_CODE}not-received/")
    staff.click(NUMBER)  # "Use another number"
    staff.go(leave(staff))
    assert "A code was sent to" in staff.page.text
    staff.click(NUMBER_CODE)
    staff.send(code=phone.code())
    staff.click(LOG)
    assert is_there(staff)


def leave(staff: Browser) -> str:
    """The address of "Cancel": the last link to the page before."""
    return [link for link in staff.page.links if link.startswith(TWO_FACTOR + "?")][-1]


def test_who_lost_the_phone_sets_up_anew_on_the_way(
    browser: Browser, user: User, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """A recovery code leads to "change number" first (P-08)."""
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    code = make_recovery_codes(user)[0]
    clock.shift(timedelta(minutes=15))
    browser.go(ASKED)
    browser.send(username="ann", password=PASSWORD)
    recover(browser, code)
    assert browser.path == NUMBER
    other = browser.tab()  # the recovery code was a second factor
    other.go(ASKED)
    assert is_there(other)
    browser.send(number="0491 570 157")
    browser.send(code=phone.code())
    assert browser.path == SUCCESS
    browser.click(LOG)
    assert is_there(browser)


@pytest.mark.parametrize("then", ["//evil.example/", '"><a href="https://evil.example/'])
@pytest.mark.parametrize("is_on", [False, True], ids=["off", "on"])
def test_no_page_leads_elsewhere(ann: Browser, is_on: bool, then: str) -> None:
    """S-60, whatever page it is given to, and whatever becomes of its form."""
    ann.go(TWO_FACTOR)
    secret = begin_app(ann)
    if is_on:
        ann.send(code=app_code(secret))
    query = {"next": then}
    for address in (TWO_FACTOR, NUMBER, APP, SUCCESS, RECOVERY, NUMBER_CODE):
        answer = ann.client.get(address, query, secure=True)
        assert "evil.example" not in answer.get("Location", "") + answer.content.decode(), address
    sent: dict[str, dict[str, str]] = {
        APP: {"code": app_code(secret)},
        NUMBER: {"number": "0491 570 156"},
        RECOVERY: {"codes": "old"},
    }
    for address, fields in sent.items():
        answer = ann.post(f"{address}?{urlencode(query)}", **fields)
        assert answer.status_code == 303, address
        assert "evil.example" not in answer["Location"], address
