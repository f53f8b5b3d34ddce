"""The language that somebody chooses stays, for pages only (P-13)."""

from typing import Any

import pytest

from optin.models import User
from tests.kit.browser import APP, CONFIRM, HOST, NUMBER_PAGE, Browser, sign_in

pytestmark = pytest.mark.django_db(transaction=True)


def choose(browser: Browser, language: str) -> None:
    """Press a button at the end of the page."""
    found = [form for form in browser.page.forms if form.action == "/language/"]
    assert len(found) == 1, browser.page.address
    (form,) = found
    pressed = [given for tag, given in browser.page.tags if given.get("name") == "language"]
    assert [(each["value"], each["lang"]) for each in pressed] == [("en-au", "en-au"), ("de", "de")]
    answer = post(browser, browser.page.address, language=language, **form.fields)
    assert answer.status_code == 303
    browser.go(answer["Location"])


def post(browser: Browser, came_from: str = "", **fields: str) -> Any:
    headers = {"origin": f"https://{HOST}", "referer": came_from}
    return browser.client.post("/language/", fields, secure=True, headers=headers)


def token(browser: Browser) -> str:
    return browser.page.forms[0].fields["csrfmiddlewaretoken"]


def language(browser: Browser) -> str:
    """The language of the page, and of the header; and which of the two is marked."""
    _tag, html = next(each for each in browser.page.tags if each[0] == "html")
    assert browser.answer["Content-Language"] == html["lang"]
    current = [
        given["value"]
        for _tag, given in browser.page.tags
        if given.get("name") == "language" and given.get("aria-current") == "true"
    ]
    assert current == [html["lang"]]
    return html["lang"]


def test_choice_stays_for_a_visitor_and_after_the_sign_in(browser: Browser, user: User) -> None:
    """P-13."""
    browser.go("/sign-in/?next=/account/activity/")
    assert language(browser) == "en-au"
    choose(browser, "de")
    assert browser.page.address.endswith("/sign-in/?next=/account/activity/")
    assert browser.page.heading == "Anmelden"
    browser.send(username="ann", password="wrong")
    assert language(browser) == "de"
    sign_in(browser)
    assert browser.page.heading == "Ihr Konto"
    for address in (NUMBER_PAGE, APP, CONFIRM, "/nothing", "/account/access/"):
        browser.go(address)
        assert language(browser) == "de"
    browser.send("/sign-out/")
    assert browser.page.heading == "Anmelden"
    assert language(browser) == "de"


def test_choice_leads_to_a_page_that_is_there(ann: Browser) -> None:
    """From the page of a form that was refused, back to that form; from no page, home."""
    ann.go(CONFIRM)
    ann.send(password="")
    assert ann.page.status == 422
    choose(ann, "de")
    assert (ann.path, ann.page.status) == (CONFIRM, 200)
    forged: Any = ann.client.post("/sign-out/", secure=True)
    assert (forged.status_code, b"/language/" in forged.content) == (403, False)


def test_page_that_is_not_there_repeats_no_address(browser: Browser) -> None:
    """S-50: it may hold an access key. Still the choice leads back."""
    browser.go("/nothing?WsAccessKey=wsk-5f2c")
    assert "wsk-5f2c" not in browser.page.html
    choose(browser, "de")
    assert browser.page.address.endswith("/nothing?WsAccessKey=wsk-5f2c")


@pytest.mark.parametrize(
    "came_from",
    [
        "https://evil.example/account/",
        f"http://{HOST}/account/",
        f"https://{HOST}//evil.example/",
        f"https://{HOST}/\\\\evil.example/",
        "javascript:alert(1)",
        "https://[::1/account/",
        "",
    ],
)
def test_choice_leads_nowhere_else(came_from: str, browser: Browser) -> None:
    browser.go("/sign-in/")
    browser.client.handler.enforce_csrf_checks = False  # which looks at the referrer too
    answer = post(browser, came_from, language="de")
    assert (answer.status_code, answer["Location"]) == (303, "/")


@pytest.mark.parametrize("chosen", ["fr", "", "de\r\nSet-Cookie: a=b", "DE" * 500, "en"])
def test_language_that_is_not_offered_is_not_kept(chosen: str, browser: Browser) -> None:
    browser.go("/sign-in/")
    answer = post(browser, csrfmiddlewaretoken=token(browser), language=chosen)
    assert answer.status_code == 303
    assert "__Host-language" not in answer.cookies


def test_cookie_that_somebody_made_up_is_not_heard(browser: Browser) -> None:
    for planted in ("fr", "../../etc/passwd", "x" * 3000, ""):
        browser.client.cookies["__Host-language"] = planted
        browser.go("/sign-in/")
        assert (browser.page.status, language(browser)) == (200, "en-au")


def test_cookie_is_bound_to_the_host(browser: Browser) -> None:
    browser.go("/sign-in/")
    choose(browser, "de")
    cookie = browser.client.cookies["__Host-language"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["domain"]) == ("/", "")
    assert cookie["max-age"] == 365 * 24 * 3600
    assert not browser.session


@pytest.mark.parametrize("address", ["/sign-in/", "/password-reset/sent/", "/Help", "/nothing"])
def test_no_cache_gives_one_language_for_the_other(address: str, browser: Browser) -> None:
    browser.go(address)
    assert {"Cookie", "Accept-Language"} <= set(browser.answer["Vary"].split(", "))
    assert "no-store" in browser.answer["Cache-Control"]
