"""Programs that nobody here wrote sign people in by OpenID Connect, against a real server."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from optin.operations.openid import MULTI_FACTOR
from tests.clients.openid_programs import (
    MODULES,
    SECRET,
    Browser,
    Program,
    apache,
    decoded,
    django_site,
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
for name, callback in (
    ("django", "https://books.example.com/oidc/callback/"),
    ("apache", "https://ledger.example.com/callback"),
):
    call_command(
        "createapplication", "confidential", "authorization-code", client_id=name, name=name,
        client_secret={SECRET!r}, redirect_uris=callback,
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
        started = apache(service.url)
    with started as program:
        yield program


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


def test_who_has_no_factor_turns_it_on_by_text_and_is_in(
    program: Program, service: Service
) -> None:
    person, browser = next(service.people), Browser(program)
    sign_in(browser, person)
    assert "lets in only people who sign in with a second factor" in browser.page.html
    browser.click("/account/two-factor/?next=")
    browser.click("/account/two-factor/number/")
    browser.send(number=person.number)
    browser.send(code=service.code(person, nth=1))
    browser.click("/o/authorize/")

    told = allow(browser, person)

    assert told["amr"] == ["pwd", "otp", "sms", "mfa"]
    assert told["acr"] == MULTI_FACTOR


def test_who_has_an_app_is_in_with_its_code(program: Program, service: Service) -> None:
    person, browser = next(service.people), Browser(program)
    secret = service.site.do(
        f"""
from optin.models import User
from tests.kit.apps import add_app
out["secret"] = add_app(User.objects.get(username={person.name!r}), steps=-1).secret
"""
    )["secret"]
    sign_in(browser, person)
    browser.send(code=app_code(secret))

    told = allow(browser, person)

    assert told["amr"] == ["pwd", "otp", "mfa"]
    assert told["acr"] == MULTI_FACTOR


def test_who_wants_no_factor_is_not_in(program: Program, service: Service) -> None:
    person, browser = next(service.people), Browser(program)
    sign_in(browser, person)
    form = browser.page.form("", set())
    sent = browser.session.post(browser.page.address, form.fields, allow_redirects=False)

    query = parse_qs(urlsplit(sent.headers["Location"]).query)
    assert query["error"] == ["unmet_authentication_requirements"]
    browser.session.get(sent.headers["Location"], timeout=30)
    claims = browser.session.get(program.at(program.claims), timeout=30)
    assert person.name not in claims.text
