"""Cookies and forms: what the settings make of them."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

import twofa_site.settings as settings_module

pytestmark = pytest.mark.django_db

COOKIES = {
    "cookie": "__Host-csrf=nonsense; __Host-session=nonsense; csrftoken=x; __Host-language=de"
}


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    "path",
    [
        "/User/verify-2fa-opt-in",
        "/USER/opt-in-to-2fa/",
        "/User/nothing",
        "/authorisation/token",
        "/authorisation/ping",
        "/authorisation/nothing",
    ],
)
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
    assert "This form cannot be sent" in response.content.decode()
    assert response["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response["Content-Security-Policy"]


def settings_of(
    monkeypatch: pytest.MonkeyPatch, folder: Path, **environment: str
) -> dict[str, Any]:
    monkeypatch.setattr("os.environ", {"DATA_DIR": str(folder), **environment})
    return runpy.run_path(settings_module.__file__)


@pytest.mark.parametrize("kind", ["SESSION", "CSRF"])
def test_cookies_are_bound_to_the_host_and_to_https(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """S-36."""
    read = settings_of(
        monkeypatch, tmp_path, BASE_URL="https://2fa.example.com", SECRET_KEY="s" * 50
    )
    assert read[f"{kind}_COOKIE_NAME"].startswith("__Host-")
    assert read[f"{kind}_COOKIE_SECURE"] is True
    assert read[f"{kind}_COOKIE_HTTPONLY"] is True
    assert read[f"{kind}_COOKIE_SAMESITE"] == "Lax"
    # What the prefix demands besides.
    assert f"{kind}_COOKIE_DOMAIN" not in read
    assert f"{kind}_COOKIE_PATH" not in read


@pytest.mark.parametrize("kind", ["SESSION", "CSRF"])
def test_cookies_of_a_development_start_work_without_https(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """S-36."""
    read = settings_of(monkeypatch, tmp_path)
    assert not read[f"{kind}_COOKIE_NAME"].startswith("__")
    assert read[f"{kind}_COOKIE_SECURE"] is False
    assert read[f"{kind}_COOKIE_HTTPONLY"] is True
