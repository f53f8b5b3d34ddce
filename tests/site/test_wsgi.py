"""The application as a server calls it."""

import io
from typing import Any

import pytest

from twofa_site.handler import Handler

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("parameter", ["a*=bogus''x", "a*=undefined''x", "a*=idna''%ff"])
@pytest.mark.parametrize("path", ["/User/verify-2fa-opt-in", "/authorisation/token", "/"])
def test_a_nonsense_content_type_is_no_500(path: str, parameter: str) -> None:
    """Nothing a client sends gives a 500: not even what Django reads before any of ours."""
    statuses: list[str] = []

    def start_response(status: str, headers: Any, exc: Any = None, /) -> Any:
        statuses.append(status)

    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": f"application/json; {parameter}",
        "CONTENT_LENGTH": "2",
        "wsgi.input": io.BytesIO(b"{}"),
        "wsgi.url_scheme": "https",
        "wsgi.errors": io.StringIO(),
    }
    Handler()(environ, start_response)

    assert statuses[0][0] == "4"
