"""What pages say while no text goes to a number, and to whom (P-06, S-38)."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from optin.models import File, Guard, ProviderUser, RecoveryCode, User
from optin.operations import opt_ins, staff_actions
from optin.origin import Face, Origin
from tests.kit.apps import make_recovery_codes
from tests.kit.browser import Browser, recover, sign_in
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

TWO_FACTOR = "/account/two-factor/"
TEXTS = f"{TWO_FACTOR}texts/"
STOPPED = "somebody answered STOP from it"
ON_AGAIN = (
    "Text messages to your number are on again. If none arrives, your carrier may still block "
    "them: send START from your phone, or contact support."
)


def stop(number: str = NUMBER) -> None:
    digest = ProviderUser.digest_of(number)
    assert Guard.objects.opt_out(digest, number[-3:], timezone.now())


def code_of_before(user: User) -> str:
    """A recovery code from before the sign-in: one that was made since proves nothing in it."""
    (code, *_) = make_recovery_codes(user)
    RecoveryCode.objects.update(created_at=timezone.now() - timedelta(hours=1))
    return code


def times(browser: Browser) -> int:
    """How often the page says it."""
    return browser.page.text.count(STOPPED)


def test_signing_in_says_it_on_every_visit(
    browser: Browser, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Once each time; a recovery code leads in."""
    (code, *_) = make_recovery_codes(active.user)
    clock.shift(timedelta(minutes=15))
    stop()
    sign_in(browser)
    for _ in range(3):
        assert browser.path == "/sign-in/code/"
        assert times(browser) == 1
        assert "send START to that number" in browser.page.text
        assert "Once you're signed in, you can turn text messages on again" in browser.page.text
        assert "contact support" in browser.page.text
        assert "Text a code" not in browser.page.text
        browser.reload()
    browser.go("/sign-in/code/not-received/")
    assert times(browser) == 1
    assert [form for form in browser.page.forms if "send" in form.action] == []
    browser.go("/sign-in/code/")
    recover(browser, code)
    assert browser.path == f"{TWO_FACTOR}number/"  # where another one may be named
    assert len(phone.messages) == 1
    browser.send(TEXTS)
    assert (browser.path, browser.page.flash) == (TWO_FACTOR, ON_AGAIN)
    assert times(browser) == 0
    sign_in(again := Browser())
    again.send(code=phone.code())
    assert (again.path, len(phone.messages)) == ("/account/", 2)


def test_turning_texts_on_again_asks_for_a_proof(ann_on: Browser, user: User) -> None:
    """Signed in with a text of before: the password is fresh, and a text proves nothing now."""
    ann_on.go(TWO_FACTOR)
    assert not [form for form in ann_on.page.forms if TEXTS in form.action]
    stop()
    ann_on.reload()
    assert "someone replied STOP" in ann_on.page.text
    assert "contact support" in ann_on.page.text  # there is nothing else to prove
    assert not [form for form in ann_on.page.forms if TEXTS in form.action]
    code = code_of_before(user)
    ann_on.reload()
    ann_on.send(TEXTS)
    assert ann_on.path == f"{TWO_FACTOR}prove/"
    ann_on.send(recovery=code)
    assert ann_on.path == TWO_FACTOR
    assert "someone replied STOP" in ann_on.page.text  # the page did nothing by itself
    ann_on.send(TEXTS)
    assert (ann_on.path, times(ann_on), ann_on.page.flash) == (TWO_FACTOR, 0, ON_AGAIN)
    assert ".refused" not in ann_on.page.texts


@pytest.mark.parametrize("path", [f"{TWO_FACTOR}prove/", f"{TWO_FACTOR}off/"])
def test_other_pages_that_ask_for_a_code(
    ann_on: Browser, clock: time_machine.Traveller, path: str
) -> None:
    clock.shift(timedelta(minutes=1))
    stop()
    ann_on.go(path)
    assert (ann_on.path, times(ann_on)) == (path, 1)
    ann_on.reload()
    assert times(ann_on) == 1


@pytest.mark.parametrize("known", [True, False], ids=["of somebody", "of nobody"])
def test_a_stranger_who_names_the_number_learns_nothing(
    ann: Browser, stranger: User, file: File, phone: Phone, known: bool
) -> None:
    """S-38: to them it is a number like any other, on each page that tells of it."""
    if known:
        row = opt_ins.opt_in(stranger, file, NUMBER, origin=Origin(Face.API, client="test:2"))
        assert row.provider_user_id
        opt_ins.verify_opt_in(stranger, file, row.provider_user_id, phone.code(), origin=ORIGIN)
    stop()
    texts = len(phone.messages)
    told = [name(ann, number) for number in (NUMBER, OTHER_NUMBER)]
    assert told[0].replace(NUMBER[-3:], "...") == told[1].replace(OTHER_NUMBER[-3:], "...")
    assert "STOP" not in told[0]
    assert [to for to, _ in phone.messages[texts:]] == [OTHER_NUMBER]


def name(browser: Browser, number: str) -> str:
    """Name *number*; return the words of the pages that follow."""
    browser.go(f"{TWO_FACTOR}number/")
    browser.send(number=number)
    said = [browser.page.text]
    browser.click(f"{TWO_FACTOR}number/code/not-received/")
    said.append(browser.page.text)
    browser.go("/account/activity/")
    said += [line for line in browser.page.text.splitlines() if "number ..." in line][:1]
    # A request id is of its request alone.
    return re.sub(r"request ID \w{32}", "", " ".join(" ".join(said).split()))


def test_a_number_that_was_named_and_never_proved(
    ann: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """It may be anybody's."""
    ann.go(f"{TWO_FACTOR}number/")
    ann.send(number=NUMBER)
    stop()
    clock.shift(timedelta(minutes=2))
    ann.reload()
    assert "STOP" not in ann.page.html
    ann.click(f"{TWO_FACTOR}number/code/not-received/")
    ann.send(f"{TWO_FACTOR}number/code/send/")
    assert ann.page.flash == "We sent the text message again. The code is the same."
    assert "STOP" not in ann.page.html
    assert len(phone.messages) == 1


def test_a_number_that_was_theirs_before(ann: Browser, active: ProviderUser) -> None:
    """They proved it once: the page says what it is, and what else they can do."""
    ann.reload()
    staff_actions.revoke(active.user, reason="Ticket 1", origin=ORIGIN)
    stop()
    browser = Browser()
    sign_in(browser)
    browser.go(f"{TWO_FACTOR}number/")
    browser.send(number=NUMBER)
    assert STOPPED in browser.page.errors
    assert "use another mobile number" in browser.page.errors


def test_the_note_is_about_the_number_that_the_page_asks_for(ann_on: Browser, user: User) -> None:
    """Changing a number from which STOP came is a way on: no word of it beside the new one."""
    code = code_of_before(user)
    stop()
    ann_on.go(f"{TWO_FACTOR}number/")
    ann_on.send(recovery=code)
    assert "someone replied STOP" in ann_on.page.text
    ann_on.send(number=OTHER_NUMBER)
    assert ann_on.path == f"{TWO_FACTOR}number/code/"
    assert times(ann_on) == 0
    ann_on.click(f"{TWO_FACTOR}number/code/not-received/")
    assert times(ann_on) == 0
