"""The form of a log line, and the nets below what is put into it."""

import logging
import runpy
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.test import Client

from optin.models import ProviderUser, User
from optin.operations import opt_ins
from optin.runtime import logs
from tests.kit.logs import Lines, lines
from tests.kit.people import NUMBER
from tests.kit.phone import Phone, wrong

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def written() -> Iterator[Lines]:
    yield from lines("json")


@pytest.fixture
def plainly() -> Iterator[Lines]:
    yield from lines("plain")


# -- one line a request ------------------------------------------------------------


def verify(client: Client, key: str, pk: int, otp: str) -> Any:
    return client.post(
        f"/User/verify-2fa-opt-in?FileId=777&WsAccessKey={key}",
        {"ProviderUserId": pk, "Otp": otp},
        content_type="application/json",
    )


def test_a_request_has_one_line(
    client: Client, user: User, access_key: str, pending: ProviderUser, phone: Phone, written: Lines
) -> None:
    answer = verify(client, access_key, pending.pk, wrong(phone.code()))

    (line,) = written.requests
    assert line.pop("ms") >= 0
    assert line.pop("client").startswith("key:")
    assert line == {
        "event": "request",
        "logger": "optin.request",
        "level": "info",
        "timestamp": "2026-11-02T12:00:00Z",
        "request_id": answer["X-Request-Id"],
        "method": "POST",
        "route": "verify",
        "status": 400,
        "face": "api",
        "user_id": user.pk,
        "code": "otp_incorrect",
    }
    assert [each["logger"] for each in written.all] == ["optin.audit", "optin.request"]


@pytest.mark.parametrize(
    ("method", "path", "route", "face", "code"),
    [
        ("GET", "/", "home", "web", None),
        ("GET", "/nothing/here?WsAccessKey=k", "twofa_site.urls.not_found", "web", None),
        ("POST", "/User/nothing", "optin.api.views.NotFound", "api", "not_found"),
        ("GET", "/user/VERIFY-2fa-opt-in/", "verify", "api", "method_not_allowed"),
        ("POST", "/authorisation/token", "token", "token", "invalid_request"),
        ("GET", "/o/token/", "oauth2_provider:token", "token", None),
        ("GET", "/static/optin/style.css", "none", "web", None),
        ("0123456", "/", "home", "web", None),
    ],
)
def test_a_line_names_the_address_and_not_the_path(
    client: Client, written: Lines, method: str, path: str, route: str, face: str, code: str | None
) -> None:
    client.generic(method, path).close()

    (line,) = written.requests
    assert (line["route"], line["face"], line.get("code")) == (route, face, code)
    assert line["method"] == (method if method.isalpha() else "other")


def test_one_request_leaves_nothing_to_the_next(
    client: Client, access_key: str, written: Lines
) -> None:
    verify(client, access_key, 1, "0123456")
    logging.getLogger("later").info("between")
    client.get("/")

    _, between, page = (line for line in written.all if line["logger"] != "optin.audit")
    assert set(between) == {"event", "level", "logger", "timestamp"}
    assert not {"user_id", "client", "code"} & set(page)


def test_a_line_about_a_fault_names_its_request(
    client: Client,
    access_key: str,
    pending: ProviderUser,
    phone: Phone,
    monkeypatch: pytest.MonkeyPatch,
    written: Lines,
) -> None:
    """And has the frames of the error, but not its words."""

    def fail(*args: object, **kwargs: object) -> None:
        raise DatabaseError(f"DETAIL: Failing row contains ({NUMBER})") from ValueError("0123456")

    monkeypatch.setattr(opt_ins, "verify_opt_in", fail)
    answer = verify(client, access_key, pending.pk, phone.code())

    fault, request = written.all
    assert (fault["level"], fault["logger"], fault["code"]) == ("error", "optin.api", "unavailable")
    assert fault["request_id"] == request["request_id"] == answer["X-Request-Id"]
    assert [each["type"] for each in fault["exception"]] == [
        "django.db.utils.DatabaseError",
        "builtins.ValueError",
    ]
    assert fault["exception"][0]["frames"][-1].endswith(" in " + fail.__qualname__)
    assert "DETAIL" not in written.text
    assert "0123456" not in written.text


# -- the lines of others -----------------------------------------------------------

SECRET = "/User/x?WsAccessKey=abcdefgh 0123456"


def failing() -> Any:
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        return sys.exc_info()


@pytest.mark.parametrize(
    ("name", "message", "args", "fails", "expected"),
    [
        ("django.request", "%s: %s", ("Internal Server Error", SECRET), True, "a request failed"),
        ("django.request", "%s: %s", ("Service Unavailable", SECRET), False, None),
        ("django.security.DisallowedHost", SECRET, (), True, "a request failed"),
        ("gunicorn.error", "Error handling request %s", (SECRET,), True, "Error handling request"),
        (
            "gunicorn.error",
            f"Invalid request from ip=192.0.2.1: {SECRET}",
            (),
            False,
            "a request was not well-formed HTTP",
        ),
        (
            "gunicorn.error",
            "Exception during worker exit:\n%s",
            (f"Traceback {SECRET}",),
            False,
            "Exception during worker exit:",
        ),
        (
            "django.db.backends.base",
            f"Error calling count in on_commit() ({SECRET}).",
            (),
            True,
            "Error calling count in on_commit() (RuntimeError).",
        ),
        (
            "gunicorn.error",
            "Booting worker with pid: %s",
            (7,),
            False,
            "Booting worker with pid: 7",
        ),
    ],
)
def test_the_lines_of_others_lose_what_a_client_wrote(
    written: Lines,
    name: str,
    message: str,
    args: tuple[Any, ...],
    fails: bool,
    expected: str | None,
) -> None:
    logging.getLogger(name).error(message, *args, exc_info=failing() if fails else None)

    assert [line["event"] for line in written.all] == ([expected] if expected else [])
    assert "0123456" not in written.text


@pytest.mark.parametrize(
    "name", ["django.db.backends", "django.server", "oauthlib", "oauth2_provider", "urllib3"]
)
def test_what_writes_secrets_at_debug_is_never_so_low(name: str) -> None:
    assert not logging.getLogger(f"{name}.deeper").isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("?FileId=777&WsAccessKey=abc123", "?FileId=777&WsAccessKey=[redacted]"),
        ('{"Otp": "0123456", "x": 1}', '{"Otp": "[redacted]", "x": 1}'),
        ("<Password>secret</Password>", "<Password>[redacted]</Password>"),
        ("password=s&grant_type=x", "password=[redacted]&grant_type=x"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("password·secret", "password·[redacted]"),
        ("password authentication failed for user", "password authentication failed for user"),
        ("sent to +61491570156.", "sent to [redacted]."),
        ("retry in 900 seconds, 1+1", "retry in 900 seconds, 1+1"),
        ("2026-11-02T12:00:00+11:00", "2026-11-02T12:00:00+11:00"),
    ],
)
def test_the_net(text: str, left: str) -> None:
    assert logs.redacted(text) == left


# -- the form ----------------------------------------------------------------------


def test_a_plain_line_cannot_be_forged(plainly: Lines) -> None:
    logging.getLogger("x").info("one\ntwo %s", "\r\nthree")
    logging.getLogger("x").info("request", extra={"facts": {"route": "a\nb"}})

    first, second = plainly.text.splitlines()
    assert first.endswith(" info x one\\ntwo \\r\\nthree")
    assert second.endswith(" info x request route='a\\nb'")


def test_a_plain_line_has_the_frames_below(plainly: Lines) -> None:
    logging.getLogger("x").error("failed", exc_info=failing())

    head, kind, frame = plainly.text.splitlines()
    assert head.endswith(" error x failed")
    assert kind == "  builtins.RuntimeError"
    assert frame.startswith("    ")
    assert frame.endswith(" in failing")


def test_a_wrong_setting_keeps_its_words(written: Lines) -> None:
    """Without them nobody could mend it; they hold no value."""
    logging.getLogger("gunicorn.error").error(
        "Exception in worker process", exc_info=ImproperlyConfigured("PORT must be a number.")
    )

    (line,) = written.all
    assert line["exception"][0]["message"] == "PORT must be a number."


@pytest.mark.parametrize(("debug", "form"), [("1", "plain"), ("0", "json")])
def test_the_form_follows_from_debug(
    monkeypatch: pytest.MonkeyPatch, debug: str, form: str
) -> None:
    monkeypatch.setenv("DEBUG", debug)
    monkeypatch.setenv("SECRET_KEY", "s" * 60)
    monkeypatch.delenv("LOG_FORMAT", raising=False)

    assert runpy.run_path("twofa_site/settings.py")["LOG_FORMAT"] == form
