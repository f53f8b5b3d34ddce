"""A GET reads (S-40, S-60, P-12): nothing is sent, counted or changed by it, whoever asks."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import connection

from optin.models import ProviderUser, User
from optin.models.second_factors import overview
from tests.kit.apps import app_code, make_recovery_codes, set_up_app
from tests.kit.browser import (
    ADDRESSES,
    NUMBER_PAGE,
    PROVE,
    Browser,
    link_in_mail,
    name_number,
    opt_in,
    sign_in,
)
from tests.kit.people import OTHER_NUMBER
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)


def rows() -> dict[str, list[tuple[Any, ...]]]:
    """All that the database holds; of a session only its id and its end."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if not table.startswith("django_migrations"):
                cursor.execute(f"SELECT * FROM {table}")  # noqa: S608
                found[table] = sorted(cursor.fetchall(), key=repr)
    found["django_session"] = sorted(Session.objects.values_list("pk"))
    return found


# -- kinds of people ---------------------------------------------------------------


def nobody(browser: Browser, user: User, phone: Phone) -> None:
    pass


def switched_on(browser: Browser, user: User, phone: Phone) -> None:
    sign_in(browser)
    opt_in(browser, phone)


def half_signed_in(browser: Browser, user: User, phone: Phone) -> None:
    switched_on(Browser(), user, phone)
    make_recovery_codes(user)
    sign_in(browser)


def changing(browser: Browser, user: User, phone: Phone) -> None:
    switched_on(browser, user, phone)
    name_number(browser, OTHER_NUMBER)


def with_an_app(browser: Browser, user: User, phone: Phone) -> None:
    switched_on(Browser(), user, phone)
    secret = set_up_app(user)
    sign_in(browser)
    browser.send(code=app_code(secret, 1))


def setting_an_app_up(browser: Browser, user: User, phone: Phone) -> None:
    sign_in(browser)
    browser.go("/account/two-factor/app/")
    browser.send()


def refused(browser: Browser, user: User, phone: Phone) -> None:
    """A refusal waits to be shown."""
    half_signed_in(browser, user, phone)
    browser.post(browser.page.address, code="12")


PEOPLE: list[Callable[[Browser, User, Phone], None]] = [
    nobody,
    half_signed_in,
    changing,
    with_an_app,
    setting_an_app_up,
    refused,
]


@pytest.mark.slow
@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.__name__)
def test_get_changes_nothing(
    person: Callable[[Browser, User, Phone], None], browser: Browser, user: User, phone: Phone
) -> None:
    """S-40, S-60. Every address, twice: a prefetch, a refresh and the back button are GETs."""
    person(browser, user, phone)
    links = [link_in_mail("/not-me/")] if mail.outbox else []
    number = ProviderUser.objects.filter(user=user).values_list("pk", flat=True).first()
    there = [*ADDRESSES, *links, f"{NUMBER_PAGE}code/?number={number}", f"{PROVE}?next=/account/"]
    before, texts, mails = rows(), len(phone.messages), len(mail.outbox)

    for address in [*there, *there]:
        response: Any = browser.client.get(address, secure=True)
        assert response.status_code < 500, address

    assert rows() == before
    assert (len(phone.messages), len(mail.outbox)) == (texts, mails)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
def test_wrong_method_is_a_405(method: str, ann: Browser) -> None:
    """S-60, S-61: before anything else is looked at."""
    for client in (ann.client, Browser().client):
        client.handler.enforce_csrf_checks = False
        for address in ADDRESSES:
            response: Any = client.generic(method, address, secure=True)
            assert response.status_code == 405, address
            assert response["Allow"] in {"GET, HEAD, POST", "GET, HEAD", "POST"}


# -- CSRF --------------------------------------------------------------------------


def test_post_without_a_token_is_a_page_that_helps(ann_on: Browser) -> None:
    """S-60: nothing is done; whoever is signed in is led on from the pages to sign in."""
    before = rows()
    data = {"code": "1234567", "password": "x", "sign_out": "yes"}
    for address in ADDRESSES:
        response: Any = ann_on.client.post(address, data, secure=True, headers={"origin": "null"})
        if address.startswith("/sign-in/"):
            assert (response.status_code, response["Location"]) == (303, "/account/")
            continue
        assert response.status_code == 403, address
        assert b"This form can't be sent" in response.content
        assert b'href="/"' in response.content
    assert rows() == before


@pytest.mark.slow
def test_every_form_has_a_token(ann_on: Browser) -> None:
    for address in ADDRESSES:
        ann_on.go(address)
        for form in ann_on.page.forms:
            assert form.method == "post"
            assert form.fields.get("csrfmiddlewaretoken"), address


@pytest.mark.parametrize("page", ["sign-in", "code"])
def test_old_form_after_a_sign_in_in_another_tab_leads_on(
    page: str, browser: Browser, active: ProviderUser, phone: Phone
) -> None:
    """P-12: the token changed with the sign-in."""
    browser.go("/sign-in/?next=/account/activity/")
    if page == "code":
        browser.send(username="ann", password="correct horse battery")
    tab = browser.tab()
    tab.page = browser.page
    sign_in(tab)
    tab.send(code=phone.code())
    assert tab.path == "/account/"

    typed = {"code": phone.code()} if page == "code" else {"username": "ann", "password": "x"}
    browser.send(**typed)

    assert browser.path == "/account/activity/"
    assert browser.page.status == 200
    assert overview(active.user).is_on
