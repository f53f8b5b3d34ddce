"""Programs that nobody here wrote sign people in by OpenID Connect, against a real server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from optin.operations.openid import MULTI_FACTOR
from tests.clients.openid_programs import (
    DISCOVERY,
    MODULES,
    SECRET,
    Browser,
    Program,
    apache,
    decoded,
    django_site,
    other_keys,
)
from tests.clients.people import PASSWORD, Person
from tests.clients.programs import Service
from tests.kit import chromium
from tests.kit.apps import app_code
from tests.kit.server import needs

SET_UP = f"""
import json
from django.core.management import call_command
from tests.clients import people
print(json.dumps({{"people": people.make()}}))
for name, callback, left in (
    ("django", "https://books.example.com/oidc/callback/", "https://books.example.com/claims"),
    ("apache", "https://ledger.example.com/callback", "https://ledger.example.com/left.html"),
):
    call_command(
        "createapplication", "confidential", "authorization-code", client_id=name, name=name,
        client_secret={SECRET!r}, redirect_uris=callback, post_logout_redirect_uris=left,
    )
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One whose clock is right: programs compare it with theirs."""
    with chromium.serve(tmp_path_factory.mktemp("openid"), set_up=SET_UP) as site:
        yield Service(site)


@pytest.fixture(scope="module", params=["django", "apache"])
def program(
    request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    if request.param == "django":
        started = django_site(service.url, tmp_path_factory.mktemp("django"))
    else:
        needs("mod_auth_openidc", (MODULES / "mod_auth_openidc.so").exists())
        started = apache(f"{service.url}{DISCOVERY}")
    with started as program:
        yield program


@pytest.fixture
def late_program(program: Program, service: Service, tmp_path: Path) -> Iterator[Program]:
    """The same, for which the key is gone that still signs."""
    with other_keys(service.url) as address:
        if program.host[0] == "b":
            started = django_site(service.url, tmp_path, jwks=f"{address}/jwks")
        else:
            started = apache(f"{address}{DISCOVERY}")
        with started as late:
            yield late


def sign_in(browser: Browser, person: Person) -> None:
    browser.go(browser.program.at(browser.program.start))
    assert browser.path == "/sign-in/"
    browser.send(username=person.name, password=PASSWORD)


def allow(browser: Browser, person: Person) -> dict[str, Any]:
    """Press "Allow"; return the claims that the program then has."""
    assert browser.path == "/o/authorize/"
    assert f"Sign in to {'django' if browser.program.host[0] == 'b' else 'apache'}?" in (
        browser.page.html
    )
    browser.send(press="allow")
    assert urlsplit(browser.page.address).netloc == browser.program.host
    told = browser.json(browser.program.at(browser.program.claims))
    email = told["email"] if "email" in told else told["userinfo"]["email"]
    assert email == f"{person.name}@example.com"
    claims = told["id_token"]
    found: dict[str, Any] = decoded(claims) if isinstance(claims, str) else claims
    return found


def is_refused(browser: Browser, person: Person) -> None:
    """Press "Allow", and check that the program lets nobody in."""
    assert browser.path == "/o/authorize/"
    form = browser.page.form("", set())
    sent = {**form.fields, "allow": form.buttons["allow"]}
    response = browser.session.post(browser.page.address, sent, timeout=30)
    assert urlsplit(response.url).netloc == browser.program.host
    assert response.status_code >= 400
    is_not_in(browser, person)


def is_not_in(browser: Browser, person: Person) -> None:
    """Check that the program does not know who is there."""
    claims = browser.session.get(browser.program.at(browser.program.claims), timeout=30)
    assert person.name not in claims.text


def add_app(service: Service, person: Person) -> str:
    """Let *person* have an app; return its secret."""
    found: str = service.site.do(
        f"""
from optin.models import User
from tests.kit.apps import add_app
out["secret"] = add_app(User.objects.get(username={person.name!r}), steps=-1).secret
"""
    )["secret"]
    return found


def test_who_has_no_factor_turns_it_on_by_text_and_is_in(
    program: Program, service: Service
) -> None:
    person, browser = next(service.people), Browser(program)
    sign_in(browser, person)
    assert "lets in only people who use two-factor sign-in" in browser.page.html
    browser.click("/account/two-factor/?next=")
    browser.click("/account/two-factor/number/")
    browser.send(number=person.number)
    browser.send(code=service.code(person, nth=1))
    browser.click("/o/authorize/")

    told = allow(browser, person)

    assert told["amr"] == ["pwd", "otp", "sms", "mfa"]
    assert told["acr"] == MULTI_FACTOR


def test_who_has_an_app_is_in_with_its_code(program: Program, service: Service) -> None:
    """... and out again, here too, and led back."""
    person, browser = next(service.people), Browser(program)
    secret = add_app(service, person)
    sign_in(browser, person)
    browser.send(code=app_code(secret))

    told = allow(browser, person)

    assert told["amr"] == ["pwd", "otp", "mfa"]
    assert told["acr"] == MULTI_FACTOR
    browser.go(program.at(program.leave))
    assert browser.path == "/o/logout/"
    browser.send(press="sign_out")
    assert browser.page.address.split("?")[0] == program.at(program.left)
    is_not_in(browser, person)
    browser.go(f"{service.url}/account/")
    assert browser.path == "/sign-in/"


def test_the_answer_to_another_request_lets_nobody_in(program: Program, service: Service) -> None:
    """An ID token whose nonce is not the one that the program asked with."""
    person, browser = next(service.people), Browser(program)
    secret = add_app(service, person)
    browser.go(program.at(program.start))
    [asked] = parse_qs(urlsplit(browser.page.address).query)["next"]
    forged = re.sub("nonce=[^&]+", "nonce=forged", asked)
    assert forged != asked
    browser.go(f"{service.url}/sign-in/?{urlencode({'next': forged})}")
    browser.send(username=person.name, password=PASSWORD)
    browser.send(code=app_code(secret))

    is_refused(browser, person)


def test_a_key_that_was_removed_lets_nobody_in(late_program: Program, service: Service) -> None:
    person, browser = next(service.people), Browser(late_program)
    secret = add_app(service, person)
    sign_in(browser, person)
    browser.send(code=app_code(secret))

    is_refused(browser, person)


def test_who_wants_no_factor_is_not_in(program: Program, service: Service) -> None:
    person, browser = next(service.people), Browser(program)
    sign_in(browser, person)
    form = browser.page.form("", set())
    sent = browser.session.post(browser.page.address, form.fields, allow_redirects=False)

    query = parse_qs(urlsplit(sent.headers["Location"]).query)
    assert query["error"] == ["unmet_authentication_requirements"]
    browser.session.get(sent.headers["Location"], timeout=30)
    is_not_in(browser, person)
