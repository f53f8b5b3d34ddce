"""What a session is, how long it lasts, and what it opens (S-36)."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import time_machine
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import Grant

from optin.models import AuditEvent, Notice, ProviderUser, User
from optin.operations import not_me, passwords
from optin.web.session_store import SessionStore, row_of
from tests.kit.apps import app_code, make_recovery_codes
from tests.kit.browser import (
    ADDRESSES,
    APP,
    CONFIRM,
    NEW_PASSWORD,
    NUMBER_PAGE,
    OFF,
    PROVE,
    Browser,
    begin_app,
    name_number,
    opt_in,
    prove,
    recover,
    sign_in,
)
from tests.kit.oauth import authorize
from tests.kit.people import ORIGIN, OTHER_NUMBER, PASSWORD
from tests.kit.phone import Phone
from tests.kit.staff import ADDRESSES as ADMIN

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def is_in(browser: Browser) -> bool:
    browser.go("/account/")
    return browser.path == "/account/"


def content(key: str) -> dict[str, Any]:
    found: dict[str, Any] = Session.objects.get(pk=row_of(key)).get_decoded()
    return found


# -- ids ---------------------------------------------------------------------------


def test_each_step_has_a_new_id(browser: Browser, user: User, phone: Phone, clock: Any) -> None:
    """S-36. From nobody over the password and the code, each proof, and each change."""
    ids = []
    sign_in(browser)
    ids.append(browser.session)
    name_number(browser)
    assert browser.session == ids[-1]
    browser.send(code=phone.code())  # a change
    ids.append(browser.session)
    browser.send("/sign-out/")
    clock.shift(timedelta(minutes=15))
    sign_in(browser)
    ids.append(browser.session)  # half
    browser.send(code=phone.code())
    ids.append(browser.session)
    clock.shift(timedelta(minutes=20))
    browser.go(NUMBER_PAGE)
    browser.send(password=PASSWORD)
    ids.append(browser.session)
    browser.send(f"{PROVE}send/")
    browser.send(code=phone.code())
    ids.append(browser.session)
    browser.go("/account/password/")
    browser.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)
    ids.append(browser.session)
    secret = begin_app(browser)
    browser.send(code=app_code(secret))
    ids.append(browser.session)

    assert len(set(ids)) == len(ids) == 8
    clock.shift(timedelta(minutes=1))
    for old in ids[:-1]:
        client = Browser()
        client.client.cookies["__Host-session"] = old
        assert not is_in(client)
    assert is_in(browser)


def test_id_that_somebody_planted_is_not_taken(user: User) -> None:
    """Session fixation: an id that this service did not make, or made for nobody."""
    for planted in ("a" * 32, _session_of_nobody()):
        browser = Browser()
        browser.client.cookies["__Host-session"] = planted
        sign_in(browser)
        assert browser.session != planted
        assert is_in(browser)
        other = Browser()
        other.client.cookies["__Host-session"] = planted
        assert not is_in(other)


def _session_of_nobody() -> str:
    session = Client().session
    session.save()
    return str(session.session_key)


# -- half --------------------------------------------------------------------------


@pytest.fixture
def half(browser: Browser, active: ProviderUser, clock: time_machine.Traveller) -> Browser:
    """Past the password, before the code."""
    clock.shift(timedelta(minutes=15))
    sign_in(browser)
    assert browser.path == "/sign-in/code/"
    return browser


@pytest.mark.parametrize("method", ["get", "post"])
def test_half_session_opens_nothing(method: str, half: Browser) -> None:
    """S-36."""
    half.client.handler.enforce_csrf_checks = False
    for address in (each for each in ADDRESSES if each.startswith("/account/")):
        response: Any = getattr(half.client, method)(address, secure=True)
        if response.status_code != 405:
            assert response.status_code == 303, address
            assert response["Location"].split("?")[0] == "/sign-in/"


@pytest.mark.parametrize(
    ("after", "works"),
    [(timedelta(minutes=10, microseconds=-1), True), (timedelta(minutes=10), False)],
    ids=["just before", "at ten minutes"],
)
def test_half_session_dies_after_ten_minutes(
    after: timedelta, works: bool, half: Browser, user: User, clock: time_machine.Traveller
) -> None:
    """S-36."""
    code = make_recovery_codes(user)[0]
    half.click("/sign-in/recovery/")
    submit = half.submission(recovery=code)
    clock.shift(after)
    submit(half)
    assert (half.path == NUMBER_PAGE) == works
    assert works or half.page.flash.startswith(
        "Sign in again: the time to enter the code is over. For support: request ID "
    )
    assert is_in(half) == works


def choose_password(user: User) -> None:
    link = default_token_generator.make_token(user)
    passwords.choose(user, NEW_PASSWORD, origin=ORIGIN, link=link)


def disown(user: User) -> None:
    # About a number that went since: the one of now stays.
    notice = Notice.objects.create(
        user=user, kind=Notice.Kind.ACTIVATED, about_id=0, created_at=timezone.now()
    )
    not_me.disown(notice, PASSWORD, origin=ORIGIN)


@pytest.mark.parametrize(
    "step", ["/sign-in/code/", "/sign-in/code/send/", "/sign-in/recovery/", "/sign-in/lost/"]
)
@pytest.mark.parametrize("end", [choose_password, disown])
def test_half_session_ends_with_the_others(
    end: Callable[[User], None], step: str, half: Browser, user: User, phone: Phone
) -> None:
    """S-36. Also one that began at the very moment of it: the clock stands still here."""
    half.client.handler.enforce_csrf_checks = False
    end(user)
    texts = len(phone.messages)

    response: Any = half.client.post(step, {"code": phone.code()}, secure=True)

    assert (response.status_code, response["Location"]) == (303, "/sign-in/")
    assert len(phone.messages) == texts
    half.go(response["Location"])
    assert half.page.flash.startswith(
        "Sign in again: your account was changed after you entered your password."
    )
    assert not is_in(half)


# -- ages --------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(("staff", "minutes"), [(False, 30), (True, 15)])
def test_idle_session_ends(
    staff: bool, minutes: int, user: User, browser: Browser, clock: time_machine.Traveller
) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=staff)
    sign_in(browser)
    for _ in range(3):  # each visit counts anew
        clock.shift(minutes * MINUTE - timedelta(seconds=1))
        assert is_in(browser)
    clock.shift(minutes * MINUTE)
    assert not is_in(browser)
    assert "You were signed out" in browser.page.flash
    assert browser.page.texts[".refused"] == browser.page.flash


def test_session_ends_after_twelve_hours(ann: Browser, clock: time_machine.Traveller) -> None:
    """A new id does not renew them."""
    for _ in range(24):
        clock.shift(29 * MINUTE)
        assert is_in(ann)
    ann.go(CONFIRM)
    ann.send(password=PASSWORD)
    clock.shift(24 * MINUTE - timedelta(microseconds=1))
    assert is_in(ann)
    clock.shift(timedelta(microseconds=1))
    assert not is_in(ann)


# -- elsewhere ---------------------------------------------------------------------


def activate(browser: Browser, user: User, phone: Phone) -> None:
    opt_in(browser, phone)


def change(browser: Browser, user: User, phone: Phone) -> None:
    opt_in(browser, phone, OTHER_NUMBER)


def add_app(browser: Browser, user: User, phone: Phone) -> None:
    secret = begin_app(browser)
    browser.send(code=app_code(secret))


def change_password(browser: Browser, user: User, phone: Phone) -> None:
    browser.go("/account/password/")
    browser.send(new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)


def turn_off(browser: Browser, user: User, phone: Phone) -> None:
    browser.go(OFF)
    browser.send(recovery=make_recovery_codes(user)[0])


@pytest.mark.parametrize(
    ("do", "ends"),
    [
        (activate, True),
        (change, True),
        (add_app, True),
        (change_password, True),
        (turn_off, False),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_sessions_elsewhere_end_and_this_one_goes_on(
    do: Callable[[Browser, User, Phone], None],
    ends: bool,
    user: User,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    """S-34: what was signed in before had other factors. Turning off ends nothing."""
    here, elsewhere = Browser(), Browser()
    if do is activate:
        sign_in(elsewhere)
        sign_in(here)
    else:
        codes = _with_number(user, phone, clock)
        for browser in (elsewhere, here):
            sign_in(browser)
            recover(browser, codes.pop())
    assert is_in(elsewhere)
    assert is_in(here)

    do(here, user, phone)

    assert here.answer.status_code == 303
    assert is_in(here)
    assert is_in(elsewhere) != ends


def _with_number(user: User, phone: Phone, clock: time_machine.Traveller) -> list[str]:
    first = Browser()
    sign_in(first)
    opt_in(first, phone)
    clock.shift(timedelta(minutes=11))
    return make_recovery_codes(user)


@pytest.mark.parametrize("cookie", ["", "made-up"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_strangers_store_no_session(method: str, cookie: str, user: User) -> None:
    """Any address, also with a form that says something: they could fill the table."""
    admin = [re.sub(r"<.+?>", "1", f"/admin/{route}") for route in ADMIN.values()]
    for address in [*ADDRESSES, *admin]:
        stranger = Client(raise_request_exception=False)
        if cookie:
            stranger.cookies["__Host-session"] = cookie
        form = {"username": user.username, "password": "wrong", "code": "123456"}
        response: Any = getattr(stranger, method)(address, form, secure=True)
        assert response.status_code < 500, address
        assert not Session.objects.exists(), address


# -- the old id --------------------------------------------------------------------


def prove_password(browser: Browser, phone: Phone) -> None:
    browser.go(CONFIRM)
    browser.send(password=PASSWORD)


@pytest.fixture
def thief(ann: Browser, phone: Phone, clock: Any) -> Browser:
    """Who has ann's cookie, from before she typed her password again."""
    clock.shift(20 * MINUTE)
    old = ann.copy()
    prove_password(ann, phone)
    assert ann.session != old.session
    return old


def test_old_id_has_not_proved_the_password(thief: Browser, ann: Browser, user: User) -> None:
    for address in (NUMBER_PAGE, APP, OFF, "/account/password/"):
        thief.go(address)
        assert thief.path == CONFIRM
    thief.client.handler.enforce_csrf_checks = False
    form = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    response: Any = thief.client.post("/account/password/", form, secure=True)
    assert response["Location"].split("?")[0] == CONFIRM
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    ann.go(NUMBER_PAGE)
    assert ann.path == NUMBER_PAGE


def sign_out_others(browser: Browser, phone: Phone) -> None:
    """Also where there are none any more."""
    browser.go("/account/access/")
    browser.post("/account/access/", others="all")


@pytest.mark.parametrize(("before", "step"), [(prove_password, prove), (prove, sign_out_others)])
def test_old_id_and_the_password_do_not_lead_to_what_another_step_proved(
    before: Callable[[Browser, Phone], None],
    step: Callable[[Browser, Phone], None],
    ann_on: Browser,
    phone: Phone,
    clock: time_machine.Traveller,
) -> None:
    """Whoever copied the cookie before, and knows the password."""
    before(ann_on, phone)
    thief = ann_on.copy()
    step(ann_on, phone)
    prove_password(thief, phone)
    assert thief.session != ann_on.session
    thief.go(APP)
    assert thief.path in {CONFIRM, PROVE}
    assert is_in(ann_on)
    clock.shift(MINUTE)
    assert not is_in(thief)


@pytest.mark.usefixtures("client_app")
def test_old_id_lets_no_application_act(thief: Browser, ann: Browser) -> None:
    asked = authorize()
    thief.go(asked)
    assert thief.path == CONFIRM
    thief.client.handler.enforce_csrf_checks = False
    form = {"allow": "Allow", "scope": "2fa fileid:777"}
    response: Any = thief.client.post(asked, form, secure=True)
    assert response["Location"].split("?")[0] == CONFIRM
    assert not Grant.objects.exists()

    ann.go(asked)
    thief.send(password=PASSWORD)  # who knows it goes on with the session of now
    assert ann.path == thief.path == "/o/authorize/"


def test_old_row_holds_nothing_new(ann: Browser, clock: Any) -> None:
    """What was proved, and the new id, by which the reader of a table could come (S-34)."""
    clock.shift(20 * MINUTE)
    ann.go(CONFIRM)
    old = ann.session
    before = content(old)
    ann.send(password=PASSWORD)
    after = content(old)
    assert after.keys() - before.keys() == {"ends", "step", "successor"}
    assert {key: after[key] for key in before} == before
    for id_ in (old, ann.session):
        assert id_ not in f"{after} {content(ann.session)}"


@pytest.mark.parametrize("way", ["right code", "right password"])
def test_old_id_is_not_renewed(
    way: str, ann: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """Not by what it began before, and to nothing of its own."""
    thief = ann.copy()
    name_number(thief, OTHER_NUMBER)
    waiting = thief.submission(code=phone.code_to(OTHER_NUMBER))
    prove_password(ann, phone)
    if way == "right code":
        waiting(thief)
        clock.shift(MINUTE)
        assert not is_in(thief)
    else:
        prove_password(thief, phone)
        assert thief.session == ann.session  # whoever knows the password repeats the step


@pytest.mark.parametrize("which", [0, 1, -1], ids=["the oldest", "one between", "the newest"])
def test_sign_out_under_one_id_ends_each(
    which: int, thief: Browser, ann: Browser, phone: Phone
) -> None:
    """Also in a tab from before."""
    ids = [thief, ann.copy()]
    prove_password(ann, phone)
    ids.append(ann)
    ids[which].go("/account/")
    ids[which].send("/sign-out/")
    for browser in ids:
        assert not is_in(browser)


def test_slow_request_does_not_take_the_mark_away(
    ann: Browser, phone: Phone, clock: time_machine.Traveller
) -> None:
    """It read the session before, and saves it after."""
    old = ann.copy()
    slow = SessionStore(ann.session)
    slow["flash"] = "Saved."
    prove_password(ann, phone)
    marked = content(old.session)
    slow["factor_at"] = slow["seen"] = timezone.now().timestamp()
    slow.save()
    assert content(old.session) == {**marked, "flash": "Saved."}
    clock.shift(MINUTE)
    assert not is_in(old)


@pytest.mark.parametrize("meanwhile", ["signs out", "takes a step"])
@pytest.mark.parametrize("operation", ["confirm", "choose"])
def test_session_that_ends_while_it_asks(
    operation: str,
    meanwhile: str,
    ann: Browser,
    user: User,
    phone: Phone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another tab does it: then nothing is done here."""
    tab = ann.copy()
    real = getattr(passwords, operation)

    def slow(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(passwords, operation, real)
        if meanwhile == "signs out":
            tab.send("/sign-out/")
        else:
            prove_password(tab, phone)
        return real(*args, **kwargs)

    monkeypatch.setattr(passwords, operation, slow)
    if operation == "confirm":
        prove_password(ann, phone)
    else:
        change_password(ann, user, phone)

    assert ann.answer.status_code == 303
    assert is_in(ann) == (meanwhile == "takes a step")
    assert is_in(tab) == (meanwhile == "takes a step")
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert not AuditEvent.objects.filter(outcome="invalid_grant").exists()  # nobody typed one


# -- next= -------------------------------------------------------------------------


EVIL = [
    "https://evil.example/",
    "http:evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "javascript:alert(1)",
    " //evil.example",
    "\x08//evil.example",
    "/\t/evil.example",
    "/\r\nSet-Cookie: a=b",
    "evil.example",
    "https://2fa.example.com@evil.example/",
    "https://[::1",
    "\u2028//evil.example",
]


@pytest.mark.parametrize("page", ["/sign-in/", CONFIRM])
def test_next_is_local_only(page: str, ann: Browser) -> None:
    """S-60: whatever browsers make of it, it stays on this host."""
    ann.client.handler.enforce_csrf_checks = False
    form = {"username": "ann", "password": PASSWORD}
    for evil in EVIL:
        response: Any = ann.client.post(f"{page}?next={quote(evil)}", form, secure=True)
        assert response.status_code == 303, evil
        location = response["Location"]
        assert location.startswith("/"), evil
        # As a browser reads it: without tabs and line breaks, and with \\ as /.
        read = location.translate({9: None, 10: None, 13: None}).replace("\\", "/")
        assert not read.startswith("//"), evil
        assert "a" not in response.cookies


def test_half_session_holds_who_and_when_only(half: Browser, active: ProviderUser) -> None:
    held = content(half.session)
    assert held.keys() <= {"half", "flash", "flash_refused", "flash_to_password", "refused"}
    assert held["half"].keys() == {"user", "at", "ended"}
    assert SESSION_KEY not in held
