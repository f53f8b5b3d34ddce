"""The application as a server calls it."""

import http.client
import io
from pathlib import Path
from typing import Any

import pytest

from tests.races.conftest import serving
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


def test_no_header_moves_the_site(tmp_path: Path) -> None:
    """Some proxies pass on a client's ``SCRIPT_NAME``, which gunicorn takes for theirs."""
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'db'}"}
    with serving(tmp_path, env, workers=1) as server:

        def ask(path: str) -> tuple[int, str | None]:
            line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            line.request("GET", path, headers={"SCRIPT_NAME": "/zz", "PATH_INFO": "/zz"})
            answer = line.getresponse()
            line.close()
            return answer.status, answer.getheader("Location")

        assert ask("/zz/account/") == (404, None)
        assert ask("/account/") == (303, "/sign-in/?next=%2Faccount%2F")
