"""What clients send stays out of the log, and a part of it is not taken for the whole."""

import io
import logging
from typing import Any

import pytest

from optin.models import AuditEvent, SendCounter, User
from tests.kit.clients import FORM, Answer, Api, Tokens, error
from tests.kit.people import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)


KEYS = ("access_token", "refresh_token")


def send(body: io.BytesIO, **environ: Any) -> Answer:
    """Call as a server does, with a body of its own kind."""
    environ |= {"wsgi.input": body, "CONTENT_TYPE": FORM}
    return Api().send("POST", "/authorisation/token", **environ)


def test_a_form_that_breaks_off_is_no_wrong_password(user: User, password_clients: None) -> None:
    whole = f"grant_type=password&username=ann&password={PASSWORD}".encode()
    part = whole[:-5]

    answer = send(io.BytesIO(part), CONTENT_LENGTH=str(len(whole)))

    assert error(answer) == (400, "invalid_request")
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
        answer = send(Talkative(), **{"wsgi.input_terminated": True})

    assert answer.status == 400
    assert "SENTINEL" not in caplog.text + answer.content.decode()


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
