"""What people do, from the first page to the last, without scripts, errors on the way included."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.signing import TimestampSigner
from django.db.models import F
from django.utils import timezone

from optin import keys
from optin.messaging.wording import mail_for
from optin.models import AuditEvent, File, Notice, PendingOtp, ProposedNumber, ProviderUser, User
from optin.models.second_factors import overview
from optin.operations import staff_actions
from optin.support import wording
from tests.kit.apps import app_code, make_recovery_codes, set_up_app
from tests.kit.browser import (
    APP,
    CONFIRM,
    HOST,
    NEW_PASSWORD,
    NUMBER_CODE,
    NUMBER_PAGE,
    OFF,
    PROVE,
    RECOVERY,
    SUCCESS,
    TWO_FACTOR,
    Browser,
    failures,
    link_in_mail,
    name_number,
    opt_in,
    prove,
    recover,
    sign_in,
)
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER, PASSWORD
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)


def is_on(user: User) -> bool:
    return overview(user).is_on


# -- opting in, out ----------------------------------------------------------------


def test_opt_in(ann: Browser, user: User, phone: Phone) -> None:
    """P-02, P-03, P-04, P-05, P-06, P-07. The whole way by the links and forms of the pages."""
    ann.click(TWO_FACTOR)
    ann.click(NUMBER_PAGE)
    assert ann.page.inputs["number"]["type"] == ann.page.inputs["number"]["autocomplete"] == "tel"

    ann.send(number="0491 570 156")

    assert (ann.path, ann.answer.status_code) == (NUMBER_CODE, 303)
    assert ann.page.heading == "Check your phone"
    assert "We texted a code to 0491 570 156" in " ".join(ann.page.text.split())
    assert ann.page.leads_to(NUMBER_PAGE)
    field = ann.page.inputs["code"]
    assert (field["type"], field["inputmode"]) == ("text", "numeric")
    assert field["autocomplete"] == "one-time-code"
    assert "23:10 AEDT" in ann.page.text  # noon in UTC, and ten minutes
    ann.send(code=f"Your code is {phone.code()[:3]} {phone.code()[3:]}.")
    assert (ann.path, ann.answer.status_code) == (SUCCESS, 303)
    assert "typed" not in ann.client.session  # S-51
    assert "0491 570 156" not in ann.page.html
    assert is_on(user)
    assert ann.page.leads_to(RECOVERY)
    ann.click(TWO_FACTOR)
    assert "•••156" in ann.page.text
    assert ann.page.leads_to(OFF)


def test_the_typed_number_is_shown_whole_until_it_is_left(ann: Browser) -> None:
    """S-51: to the session that typed it, on the page of its code."""
    elsewhere, whole = Browser(), "0491 570 156"
    sign_in(elsewhere)
    name_number(ann)
    code_page = ann.page.address
    ann.reload()
    assert whole in ann.page.text
    assert NUMBER not in str(dict(ann.client.session))
    elsewhere.go(code_page)
    assert "•••156" in elsewhere.page.text
    assert whole not in elsewhere.page.html
    ann.go(f"{NUMBER_CODE}not-received/?{code_page.partition('?')[2]}")
    assert "•••156" in ann.page.text
    assert whole not in ann.page.html

    ann.go("/Help")
    ann.go(code_page)
    assert "•••156" in ann.page.text
    assert whole not in ann.page.html


def test_opt_in_with_the_proposed_number(ann: Browser, user: User, phone: Phone) -> None:
    """P-03: the page has its end only. It is chosen, and the text goes there."""
    ProposedNumber.of(user, NUMBER, "import", timezone.now()).save()
    ann.go(NUMBER_PAGE)
    assert "To •••156, the number that we have for you" in ann.page.text
    assert ann.page.form("", {"which", "number"}).fields["which"] == "proposed"
    assert NUMBER[3:9] not in ann.page.html
    ann.send(which="proposed", number="")
    assert ann.path == NUMBER_CODE
    assert phone.messages[-1][0] == NUMBER
    assert "We texted a code to •••156" in " ".join(ann.page.text.split())
    ann.send(code=phone.code())
    assert is_on(user)
    ann.go(NUMBER_PAGE)
    assert "we have for you" not in ann.page.text


def test_opt_in_with_another_number_than_the_proposed_one(
    ann: Browser, user: User, phone: Phone
) -> None:
    ProposedNumber.of(user, NUMBER, "import", timezone.now()).save()
    ann.go(NUMBER_PAGE)
    for text, says in (("", "Enter your mobile number."), ("157", "That number is too short.")):
        ann.send(which="other", number=text)
        assert_error(ann, "number", says)
        assert ann.page.form("", {"which", "number"}).fields["which"] == "other"
    ann.send(which="other", number=OTHER_NUMBER)
    assert phone.messages[-1][0] == OTHER_NUMBER


def test_what_is_wrong_with_the_proposed_number_stands_at_the_choice(
    ann: Browser, user: User, phone: Phone
) -> None:
    """P-10: the field of another number is not shown."""
    ProposedNumber.of(user, "+64211234567", "import", timezone.now()).save()
    ann.go(NUMBER_PAGE)
    ann.send(which="proposed", number="")
    assert "of that country can't be used here." in ann.page.errors
    assert "#id_which_0" in ann.page.links
    assert phone.messages == []


def test_sign_in_with_a_number_that_was_taken_over(
    browser: Browser, user: User, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """S-56. The page says that no code from it was entered here, until one was."""
    app = set_up_app(user)
    at = datetime(2024, 5, 31, 9, 30, tzinfo=UTC)
    ProviderUser.objects.update(taken_over_at=at, taken_over_by="a <letter>")
    clock.shift(timedelta(minutes=15))
    sign_in(browser)
    browser.send(code=app_code(app))
    browser.go(TWO_FACTOR)
    assert "verified on 31 May 2024 (a <letter>). You haven't yet entered" in browser.page.text
    prove(browser, phone)
    browser.go(TWO_FACTOR)
    assert "taken over" not in browser.page.text
    assert "•••156 , added" in browser.page.text


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("", "Enter your mobile number."),
        ("12", "That number is too short. Write it like 0491 570 156"),
        ("02 9374 4000", "That's the number of a landline."),
        ("my phone", "That isn't a mobile number."),
        ("x" * 65, "64"),
        ("+64 21 123 4567", "of that country can't be used here. Use one that begins with +61."),
    ],
    ids=["nothing", "too short", "a landline", "words", "a long text", "another country"],
)
def test_number_that_does_not_do(number: str, says: str, ann: Browser, phone: Phone) -> None:
    """P-03, P-10."""
    name_number(ann, number)
    assert_error(ann, "number", says)
    assert ann.answer.status_code == 422
    assert phone.messages == []


def test_opt_in_for_one_of_several_files(
    ann: Browser, user: User, other_file: File, phone: Phone
) -> None:
    """P-03: which file."""
    user.memberships.create(file=other_file)
    ann.go(NUMBER_PAGE)
    ann.page.form("", {"number", "file"}).typed.discard("file")  # none is chosen
    ann.send(number=NUMBER)
    assert "Choose an organisation." in ann.page.errors
    ann.send(number=NUMBER, file=str(other_file.pk))
    ann.send(code=phone.code())
    assert ProviderUser.objects.get(user=user, confirmed=True).file_id == other_file.pk


def test_turn_off(ann_on: Browser, user: User, phone: Phone) -> None:
    """P-08: what happens is said before the button; the code is of the purpose."""
    ann_on.click(TWO_FACTOR)
    ann_on.click(OFF)
    assert "Your password alone" in ann_on.page.text
    ann_on.send(f"{OFF}send/")
    assert "turn OFF" in phone.body
    assert "data-digits" not in ann_on.page.inputs["code"]  # it waits for the button
    ann_on.send(code=wrong(phone.code()))
    assert_error(ann_on, "code", "That code isn't right.")
    assert is_on(user)

    ann_on.send(code=phone.code())

    assert ann_on.path == TWO_FACTOR
    assert not is_on(user)
    assert "Two-factor sign-in is off." in ann_on.page.flash
    assert mail.outbox[-1].to == ["ann@example.com"]


def test_turn_off_one_of_two(ann_on: Browser, user: User) -> None:
    secret = set_up_app(user)
    fresh = Browser()
    sign_in(fresh)
    fresh.send(code=app_code(secret, 1))
    fresh.go(TWO_FACTOR)
    fresh.click(f"{OFF}?what=number")
    make_recovery_codes(user)
    fresh.reload()
    code = make_recovery_codes(user)[0]
    fresh.send(recovery=code)
    factors = overview(user)
    assert (factors.number, bool(factors.app), factors.recovery_codes) == (None, True, 9)


# -- signing in and out ------------------------------------------------------------


def test_sign_out_and_in_with_the_code(ann_on: Browser, phone: Phone) -> None:
    """P-01."""
    ann_on.send("/sign-out/")
    assert ann_on.path == "/sign-in/"
    assert ann_on.page.flash == "You're signed out."
    assert ann_on.go("/account/").address.endswith("/sign-in/?next=%2Faccount%2F")

    ann_on.send(username="ANN@example.com", password=PASSWORD)

    assert ann_on.path == "/sign-in/code/"
    assert "to sign in" in phone.body
    ann_on.send(code=phone.code())
    assert ann_on.path == "/account/"


def test_sign_in_leads_to_where_one_was_going(browser: Browser, active: Any, phone: Phone) -> None:
    """... also past the code, its errors, and the page about codes that do not come."""
    browser.go("/account/activity/?before=900")
    browser.send(username="ann", password=PASSWORD)
    browser.send(code="12")
    browser.click("/sign-in/code/not-received/")
    browser.click("/sign-in/code/")
    browser.click("/sign-in/recovery/")
    browser.click("/sign-in/code/")
    browser.send(code=phone.code())
    assert browser.page.address.endswith("/account/activity/?before=900")


def test_wrong_password(browser: Browser, user: User) -> None:
    browser.go("/sign-in/")
    browser.send(username="", password="")
    assert_error(browser, "username", "Enter your user name or email address.")
    assert_error(browser, "password", "Enter your password.")
    browser.send(username="ann", password="not it")
    assert browser.page.title.startswith("Error:")
    assert "The user name, email address or password isn't right." in browser.page.errors
    assert browser.answer.status_code == 422
    assert "not it" not in browser.page.html


# -- errors of codes (P-10) --------------------------------------------------------


def assert_error(browser: Browser, field: str, says: str) -> None:
    """P-10: the title, a summary that leads to the field, the words, and their tie to it."""
    page = browser.page
    assert page.title.startswith("Error:"), page.title
    assert says in page.errors, page.errors
    tag, given = page.by_id[f"id_{field}"]
    assert tag == "input"
    assert f"#id_{field}" in page.links
    assert f"id_{field}_error" in given["aria-describedby"].split()
    assert given["aria-invalid"] == "true"
    assert f"id_{field}_error" in page.by_id


@pytest.fixture(params=["number", "sign-in"])
def code_page(
    request: pytest.FixtureRequest, browser: Browser, clock: time_machine.Traveller
) -> Browser:
    """A page that asks for a texted code, which is on its way. Operations prove other doors."""
    if request.param == "number":
        request.getfixturevalue("user")
        sign_in(browser)
        name_number(browser)
        return browser
    request.getfixturevalue("active")
    clock.shift(timedelta(minutes=15))
    sign_in(browser)
    return browser


def test_code_of_a_wrong_shape(code_page: Browser, user: User, phone: Phone) -> None:
    """P-10; it is no guess, and not echoed."""
    sent = len(phone.messages)
    for typed, says in (
        ("", "Enter the code."),
        ("   ", "Enter the code."),
        ("1234", "too short"),
        ("12345678", "too long"),
        ("9" * 200, "too long"),
        ("abcdefg", "digits only"),
        ("123456x", "digits only"),
        ("\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "digits only"),
    ):
        code_page.send(code=typed)

        assert code_page.answer.status_code == 303
        assert_error(code_page, "code", says)
        assert not code_page.page.inputs["code"].get("value")
        assert typed.strip() == "" or typed not in code_page.page.html
    assert (failures(user), len(phone.messages)) == (0, sent)
    # A reload asks nothing and forgets the error.
    assert not code_page.reload().title.startswith("Error:")


def test_wrong_codes_until_the_code_is_used_up_and_the_user_locked(
    code_page: Browser, user: User, phone: Phone
) -> None:
    """P-04, P-10: from 3 tries down how many are left; used up; locked until a stated time."""
    code, sent = phone.code(), len(phone.messages)
    guesses = [f"{n}{wrong(code)[1:]}" for n in range(10) if f"{n}{wrong(code)[1:]}" != code]
    left = ["", "You have 3 tries left", "You have 2 tries left", "You have 1 try left"]

    for n, says in enumerate(left):
        code_page.send(code=guesses[n])
        assert_error(code_page, "code", "That code isn't right.")
        assert says in code_page.page.errors
        assert ("left" in code_page.page.errors) == bool(says)
        assert guesses[n] not in code_page.page.html
        # What is left is told also when the page is loaded again.
        assert ("left for this code" in code_page.reload().text) == bool(says)
    code_page.send(code=guesses[4])
    last = "That code isn't right, and you have no tries left for it. Ask for a new one."
    assert last in code_page.page.errors

    # The fifth failure locks, too: the right code is refused, and not used up.
    assert failures(user) == 5
    assert len(phone.messages) == sent


def test_locked_until_a_stated_time(
    code_page: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """P-10, S-06: right and wrong codes get the same words."""
    now = timezone.now()
    User.objects.filter(pk=user.pk).update(otp_locked_until=now + timedelta(minutes=1))
    at = timezone.localtime(now + timedelta(minutes=1)).strftime("%H:%M AEDT")

    before = code_page.submission(code=phone.code())
    guess = code_page.submission(code=wrong(phone.code()))
    for submit in (before, guess):
        submit(code_page)
        assert code_page.page.title.startswith("Error:")
        assert f"No code is accepted until {at}." in code_page.page.errors
        assert "code" not in code_page.page.inputs  # nothing is asked for that is not heard

    clock.shift(timedelta(minutes=1))
    code_page.reload()
    code_page.send(code=phone.code())
    assert not code_page.page.title.startswith("Error:")


def test_a_typing_error_has_no_reference(ann: Browser, phone: Phone) -> None:
    """G-07: there is nothing to look up; a wrong code has one."""
    ann.go(NUMBER_PAGE)
    for text in ("", "0491"):
        ann.send(number=text)
        assert ann.page.errors
        assert "request ID" not in ann.page.text
    ann.send(number=NUMBER)
    ann.send(code="12x")
    assert ann.page.errors
    assert "request ID" not in ann.page.text
    ann.send(code=wrong(phone.code()))
    assert "request ID" in ann.page.text


def test_expired_code(
    code_page: Browser, user: User, phone: Phone, clock: time_machine.Traveller
) -> None:
    """P-10: dead at 600 s, and the page leads to a new one."""
    code = phone.code()
    submit = code_page.submission(code=code)
    clock.shift(timedelta(minutes=10))
    if code_page.path == "/sign-in/code/":
        clock.shift(timedelta(milliseconds=-1))  # the half session dies with it
        PendingOtp.objects.filter(closed_at=None).update(expires_at=timezone.now())

    submit(code_page)

    assert code_page.page.title.startswith("Error:")
    assert code_page.page.heading == "That code has expired"
    (focused,) = re.findall(r"<button[^>]*autofocus[^>]*>([^<]*)<", code_page.page.html)
    assert focused.strip() == "Text me a new code"
    assert code_page.page.errors == ""  # the heading and one button say all
    assert "Text me a new code" in code_page.page.text
    assert "request ID" in code_page.page.text
    assert code not in code_page.page.html
    assert failures(user) == 0


def test_not_received(code_page: Browser, phone: Phone, clock: time_machine.Traveller) -> None:
    """P-05: the same code again, after the wait that the server shows."""
    code, sent = phone.code(), len(phone.messages)
    path = code_page.path
    code_page.click(f"{path}not-received/")
    assert "Sent at" in code_page.page.text
    (seconds,) = re.findall(r'data-wait="(\d+)"', code_page.page.html)
    until = timezone.localtime() + timedelta(seconds=int(seconds), minutes=1)
    assert f"You can send it again from {until:%H:%M}" in " ".join(code_page.page.text.split())

    code_page.send(f"{path}send/")
    assert len(phone.messages) == sent
    assert "A text message was sent a moment ago." in code_page.page.flash
    assert code_page.page.texts[".refused"] == code_page.page.flash

    clock.shift(int(seconds))
    code_page.click(f"{path}not-received/")
    assert "You can send it again" not in code_page.page.text
    code_page.send(f"{path}send/")
    assert code_page.path == path
    assert "The code is the same." in code_page.page.flash
    assert ".refused" not in code_page.page.texts
    assert (len(phone.messages), phone.code()) == (sent + 1, code)
    code_page.send(code=code)
    assert not code_page.page.title.startswith("Error:")
    assert code_page.path != path


# -- changes -----------------------------------------------------------------------


def test_change_the_number(ann_on: Browser, user: User, phone: Phone) -> None:
    """P-08: right after the sign-in too, a code to the old number first; both are told."""
    sent = len(phone.messages)
    ann_on.go(TWO_FACTOR)
    ann_on.click(NUMBER_PAGE)
    assert (ann_on.path, len(phone.messages)) == (PROVE, sent)
    ann_on.send(f"{PROVE}send/")
    assert "to CHANGE" in phone.body
    ann_on.send(code=phone.code())
    assert ann_on.path == NUMBER_PAGE
    assert "•••156" in ann_on.page.text

    ann_on.send(number=OTHER_NUMBER)
    assert "0491 570 157" in ann_on.page.text
    assert overview(user).number.last_three == "156"  # type: ignore[union-attr]
    ann_on.send(code=phone.code_to(OTHER_NUMBER))

    assert ann_on.path == SUCCESS
    assert overview(user).number.last_three == "157"  # type: ignore[union-attr]
    assert "now uses another mobile number" in phone.body
    assert phone.messages[-1][0] == NUMBER
    assert Notice.objects.filter(user=user, kind=Notice.Kind.CHANGED).exists()
    ann_on.go("/account/activity/")
    assert "Mobile number changed" in ann_on.page.text


def test_recover_with_a_code(browser: Browser, user: User, active: Any, phone: Phone) -> None:
    """P-01, P-08: straight to a new number; the code works once."""
    code = make_recovery_codes(user)[0]
    sign_in(browser)
    browser.click("/sign-in/recovery/")
    for typed, says in (
        ("", "Enter a recovery code."),
        ("1234", "16 letters and digits"),
        ("AAAA-BBBB-CCCC-DDDD", "That code isn't right."),
    ):
        browser.send(recovery=typed)
        assert_error(browser, "recovery", says)
        assert not typed or typed not in browser.page.html

    browser.send(recovery=code.lower().replace("-", " "))

    assert browser.path == NUMBER_PAGE
    browser.send(number=OTHER_NUMBER)
    browser.send(code=phone.code_to(OTHER_NUMBER))
    assert browser.path == SUCCESS
    other = Browser()
    sign_in(other)
    recover(other, code)
    assert_error(other, "recovery", "That code isn't right.")


def test_make_recovery_codes(ann_on: Browser, user: User, phone: Phone) -> None:
    """They count from when they are shown; the same form, sent again, shows the same."""
    texts = len(phone.messages)
    ann_on.go(TWO_FACTOR)
    ann_on.click(RECOVERY)
    assert (ann_on.path, len(phone.messages)) == (RECOVERY, texts)  # the sign-in was a proof
    assert ann_on.page.codes == []
    assert overview(user).recovery_codes == 0
    make = ann_on.submission()

    make(ann_on)

    shown = ann_on.page.codes
    assert len(set(shown)) == 10
    assert "/language/" not in ann_on.page.html  # it would lead away from them
    assert overview(user).recovery_codes == 10
    page = ann_on.copy()
    page.send(press="download")
    assert page.answer.headers["Content-Disposition"].startswith("attachment;")
    assert set(shown) <= set(page.answer.content.decode().split())
    make(ann_on)
    assert ann_on.page.codes == shown
    ann_on.send(press="saved")
    assert (ann_on.path, "Recovery codes saved." in ann_on.page.flash) == (TWO_FACTOR, True)
    ann_on.click(RECOVERY)  # they can be made again
    ann_on.send()
    assert not set(ann_on.page.codes) & set(shown)
    shown = ann_on.page.codes
    make(ann_on)  # which stands for a list that is gone
    assert (ann_on.path, ann_on.page.codes) == (RECOVERY, [])
    assert "Nothing was changed" in ann_on.page.texts[".refused"]
    fresh = Browser()
    sign_in(fresh)
    recover(fresh, shown[9])
    assert fresh.path == NUMBER_PAGE


@pytest.mark.parametrize("kind", ["somebody else's", "unsigned", "nothing"])
def test_recovery_codes_that_the_page_did_not_show_are_not_kept(
    kind: str, ann_on: Browser, user: User
) -> None:
    """People choose badly: only what was shown to this person."""
    ann_on.go(RECOVERY)
    fields = ann_on.page.form("", set()).fields
    signer = TimestampSigner(salt="optin.recovery-codes")
    if kind == "unsigned":
        fields["codes"] = signer.unsign(fields["codes"])
    if kind == "somebody else's":
        shown = f"{user.pk + 1} 0 AAAA-BBBB-CCCC-DDDD"
        fields["codes"] = signer.sign(keys.encrypt(shown, context="page.recovery-codes"))
    if kind == "nothing":
        fields["codes"] = ""
    submit = ann_on.submission()
    submit(ann_on)

    assert overview(user).recovery_codes == 0


def test_app_instead_of_texts(ann: Browser, user: User, phone: Phone) -> None:
    ann.go(TWO_FACTOR)
    ann.click(APP)
    ann.send()  # set it up
    secret = next(text for text in ann.page.codes if len(text) > 30)
    assert any(href.startswith("otpauth://totp/") for href in ann.page.links)
    for typed, says in (
        ("", "Enter the code."),
        ("1", "too short"),
        ("1234567", "That code is too long. The code has 6 digits."),
        (wrong(app_code(secret)), "Enter the code that the app shows now."),
    ):
        ann.send(code=typed)
        assert_error(ann, "code", says)
        assert not typed or f'value="{typed}"' not in ann.page.html

    ann.send(code=app_code(secret))

    assert ann.path == SUCCESS
    assert phone.messages == []
    assert failures(user) == 0
    ann.send("/sign-out/")
    sign_in(ann)
    assert ann.path == "/sign-in/code/"
    ann.send(code=app_code(secret))  # used already
    assert_error(ann, "code", "That code isn't right.")
    ann.send(code=app_code(secret, 1))
    assert ann.path == "/account/"
    assert phone.messages == []


def test_what_is_asked_for_first(user: User, phone: Phone, clock: time_machine.Traveller) -> None:
    secret = set_up_app(user)
    sign_in(ann := Browser())
    ann.send(code=app_code(secret, 1))
    opt_in(ann, phone)
    for texts in (1, 0):
        ann.go(TWO_FACTOR)
        again = ann.submission("/account/two-factor/first/", press="first")
        again(ann)
        again(ann)  # changes nothing
        assert ann.path == TWO_FACTOR
        clock.shift(timedelta(minutes=7))
        before = len(phone.messages)
        sign_in(other := Browser())
        assert (other.path, len(phone.messages) - before) == ("/sign-in/code/", texts)
        other.send(code=phone.code() if texts else app_code(secret))
        assert other.path == "/account/"
    chosen = AuditEvent.objects.filter(kind="app", outcome__endswith="_first").order_by("pk")
    assert list(chosen.values_list("outcome", flat=True)) == ["text_first", "app_first"]
    assert not any(map(wording.is_refusal, chosen))
    assert "App or passkey chosen as the first way to sign in" in ann.go("/account/activity/").text


def test_this_was_not_me(
    ann: Browser, user: User, active: Any, clock: time_machine.Traveller
) -> None:
    """P-14a, S-39: the link of the mail, the password, and all is as before."""
    path = link_in_mail("/not-me/")
    owner = Browser()
    owner.go(path)
    assert is_on(user)
    owner.send(password="not it")
    assert_error(owner, "password", "That password isn't right.")
    owner.send(password=PASSWORD)

    assert owner.path == "/not-me/done/"
    assert not is_on(user)
    assert "Two-factor sign-in is off now." in owner.page.text
    assert "/sign-in/?next=/account/password/" in owner.page.links
    assert ann.go("/account/").address.endswith("/sign-in/?ended=1&next=%2Faccount%2F")
    assert "You were signed out." in ann.page.text
    owner.go(path)
    assert owner.path == "/not-me/done/"  # the second half of a double click
    clock.shift(60)
    owner.go(path)
    assert owner.page.status == 404
    assert owner.page.leads_to("/sign-in/")
    owner.go("/sign-in/?next=/account/password/")
    owner.send(username="ann", password=PASSWORD)
    owner.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)
    assert "Two-factor sign-in is off. Turn it on under “Security”." in owner.page.flash


def _suspend(user: User) -> None:
    staff_actions.suspend(user, reason="reported", origin=ORIGIN)


def _replace(user: User) -> None:
    Notice.objects.update(about_id=F("about_id") + 1)  # as if it told of the one before


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (_suspend, "only support can remove it"),
        (_replace, "no longer applies"),
    ],
    ids=["suspended", "replaced"],
)
def test_this_was_not_me_says_what_it_does_not_remove(
    before: Callable[[User], None], why: str, user: User, active: ProviderUser
) -> None:
    """Whoever is told that all is well stops looking."""
    path = link_in_mail("/not-me/")
    before(user)
    owner = Browser()
    owner.go(path)
    assert why in owner.page.text
    assert "we remove" not in owner.page.text
    owner.send(password=PASSWORD)
    assert owner.path == "/not-me/done/"
    assert is_on(user)
    assert why in owner.page.text
    assert "a code by text message to" in owner.page.text
    assert "don't sign in yet" in owner.page.text
    assert "What to do next" not in owner.page.text


def test_a_used_link_shows_nothing_of_another(active: ProviderUser) -> None:
    """The second half of a double click shows what became of its own change, or no details."""
    path, owner = link_in_mail("/not-me/"), Browser()
    owner.go(path)
    owner.send(password=PASSWORD)
    assert "Two-factor sign-in is off now." in owner.page.text
    owner.go(path)
    assert "Two-factor sign-in is off now." in owner.page.text
    other = Notice.objects.exclude(disowned_at=None).get()
    other.pk = None
    other.save()
    address = mail_for(other).body
    owner.go(re.search(rf"https://{HOST}(/not-me/\S+)", str(address))[1])  # type: ignore[index]
    assert owner.path == "/not-me/done/"
    assert "Two-factor sign-in is off now." not in owner.page.text


# -- passwords ---------------------------------------------------------------------


def test_password_change(ann_on: Browser, clock: time_machine.Traveller) -> None:
    clock.shift(timedelta(minutes=20))
    ann_on.go("/account/")
    ann_on.click("/account/password/")
    assert ann_on.path == CONFIRM
    ann_on.send(password=PASSWORD)
    one, two = "#id_new_password1", "#id_new_password2"
    for first, second, wrong_at in (
        ("tiny", "tiny", {one}),
        ("one and two", "two and one", {two}),
        ("tiny", "two and one", {one, two}),
        ("", "", {one, two}),
    ):
        ann_on.send(new_password1=first, new_password2=second)
        assert ann_on.answer.status_code == 422
        assert {href for href in ann_on.page.links if href.startswith("#id_new")} == wrong_at
        assert ann_on.page.title.startswith("Error:")
        assert not first or first not in ann_on.page.html

    ann_on.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)

    assert (ann_on.path, ann_on.answer.status_code) == ("/account/", 303)
    fresh = Browser()
    sign_in(fresh)
    assert "The user name, email address or password isn't right." in fresh.page.errors
    sign_in(fresh, password=NEW_PASSWORD)
    assert fresh.path == "/sign-in/code/"


def test_password_reset(browser: Browser, user: User, active: Any, phone: Phone) -> None:
    """S-30: it signs nobody in; the second factor comes after."""
    browser.go("/sign-in/")
    browser.click("/password-reset/")
    browser.send(email="nonsense")
    assert browser.answer.status_code == 422
    assert_error(browser, "email", "Write it like name@example.com.")
    browser.send(email="ANN@example.com")
    assert browser.path == "/password-reset/sent/"
    path = link_in_mail("/password-reset/")
    browser.go(path)
    assert browser.answer["Referrer-Policy"] == "same-origin"  # the address stays here
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert Browser().go(path).status == 404
    User.objects.filter(pk=user.pk).update(is_active=True)
    browser.send(new_password1="ann", new_password2="ann")
    assert browser.answer.status_code == 422
    assert_error(browser, "new_password1", "too short")

    browser.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)

    assert browser.path == "/sign-in/"
    assert browser.go("/account/").address.endswith("/sign-in/?next=%2Faccount%2F")
    sign_in(browser, password=NEW_PASSWORD)
    assert browser.path == "/sign-in/code/"
    browser.send(code=phone.code())
    assert browser.path == "/account/"
    used = Browser()
    assert used.go(path).status == 404
    assert used.page.leads_to("/password-reset/")


# -- no dead ends ------------------------------------------------------------------


def test_lost_phone_without_recovery_codes(browser: Browser, active: Any) -> None:
    """P-01: what staff can do is said, and the way back is there."""
    sign_in(browser)
    browser.click("/sign-in/recovery/")
    assert "Your account has no recovery codes that you can still use." in browser.page.text
    assert "Contact support." in browser.page.text
    browser.click("/sign-in/code/")
    assert browser.page.inputs["code"]


def test_factor_that_staff_removed_meanwhile(
    browser: Browser, user: User, active: Any, phone: Phone
) -> None:
    """The code page is no dead end: the password is enough now, so it is asked for."""
    sign_in(browser)
    submit = browser.submission(code=phone.code())
    staff_actions.revoke(user, reason="test", origin=ORIGIN)
    submit(browser)
    assert browser.path == "/sign-in/"
    assert "Sign in again" in browser.page.flash
    sign_in(browser)
    assert browser.path == "/account/"
