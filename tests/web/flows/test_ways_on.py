"""No dead end: a page offers what can work now, or else says how to reach support."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from optin.conf import Rate, conf
from optin.models import File, User
from optin.operations import opt_ins, staff_actions
from optin.web.context import link_to
from tests.kit.apps import app_code, make_recovery_codes, set_up_app
from tests.kit.browser import (
    APP,
    NUMBER_CODE,
    NUMBER_PAGE,
    TWO_FACTOR,
    Browser,
    name_number,
    opt_in,
    prove,
    recover,
    sign_in,
)
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

_EVERYWHERE = {"/sign-out/", "/language/"}
"""Where the forms lead that each page has."""

Clock = time_machine.Traveller
CONTACT = "help@example.com"
CODE = "/sign-in/code/"
LOST = "/sign-in/recovery/"


@pytest.fixture(autouse=True)
def contact(settings: Any) -> None:
    settings.OPTIN_SUPPORT = CONTACT


def names_contact(browser: Browser) -> bool:
    return f"Support: {CONTACT}" in " ".join(browser.page.texts["main"].split())


def sends(browser: Browser) -> list[str]:
    """Where the forms of the page lead that ask for a text."""
    return [form.action for form in browser.page.forms if "send/" in form.action]


@pytest.mark.parametrize(
    ("contact", "leads_to"),
    [
        ("https://example.com/help", "https://example.com/help"),
        ("help@example.com", "mailto:help@example.com"),
        ("+61 2 5550 1234", "tel:+61255501234"),
        ("(02) 5550-1234", "tel:0255501234"),
        ("Room 4, weekdays", ""),
        ("javascript:alert(1)", ""),
        ("a@example.com?cc=b@example.com", ""),
    ],
)
def test_contact_is_a_link_where_it_can_be_one(contact: str, leads_to: str) -> None:
    assert link_to(contact) == leads_to


def test_without_a_contact_the_page_names_none(browser: Browser, settings: Any, db: None) -> None:
    settings.OPTIN_SUPPORT = ""
    browser.go("/password-reset/sent/")
    assert "Support:" not in browser.page.text


@pytest.mark.parametrize(
    "address", ["/password-reset/sent/", "/not-me/nothing/", "/account/activity/"]
)
def test_pages_that_tell_of_support_say_how_to_reach_it(address: str, ann: Browser) -> None:
    ann.go(address)
    assert names_contact(ann)
    assert ann.page.links.count(f"mailto:{CONTACT}") == 1  # not at the foot too


# -- without a file ----------------------------------------------------------------


def test_without_a_file_an_app_is_offered_first(ann: Browser, user: User) -> None:
    user.memberships.all().delete()
    ann.go(TWO_FACTOR)
    assert ann.page.leads_to(APP)
    assert not ann.page.leads_to(NUMBER_PAGE)
    assert names_contact(ann)
    ann.go(NUMBER_PAGE)
    assert ann.page.leads_to(APP)
    assert names_contact(ann)


def test_without_a_file_no_number_is_offered_beside_an_app(ann: Browser, user: User) -> None:
    user.memberships.all().delete()
    secret = set_up_app(user)
    sign_in(fresh := Browser())
    fresh.send(code=app_code(secret, 1))
    fresh.go(TWO_FACTOR)
    assert not fresh.page.leads_to(NUMBER_PAGE)


def test_recovery_without_a_file_leads_to_an_app(browser: Browser, user: User, active: Any) -> None:
    (code, *_) = make_recovery_codes(user)
    user.memberships.all().delete()
    sign_in(browser)
    recover(browser, code)
    assert (browser.path, "Set up an authenticator app" in browser.page.flash) == (APP, True)


# -- locked, switched off ----------------------------------------------------------


def lock(user: User) -> None:
    until = timezone.now() + timedelta(minutes=15)
    User.objects.filter(pk=user.pk).update(otp_failures=10, otp_locked_until=until)


def disable(user: User) -> None:
    User.objects.filter(pk=user.pk).update(otp_failures=50, otp_disabled_at=timezone.now())


def suspend(user: User) -> None:
    staff_actions.suspend(user, reason="test", origin=ORIGIN)


def test_locked_at_the_sign_in(browser: Browser, user: User, active: Any) -> None:
    """Nothing is accepted: no text, app or recovery code is asked for."""
    make_recovery_codes(user)
    set_up_app(user)
    lock(user)
    sign_in(browser)
    assert (browser.path, browser.page.heading) == (CODE, "Too many wrong codes")
    assert "No code is accepted until 23:15 AEDT." in browser.page.text
    assert (sends(browser), "code" in browser.page.inputs) == ([], False)
    assert names_contact(browser)
    assert "Back to sign-in" in browser.page.text
    for address in (LOST, f"{CODE}not-received/"):
        browser.go(address)
        assert "No code is accepted until 23:15 AEDT." in browser.page.text
        assert (sends(browser), browser.page.inputs.keys() & {"code", "recovery"}) == ([], set())


@pytest.mark.parametrize("address", [NUMBER_PAGE, APP])
@pytest.mark.parametrize("state", [lock, disable])
def test_barred_from_a_first_factor(
    state: Callable[[User], None], address: str, ann: Browser, user: User
) -> None:
    state(user)
    ann.go(address)
    assert [form for form in ann.page.forms if form.action not in _EVERYWHERE] == []
    assert names_contact(ann)


def test_a_disabled_account_that_signs_in_with_its_app_may_change_again(
    browser: Browser, user: User, active: Any, clock: Clock
) -> None:
    """The page that refuses a change takes no code of the app: it says where to enter one."""
    secret = set_up_app(user)
    sign_in(browser)
    browser.send(code=app_code(secret, 1))
    disable(user)
    says = "Sign out, and sign in again with your authenticator app. Then try again here."
    browser.go(TWO_FACTOR)
    assert says in browser.page.text
    changes = (NUMBER_PAGE, APP, f"{TWO_FACTOR}recovery-codes/")
    assert [path for path in changes if browser.page.leads_to(path)] == []
    assert browser.page.leads_to(f"{TWO_FACTOR}off/")  # it takes a code of the app
    browser.go(APP)
    assert "Use your authenticator app, or contact support." in browser.page.text
    browser.send("/sign-out/")
    clock.shift(120)
    sign_in(browser)
    browser.send(code=app_code(secret))
    browser.go(TWO_FACTOR)
    assert says not in browser.page.text
    assert browser.page.leads_to(APP)


@pytest.mark.parametrize("state", [disable, suspend])
@pytest.mark.parametrize(
    ("has", "says"),
    [
        ("both", "Use your authenticator app or a recovery code, or contact support."),
        ("app", "Use your authenticator app, or contact support."),
        ("codes", "Use a recovery code, or contact support."),
        ("nothing", "switched off for your account. Contact support."),
    ],
)
def test_switched_off_names_what_the_person_has(
    has: str, says: str, state: Callable[[User], None], browser: Browser, user: User, active: Any
) -> None:
    if has in {"both", "app"}:
        set_up_app(user)
    if has in {"both", "codes"}:
        make_recovery_codes(user)
    state(user)
    sign_in(browser)
    assert browser.path == CODE
    for address in (CODE, f"{CODE}not-received/"):
        browser.go(address)
        assert says in browser.page.text
        assert (sends(browser), names_contact(browser)) == ([], True)
    browser.go(CODE)
    asks = "Open your authenticator app"
    assert browser.page.heading == (asks if has in {"both", "app"} else "We can't text you a code")
    assert ("code" in browser.page.inputs) is (has in {"both", "app"})
    assert browser.page.leads_to(LOST) is (has in {"both", "codes"})


def test_app_that_takes_two_codes_says_so(
    browser: Browser,
    user: User,
    clock: Clock,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """G-03. Of the first code too, be it right or sent twice."""
    monkeypatch.setattr(conf, "app_failures", Rate(1, 3600))
    settings.OPTIN_LOCK_AFTER = 7
    secret = set_up_app(user)
    clock.shift(60)
    sign_in(browser)
    browser.send(code=wrong(app_code(secret)))
    assert "That code isn't right" in browser.page.text  # the last that was one of one
    for _ in range(2):
        browser.send(code=app_code(secret))
        assert "Enter the code that it shows, wait for the next one" in browser.page.text
    clock.shift(30)
    browser.send(code=app_code(secret))
    assert browser.path == "/account/"


# -- somebody else's number --------------------------------------------------------


def give_number(stranger: User, file: File, phone: Phone) -> None:
    """Let *stranger* have the other number."""
    sending = opt_ins.opt_in(stranger, file, OTHER_NUMBER, origin=ORIGIN)
    assert sending.provider_user_id
    code = phone.code_to(OTHER_NUMBER)
    opt_ins.verify_opt_in(stranger, file, sending.provider_user_id, code, origin=ORIGIN)


def test_number_of_another_leads_to_another_number(
    ann: Browser, stranger: User, file: File, phone: Phone
) -> None:
    give_number(stranger, file, phone)
    opt_in(ann, phone, OTHER_NUMBER)
    assert ann.path == NUMBER_CODE
    assert "another account uses this number" in ann.page.errors
    for _ in range(2):
        assert ann.page.heading == "Use another number"
        assert (sends(ann), names_contact(ann)) == ([], True)
        assert ann.page.leads_to(NUMBER_PAGE)
        ann.reload()


def test_wrong_code_for_a_number_of_another_tells_nothing(
    ann: Browser, stranger: User, file: File, phone: Phone
) -> None:
    """S-38: whose it is, only the right code tells."""
    give_number(stranger, file, phone)
    name_number(ann, OTHER_NUMBER)
    for _ in range(2):
        ann.send(code=wrong(phone.code_to(OTHER_NUMBER)))
        assert ann.page.heading == "Check your phone"


def test_what_became_of_an_own_number_since_is_not_told(
    ann_on: Browser, user: User, stranger: User, file: File, phone: Phone
) -> None:
    """S-38: once it was theirs, that somebody has it now is news to them."""
    prove(ann_on, phone)
    name_number(ann_on, OTHER_NUMBER)
    page = ann_on.page.address
    ann_on.send(code=phone.code_to(OTHER_NUMBER))
    staff_actions.revoke(user, reason="test", origin=ORIGIN)
    give_number(stranger, file, phone)
    ann_on.go(page)
    assert ann_on.path == NUMBER_CODE
    assert ann_on.page.heading == "There's no code to enter"
    assert NUMBER[-3:] not in ann_on.page.text
