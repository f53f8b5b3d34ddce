"""What clients send stays out of the log, and a part of it is not taken for the whole."""

import io
import logging
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory

from optin.models import AuditEvent, SendCounter, User
from tests.kit.clients import FORM, Tokens
from tests.kit.people import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)


KEYS = ("access_token", "refresh_token")


def send(path: str, content_type: str, body: Any, **environ: Any) -> tuple[int, str]:
    """Call the application as a server does, with a body of its own kind."""
    request = RequestFactory().post(path)
    statuses: list[str] = []
    answer = WSGIHandler()(
        request.environ | {"wsgi.input": body, "CONTENT_TYPE": content_type} | environ,
        lambda status, headers, exc=None: statuses.append(status) or (lambda data: None),  # type: ignore[func-returns-value]
    )
    return int(statuses[0][:3]), b"".join(answer).decode()


def test_a_form_that_breaks_off_is_no_wrong_password(user: User, password_clients: None) -> None:
    whole = f"grant_type=password&username=ann&password={PASSWORD}".encode()
    part = whole[:-5]

    status, text = send(
        "/authorisation/token", FORM, io.BytesIO(part), CONTENT_LENGTH=str(len(whole))
    )

    assert (status, "invalid_request" in text) == (400, True)
    assert not AuditEvent.objects.exists()
    assert not SendCounter.objects.exists()


class Talkative(io.BytesIO):
    """A stream whose error repeats what it read, as gunicorn's for a bad chunk does."""

    def read(self, *args: Any) -> bytes:
        raise ValueError("Invalid chunk size: b'password=SENTINEL'")


def test_a_body_that_cannot_be_read_is_not_quoted(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        status, text = send(
            "/authorisation/token", FORM, Talkative(), **{"wsgi.input_terminated": True}
        )

    assert status == 400
    assert "SENTINEL" not in caplog.text + text


def test_no_token_is_logged(
    user: User, password_clients: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where somebody set LOG_LEVEL=DEBUG."""
    with caplog.at_level(logging.DEBUG):
        first = Tokens().sign_in().data
        second = Tokens().refresh(first["refresh_token"]).data

    for secret in (*(first[k] for k in KEYS), *(second[k] for k in KEYS), PASSWORD):
        assert secret not in caplog.text
    # At /o/ it would write them at DEBUG.
    assert not logging.getLogger("oauthlib").isEnabledFor(logging.INFO)
