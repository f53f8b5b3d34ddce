"""The pages without an account: start, simulated phone, and what an error looks like."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import path

from optin.gateways import Simulator, Text
from tests.kit.browser import POLICY
from twofa_site.urls import urlpatterns as all_urls

SECRET = "wsk-5f2c"


@pytest.fixture
def development(settings: Any, tmp_path: Path) -> Simulator:
    """A development start, whose gateway is the simulator."""
    settings.DEBUG = True
    settings.DATA_DIR = tmp_path
    return Simulator(tmp_path)


def text_of(response: Any) -> str:
    assert response["Content-Type"] == "text/html; charset=utf-8"
    text: str = response.content.decode()
    return text


# -- start -------------------------------------------------------------------------


def test_start_page_leads_to_the_sign_in() -> None:
    response = Client().get("/")
    assert (response.status_code, response["Location"]) == (302, "/sign-in/")


# -- the simulated phone (P-15) ----------------------------------------------------


@pytest.mark.parametrize(
    ("debug", "gateways", "status"),
    [
        (True, ("simulator",), 200),
        (True, ("kannel", "simulator"), 200),
        (False, ("simulator",), 404),
        (True, ("kannel",), 404),
    ],
)
def test_simulator_is_there_in_development_only(
    debug: bool, gateways: tuple[str, ...], status: int, settings: Any, development: Simulator
) -> None:
    """P-15."""
    development.send(Text("+61491570156", "1234567 is your code", "sms-1"))
    settings.DEBUG = debug
    settings.OPTIN_GATEWAYS = gateways
    response = Client().get("/simulator/")
    assert response.status_code == status
    assert ("1234567" in text_of(response)) == (status == 200)
    assert ('href="/simulator/"' in text_of(Client().get("/sign-in/"))) == (status == 200)


def test_simulator_loads_itself_again_without_scripts(development: Simulator) -> None:
    text = text_of(Client().get("/simulator/"))
    assert re.search('<noscript>\\s*<meta http-equiv="refresh" content="3">\\s*</noscript>', text)


def test_simulator_shows_the_newest_texts_first(development: Simulator) -> None:
    """P-15."""
    for number in range(60):
        to, body = f"+614915700{number:02d}", f"body <{number}>\n\n@host"
        development.send(Text(to, body, f"sms-{number}"))
    text = text_of(Client().get("/simulator/"))
    shown = [text.find(f"body &lt;{number}&gt;\n\n@host") for number in range(59, 9, -1)]
    assert -1 not in shown
    assert shown == sorted(shown)
    assert "body &lt;9&gt;" not in text
    assert "To +61491570059" in text
    assert "2 Nov, 23:00:00 AEDT" in text  # noon in UTC, with its zone


# -- errors ------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    "address", ["/nothing", "/user", "/simulator/x", "/Help/x", "/static/x.css", "/o/x"]
)
def test_unknown_address_is_a_plain_404(address: str, debug: bool, settings: Any) -> None:
    """Also in development, where Django's own page would repeat the query."""
    settings.DEBUG = debug
    response = Client().get(address, {"WsAccessKey": SECRET})
    text = text_of(response)
    assert response.status_code == 404
    assert "Page not found" in text
    assert SECRET not in text


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "body_type", "answer_type"),
    [
        (None, "application/x-www-form-urlencoded", "text/html"),
        (BROWSER, "application/x-www-form-urlencoded", "text/html"),
        ("text/html, application/json", "text/xml", "text/html"),
        (None, "text/xml", "text/xml"),
        ("*/*", "application/json", "application/json"),
        ("application/json, text/javascript, */*; q=0.01", "text/plain", "application/json"),
    ],
)
def test_unknown_address_answers_whoever_asks(
    accept: str | None, body_type: str, answer_type: str
) -> None:
    """With any method, and no CSRF token: a page for people, else as the API does."""
    headers = {"Accept": accept} if accept else {}
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        response = Client(enforce_csrf_checks=True).generic(
            method, "/user-opt-in", "{}", content_type=body_type, headers=headers
        )

        assert response.status_code == 404
        assert response["Content-Type"] == f"{answer_type}; charset=utf-8"
        assert response["Cache-Control"] == "no-store"
        text = response.content.decode()
        if answer_type == "text/html":
            assert "Page not found" in text
        elif "xml" in answer_type:
            assert text.startswith("<BaseResponseModel ")
        else:
            assert response.json()["_links"][-1]["title"] == "not_found"


@pytest.mark.parametrize("address", ["/simulator", "/simulator/", "/metrics", "/Help/Api/nothing"])
def test_page_that_is_switched_off_or_not_there_takes_no_form(address: str) -> None:
    assert Client(enforce_csrf_checks=True).post(address).status_code == 404


@pytest.mark.parametrize("address", ["/User/nothing", "/authorisation/nothing", "/USER/"])
@pytest.mark.parametrize("debug", [True, False])
def test_unknown_call_is_no_page(address: str, debug: bool, settings: Any) -> None:
    settings.DEBUG = debug
    response = Client().get(address)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("address", ["/", "/Help", "/simulator/", "/nothing"])
def test_foreign_host_is_a_plain_400(address: str, debug: bool, settings: Any) -> None:
    """S-26."""
    settings.DEBUG = debug
    response = Client().get(address, {"WsAccessKey": SECRET}, headers={"host": "evil.example"})
    text = text_of(response)
    assert response.status_code == 400
    assert "We can't process this request" in text
    assert "evil.example" not in text
    assert SECRET not in text
    assert set(response["Content-Security-Policy"].split("; ")) == POLICY


def _fail(request: HttpRequest) -> NoReturn:
    raise RuntimeError(SECRET)


urlpatterns = [path("fail/", _fail), *all_urls]


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
@override_settings(ROOT_URLCONF=__name__)
def test_bug_is_a_plain_500() -> None:
    response = Client(raise_request_exception=False).get("/fail/", {"WsAccessKey": SECRET})
    text = text_of(response)
    assert response.status_code == 500
    assert "Something went wrong on our side" in text
    assert SECRET not in text
    assert set(response["Content-Security-Policy"].split("; ")) == POLICY
