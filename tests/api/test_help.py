"""``/Help`` (P-14): a page per call, an anchor per code, samples that the API itself takes."""

import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, resolve
from rest_framework.parsers import BaseParser
from standardwebhooks.webhooks import Webhook

from optin.api import renderers, samples, urls
from optin.api.answers import ERRORS, TOKEN_ERRORS, ApiError
from optin.api.help import CALLS, Call
from optin.api.serializers import Event, EventData
from optin.api.views import NotFound
from optin.api.webhooks import HEADERS
from optin.events import News
from optin.outcomes import CodeOutcome, SendOutcome

each_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.slug)
each_call_with_a_body = pytest.mark.parametrize(
    "call", [call for call in CALLS if call.request_model], ids=lambda call: call.slug
)

VERIFY = "/Help/Api/POST-User-verify-2fa-opt-in"

VENDORS_PAGE = Path(__file__).with_name("vendor_verify_page.txt").read_text(encoding="utf-8")


class Page:
    """What a page holds: its words, its samples, its anchors and its links."""

    def __init__(self, text: str) -> None:
        self.words = unescape(re.sub(r"<[^>]*>", " ", text)).split()
        self.samples = [
            unescape(s) for s in re.findall(r"<pre><code>(.*?)</code></pre>", text, re.S)
        ]
        self.ids = re.findall(r' id="([^"]*)"', text)
        self.links = re.findall(r' href="([^"]*)"', text)


def get(address: str) -> Page:
    response = Client().get(address)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/html; charset=utf-8"
    return Page(response.content.decode())


def page_of(call: Call) -> Page:
    return get(f"/Help/Api/{call.slug}")


# -- nothing is missing ------------------------------------------------------------


def test_every_route_has_a_page() -> None:
    """P-14."""
    routes = {
        pattern.name
        for pattern in urls.urlpatterns
        if isinstance(pattern, URLPattern) and pattern.name and hasattr(pattern.callback, "cls")
    }
    assert len(routes) >= 7
    assert {resolve(f"/{call.path}").url_name for call in CALLS} == routes


@each_call
def test_each_call_has_its_page(call: Call) -> None:
    """Which names a method that it takes, and each refusal as it writes it."""
    view = resolve(f"/{call.path}").func.cls  # type: ignore[attr-defined]
    assert view is not NotFound
    assert call.method.lower() in view.http_method_names
    assert f"/Help/Api/{call.slug}" in get("/Help").links
    page = page_of(call)
    assert " ".join(page.words).count(call.title) >= 2  # title and heading
    linked = {link.partition("#")[2] for link in page.links if "/Help/Errors#" in link}
    assert linked == {written(call, code) for code in call.codes}
    assert linked <= {*get("/Help/Errors").ids}


def written(call: Call, code: str) -> str:
    return ApiError(code).oauth_code if call.is_token_call and code not in TOKEN_ERRORS else code


def test_every_refusal_of_an_operation_is_a_code_of_some_call() -> None:
    outcomes: set[str] = {*CodeOutcome, *SendOutcome}
    # The last three are of challenges, and of pages.
    outcomes -= {CodeOutcome.OK, SendOutcome.SENT, SendOutcome.RESENT}
    outcomes -= {SendOutcome.WAITING, SendOutcome.UNREADABLE, CodeOutcome.PASSKEY_REFUSED}
    assert outcomes <= {code for call in CALLS for code in call.codes}


def test_errors_page_shows_each_code_once_with_message_status_and_meaning() -> None:
    """P-14."""
    page = get("/Help/Errors")
    words = " ".join(page.words)
    assert {page.ids.count(code) for code in (*ERRORS, *TOKEN_ERRORS, "server_error")} == {1}
    for row in [*ERRORS.values(), *TOKEN_ERRORS.values()]:
        assert f"{row.status} {row.example}" in words
        assert row.meaning in words


def test_events_page_has_all_that_is_said_of_events() -> None:
    page = get("/Help/Events")
    words = " ".join(page.words)
    assert {*News} <= {*page.ids}  # where the schema leads
    fields = {**Event().fields, **EventData().fields}
    told = {kind.value: kind.label for kind in News}
    told |= {**HEADERS, **{name: str(field.help_text) for name, field in fields.items()}}
    assert [name for name, text in told.items() if f"{name} {text}" not in words] == []
    waits = "5 seconds, 5 minutes, 30 minutes, 2 hours, 5 hours, 10 hours, 14 hours, 20 hours and "
    assert f"{waits}24 hours." in words
    assert "After 10 failures" in words


def test_sample_of_an_event_is_signed_with_the_secret_beside_it() -> None:
    """As it stands on the page: a developer pastes it."""
    sample, secret = get("/Help/Events").samples
    head, body = sample.split("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    assert Webhook(secret).verify(body, headers)["type"] == "number.activated"


# -- the page of verify is the vendor's ---------------------------------------------


def test_verify_page_says_what_the_vendors_page_says() -> None:
    """The same words and samples in the same order; ours may stand between."""
    shown = iter(get(VERIFY).words)
    assert [word for word in VENDORS_PAGE.split() if word not in shown] == []


# -- samples are what the API reads and writes --------------------------------------


@each_call_with_a_body
def test_samples_of_the_body_are_read_by_the_calls_own_parsers(call: Call) -> None:
    """P-14."""
    view: Any = resolve(f"/{call.path}").func.cls  # type: ignore[attr-defined]
    assert call.request
    samples = call.request.samples
    shown = page_of(call).samples
    model = call.request.model
    context = {"root": model.model_name(), "fields": list(model().fields)}
    read = []
    for parser_class in view.parser_classes:
        parser: BaseParser = parser_class()
        fitting = [s for s in samples if str(parser.media_type) in s.media_types.split(", ")]
        assert len(fitting) == 1, parser.media_type
        assert fitting[0].text in shown
        stream = io.BytesIO(fitting[0].text.encode())
        data = parser.parse(stream, parser.media_type, context)
        body = model(data=data)
        assert body.is_valid(), body.errors
        read.append(body.validated_data)
    assert all(data == read[0] for data in read)
    assert len(read) == len(view.parser_classes) >= 4


@each_call
def test_samples_of_the_answer_are_what_the_renderers_write(call: Call) -> None:
    for resource in (call.response, call.refusal):
        as_json, as_xml = (sample.text for sample in resource.samples)
        body = samples.sample_body(resource.model)
        assert json.loads(as_json) == body
        squeezed = re.sub(r">\s+<", "><", as_xml)
        assert squeezed == renderers.ApplicationXML().render(body)


# -- it is a page -------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["/help", "/HELP/Errors/", "/Help/Authentication", "/help/api/post-user-verify-2fa-opt-in/"],
)
@pytest.mark.parametrize("accept", ["application/json", ""])
def test_address_in_any_case_with_or_without_a_slash_is_a_page(address: str, accept: str) -> None:
    response = Client().get(address, headers={"accept": accept})
    assert response.status_code == 200
    assert response["Content-Type"] == "text/html; charset=utf-8"


def test_unknown_call_is_a_plain_404() -> None:
    response = Client().get("/Help/Api/POST-User-nothing")
    assert response.status_code == 404
    assert "Page not found" in response.content.decode()


def test_authentication_says_whether_access_keys_are_taken(settings: Any) -> None:
    assert "switched off" not in " ".join(get("/Help/Authentication").words)
    settings.LEGACY_ACCESS_KEYS = False
    assert "switched off" in " ".join(get("/Help/Authentication").words)
