"""Cookies and forms: what the settings make of them."""

import runpy
from pathlib import Path

import pytest
from django.test import Client

import twofa_site.settings as settings_module

pytestmark = pytest.mark.django_db

COOKIES = {
    "cookie": "__Host-csrf=nonsense; __Host-session=nonsense; csrftoken=x; __Host-language=de"
}


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("path", ["/USER/opt-in-to-2fa/", "/User/nothing", "/authorisation/token"])
def test_the_calls_ignore_cookies_altogether(path: str, method: str) -> None:
    """One that is sent is neither read, renewed nor asked for (docs/contract.md, section 3)."""
    answers = [
        client.generic(method.upper(), path, b"{}", content_type="application/json")
        for client in (
            Client(enforce_csrf_checks=True),
            Client(enforce_csrf_checks=True, headers=COOKIES),
        )
    ]
    plain, with_cookies = answers
    assert plain.status_code == with_cookies.status_code
    assert plain.content == with_cookies.content
    for answer in answers:
        assert not answer.cookies
        assert "Cookie" not in answer.get("Vary", "")


def test_a_form_from_elsewhere_is_refused_with_a_page_of_ours() -> None:
    """S-60."""
    response = Client(enforce_csrf_checks=True).post("/", {"a": "b"})
    assert response.status_code == 403
    assert "This form can't be sent" in response.content.decode()
    assert response["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("kind", ["SESSION", "CSRF"])
@pytest.mark.parametrize(
    ("environment", "is_https"),
    [({"BASE_URL": "https://2fa.example.com", "SECRET_KEY": "s" * 50}, True), ({}, False)],
    ids=["production", "development"],
)
def test_cookies_are_bound_to_the_host_and_to_https(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    is_https: bool,
    kind: str,
) -> None:
    """S-36."""
    monkeypatch.setattr("os.environ", {"DATA_DIR": str(tmp_path), **environment})
    read = runpy.run_path(settings_module.__file__)
    assert read[f"{kind}_COOKIE_NAME"].startswith("__Host-") is is_https
    assert read[f"{kind}_COOKIE_SECURE"] is is_https
    assert read[f"{kind}_COOKIE_HTTPONLY"] is True
    assert read[f"{kind}_COOKIE_SAMESITE"] == "Lax"
    # What the prefix demands besides.
    assert not {f"{kind}_COOKIE_DOMAIN", f"{kind}_COOKIE_PATH"} & read.keys()
