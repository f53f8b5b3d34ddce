"""What every page has in common (S-60, S-20), whoever looks at it."""

import re
from typing import Any

import pytest
from django.conf import LazySettings

from optin.models import User
from tests.kit.browser import (
    ADDRESSES,
    APP,
    NUMBER_PAGE,
    POLICY,
    RECOVERY,
    Browser,
    link_in_mail,
    sign_in,
)

pytestmark = pytest.mark.django_db(transaction=True)

HEADERS = {
    "Cache-Control": {"no-store", "max-age=0, no-cache, no-store, must-revalidate, private"},
    "X-Content-Type-Options": {"nosniff"},
    "Referrer-Policy": {"same-origin"},
    "X-Frame-Options": {"DENY"},
    "Cross-Origin-Opener-Policy": {"same-origin"},
    "Strict-Transport-Security": {"max-age=31536000; includeSubDomains; preload"},
}
HELP = [
    *("/Help", "/Help/Api/POST-User-verify-2fa-opt-in", "/Help/Errors"),
    *("/Help/Authentication", "/Help/Events"),
]


def assert_strict(answer: Any, address: str) -> None:
    for name, values in HEADERS.items():
        assert answer[name] in values, (address, name, answer.get(name))
    policy = set(answer["Content-Security-Policy"].split("; "))
    assert policy == POLICY, address
    assert not any("unsafe" in part for part in policy)


def assert_sound(html: str, address: str) -> None:
    """A page has no script or style in itself, and nothing from elsewhere."""
    assert '<html lang="en-au">' in html, address
    assert 'name="viewport"' in html, address
    assert html.count("<h1") == 1, address
    assert html.index('href="#main"') < html.index('id="main"'), address
    for script in re.findall("<script[^>]*>", html):
        assert re.fullmatch(r'<script src="/static/optin/\w+\.js" defer>', script), address
    for forbidden in ("<style", "style=", "onclick=", 'src="http', 'rel="stylesheet" href="http'):
        assert forbidden not in html, address


@pytest.fixture(autouse=True)
def hsts(settings: LazySettings) -> None:
    """As with DEBUG off from the start."""
    settings.SECURE_HSTS_SECONDS = 31_536_000
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = settings.SECURE_HSTS_PRELOAD = True


@pytest.mark.slow
def test_headers_of_every_page(ann_on: Browser) -> None:
    """S-60. With proofs that are fresh, so that each shows itself; then for nobody."""
    ann_on.go(NUMBER_PAGE)
    ann_on.go(APP)
    ann_on.send()
    for browser in (ann_on, Browser()):
        for address in [*ADDRESSES, link_in_mail("/not-me/"), "/nothing", *HELP]:
            for method in ("get", "head", "post", "put"):
                answer = getattr(browser.client, method)(address, secure=True)
                assert_strict(answer, f"{method} {address}")
                if method == "get" and answer.status_code in {200, 404}:
                    assert_sound(answer.content.decode(), address)


@pytest.mark.slow
def test_what_is_secret_is_on_no_other_page(ann_on: Browser) -> None:
    """Codes of a list and the secret of an app are shown where they are made alone."""
    ann_on.go(RECOVERY)
    ann_on.send()
    shown = [*ann_on.page.codes]
    ann_on.go(APP)
    ann_on.send()
    shown += [text for text in ann_on.page.codes if len(text) > 30]
    assert len(shown) == 11
    for address in ADDRESSES:
        if address not in {APP, RECOVERY}:
            ann_on.go(address)
            assert not any(secret in ann_on.page.html for secret in shown), address


@pytest.mark.slow
def test_each_password_field_has_a_button_that_shows_it(ann: Browser, user: User) -> None:
    """Hidden, until the script says that it works."""
    seen = 0
    ann.go("/password-reset/")
    ann.send(email=user.email)
    reset = link_in_mail("/password-reset/")
    for browser in (ann, Browser()):
        for address in [*ADDRESSES, reset]:
            browser.go(address)
            page = browser.page
            fields = [g["id"] for g in page.inputs.values() if g.get("type") == "password"]
            buttons = [given for tag, given in page.tags if "data-shows" in given]
            assert [given["data-shows"] for given in buttons] == fields, address
            assert all(given["type"] == "button" and "hidden" in given for given in buttons)
            seen += len(fields)
    assert seen >= 8


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("a" * 255, "x"),
        ("ann", "x" * 1025),
        ("a\0b", "x"),
        ("ann", "x\0"),
        ("\ud7ff\U0010ffff", "x"),
        ("' OR 1=1 --", "x"),
        ("<script>alert(1)</script>", "x"),
    ],
    ids=["long name", "long password", "NUL", "NUL in password", "far planes", "SQL", "script"],
)
def test_nonsense_at_the_sign_in(username: str, password: str, browser: Browser, db: Any) -> None:
    browser.go("/sign-in/")
    browser.send(username=username, password=password)
    assert browser.page.status == 422
    assert browser.page.title.startswith("Error:")
    assert "<script>alert" not in browser.page.html
    assert not browser.session


def test_password_of_1025_characters_is_not_taken(ann: Browser) -> None:
    """S-20: no longer than the sign-in takes."""
    for length in (1025, 1024):
        ann.go("/account/password/")
        new = "correct horse " * 100
        ann.send(new_password1=new[:length], new_password2=new[:length])
        assert ann.page.title.startswith("Error:") == (length == 1025)
    fresh = Browser()
    sign_in(fresh, password=new[:1024])
    assert fresh.path == "/account/"


@pytest.mark.parametrize("debug", [False, True])
def test_form_that_is_too_big_is_a_400(debug: bool, browser: Browser, settings: Any) -> None:
    settings.DEBUG = debug
    browser.go("/sign-in/")
    many = {f"field{n}": "s3cret" for n in range(1500)}
    for data in ({"username": "s3cret" * 20_000}, many):
        answer = browser.post("/sign-in/", **data)
        assert answer.status_code == 400
        assert b"s3cret" not in answer.content
        assert "no-store" in answer["Cache-Control"]


def test_a_list_of_codes_is_one_guess(ann: Browser, user: User) -> None:
    """S-11."""
    ann.go(NUMBER_PAGE)
    ann.send(number="0491 570 156")
    ann.post(ann.page.address, code=[f"{n:07d}" for n in range(50)])
    assert User.objects.get(pk=user.pk).otp_failures <= 1


def test_links_in_mails_come_from_the_settings(browser: Browser, user: User) -> None:
    """S-26."""
    for name, value in (("HOST", "evil.example"), ("PROTO", "http"), ("FOR", "203.0.113.66")):
        browser.client.defaults[f"HTTP_X_FORWARDED_{name}"] = value
    browser.client.defaults["HTTP_FORWARDED"] = "host=evil.example"
    browser.go("/password-reset/")
    browser.send(email="ann@example.com")
    assert browser.path == "/password-reset/sent/"
    link_in_mail("/password-reset/")
