"""Passkeys on the pages: add one, sign in with it, prove with it, rename and remove it."""

from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from django.conf import LazySettings
from django.utils import timezone

from optin.models import AuditEvent, Passkey, ProviderUser, User
from optin.operations import staff_actions
from tests.kit.authenticator import Authenticator
from tests.kit.browser import ADD_PASSKEY, OFF, PROVE, SUCCESS, TWO_FACTOR, Browser, sign_in
from tests.kit.people import ORIGIN, make_user
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

CODE = "/sign-in/code/"


@pytest.fixture
def keys() -> Authenticator:
    return Authenticator()


def test_add_sign_in_prove_and_remove(
    ann: Browser, user: User, keys: Authenticator, clock: time_machine.Traveller
) -> None:
    """The only factor: no code is asked for anywhere."""
    added = ann.add_passkey(keys.create)
    assert (ann.path, added.heading) == (SUCCESS, "Two-factor sign-in is on")
    assert added.leads_to(f"{TWO_FACTOR}recovery-codes/")
    assert "Blue key" in ann.go(TWO_FACTOR).text

    clock.shift(timedelta(minutes=1))
    sign_in(other := Browser())
    assert (other.path, other.page.heading) == (CODE, "Use your passkey")
    assert "code" not in other.page.inputs
    other.use_passkey(keys.get)
    assert other.path == "/account/"
    assert "Last used" in other.go(TWO_FACTOR).text

    clock.shift(timedelta(minutes=1))
    other.go(PROVE)
    other.use_passkey(keys.get)
    assert other.path == TWO_FACTOR
    clock.shift(timedelta(minutes=1))
    other.click(OFF)
    other.use_passkey(keys.get)
    assert other.page.heading == "Two-factor sign-in is off"
    assert not Passkey.objects.exists()


def test_the_text_is_the_other_way(
    ann_on: Browser,
    active: ProviderUser,
    keys: Authenticator,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    """It is sent when it is asked for. With two factors, one can go."""
    ann_on.add_passkey(keys.create)
    clock.shift(timedelta(minutes=15))
    before = len(phone.messages)
    sign_in(browser := Browser())
    assert len(phone.messages) == before
    browser.send(f"{CODE}send/")
    assert browser.page.heading == "Check your phone"
    assert "passkey" in browser.page.inputs
    browser.send(code=phone.code())
    assert browser.path == "/account/"

    (row,) = Passkey.objects.all()
    browser.go(f"{TWO_FACTOR}passkeys/{row.pk}/")
    assert "Passkey renamed." in browser.send(name="Work laptop").text
    clock.shift(timedelta(minutes=1))
    assert "Programs that sign in" in browser.go(f"{OFF}?what=number").text
    removal = next(link for link in browser.go(TWO_FACTOR).links if "what=passkey" in link)
    assert browser.go(removal).heading == "Remove the passkey “Work laptop”"
    browser.use_passkey(keys.get)
    assert (browser.path, browser.page.heading) == (TWO_FACTOR, "Two-factor sign-in is on")
    assert "Passkey removed." in browser.page.text


def test_a_page_to_remove_one_that_is_gone_removes_nothing_else(
    ann_on: Browser, user: User, keys: Authenticator, phone: Phone, clock: time_machine.Traveller
) -> None:
    ann_on.add_passkey(keys.create)
    clock.shift(timedelta(minutes=1))
    (row,) = Passkey.objects.all()
    ann_on.go(f"{OFF}?what=passkey&passkey={row.pk}")
    ann_on.send(f"{OFF}send/")
    enter = ann_on.submission(code=phone.code())
    staff_actions.remove_passkey(user, passkey=row.pk, reason="x", origin=ORIGIN)
    assert enter(ann_on).heading == "Two-factor sign-in is on"
    assert ProviderUser.objects.filter(confirmed=True).exists()


def test_a_form_without_the_response_of_a_browser_is_refused(ann_on: Browser) -> None:
    form = ann_on.go(ADD_PASSKEY).passkey_form
    del form.fields["passkey"], form.fields["challenge"]
    assert ann_on.send(name="x").status == 422
    assert not Passkey.objects.exists()


def test_one_that_does_not_work_is_not_offered_and_still_counts(
    ann_on: Browser,
    keys: Authenticator,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    ann_on.add_passkey(keys.create)
    assert "Passkey added: Blue key" in ann_on.go("/account/activity/").text
    Passkey.objects.update(rp_id="old.example.com")
    clock.shift(timedelta(minutes=15))
    before = len(phone.messages)
    sign_in(browser := Browser())
    assert (browser.page.heading, len(phone.messages)) == ("Check your phone", before + 1)
    assert "passkey" not in browser.page.inputs
    browser.send(code=phone.code())
    assert "Made for old.example.com" in browser.go(TWO_FACTOR).text
    assert "your password and a code" in browser.page.text
    assert browser.go(f"{OFF}?what=number").heading == "Turn two-factor sign-in off"

    ProviderUser.objects.update(confirmed=False, released_at=timezone.now())
    sign_in(browser := Browser())
    assert (browser.path, browser.page.heading) == (CODE, "Your passkey doesn't work here")
    assert "made for an earlier address of this website." in browser.page.text
    assert browser.page.leads_to("/sign-in/recovery/")


@pytest.fixture
def alone(settings: LazySettings) -> None:
    settings.OPTIN_PASSKEY_SIGN_IN = True


def test_a_passkey_alone_signs_in_and_changes_nothing(
    ann: Browser, alone: None, keys: Authenticator, clock: time_machine.Traveller
) -> None:
    """It is both factors. A change asks for the password, also beside somebody's half sign-in."""
    ann.add_passkey(keys.create)
    clock.shift(timedelta(minutes=1))
    make_user("ben")
    browser = Browser()
    browser.go("/sign-in/")
    browser.use_passkey(keys.get)
    assert browser.path == "/account/"
    assert browser.go(ADD_PASSKEY).heading == "Enter your password again"
    event = AuditEvent.objects.filter(kind="check", outcome="ok").get()
    assert (event.data["by"], event.data["aim"]) == ("passkey", "alone")


def test_where_one_signs_in_alone_the_proof_of_the_sign_in_adds_none(
    ann_on: Browser, alone: None, keys: Authenticator, phone: Phone, clock: time_machine.Traveller
) -> None:
    """S-30. Else whoever stole the cookie comes back without the password."""
    clock.shift(timedelta(minutes=1))
    sign_in(browser := Browser())
    browser.send(code=phone.code())
    browser.go(ADD_PASSKEY)
    assert browser.path == PROVE
    clock.shift(timedelta(minutes=1))
    browser.send(f"{PROVE}send/")
    browser.send(code=phone.code())
    assert browser.path == ADD_PASSKEY
    browser.use_passkey(keys.create, name="Blue key")
    assert browser.path == SUCCESS


def test_a_password_of_somebody_else_is_not_taken_over(
    ann: Browser, alone: None, keys: Authenticator, clock: time_machine.Traveller
) -> None:
    """ann's password was right in this browser; ben signs in with his passkey."""
    ann.add_passkey(Authenticator().create)
    ben = Browser()
    make_user("ben")
    sign_in(ben, "ben")
    ben.add_passkey(keys.create)
    clock.shift(timedelta(minutes=1))
    browser = Browser()
    sign_in(browser)
    assert browser.path == CODE
    browser.go("/sign-in/")
    browser.use_passkey(keys.get)
    assert "ben" in browser.go("/account/").text
    assert browser.go(ADD_PASSKEY).heading == "Enter your password again"


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (Authenticator(verifies=False), "didn't check that it's you"),
        (None, "doesn't belong to this account"),
        (Authenticator(origin="https://2fa.example.net"), "on another website"),
    ],
    ids=["not-verified", "unknown", "other-website"],
)
def test_alone_it_is_refused(
    ann: Browser,
    alone: None,
    of: Authenticator | None,
    says: str,
    clock: time_machine.Traveller,
) -> None:
    keys = Authenticator()
    ann.add_passkey(keys.create)
    if of is None:
        Passkey.objects.all().delete()
    else:
        keys = replace(of, keys=keys.keys)
    clock.shift(timedelta(minutes=1))
    browser = Browser()
    browser.go("/sign-in/")
    browser.use_passkey(keys.get)
    assert (browser.path, browser.page.status) == ("/sign-in/", 422)
    assert says in browser.page.errors
    assert browser.session == ""
    assert AuditEvent.objects.filter(kind="check", outcome="passkey_refused").count() == 1


def test_it_is_off_by_default(ann: Browser, keys: Authenticator) -> None:
    ann.add_passkey(keys.create)
    browser = Browser()
    assert "passkey" not in browser.go("/sign-in/").inputs
    browser.page.forms[-1].fields |= {"passkey": "{}", "challenge": ""}
    assert browser.send(username="", password="").status == 422
