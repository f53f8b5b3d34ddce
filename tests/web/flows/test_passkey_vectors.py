"""The test vectors of WebAuthn level 3, chapter 16, through the pages of this service.

``webauthn_vectors.json`` holds the bytes in hex, under the names from which the chapter derives its
random values. The private keys are not there: what is shown is that the service takes what others
signed.
"""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from pytest_django.fixtures import Settings

from optin import passkeys
from optin.models import AuditEvent, Passkey, User
from optin.passkeys import PasskeyFault
from tests.kit.authenticator import to_base64url
from tests.kit.browser import SUCCESS, Browser, sign_in
from tests.kit.trail import newest_event

pytestmark = pytest.mark.django_db(transaction=True)

Vector = dict[str, dict[str, str]]

VECTORS: dict[str, Vector] = json.loads(
    Path(__file__).with_name("webauthn_vectors.json").read_text(encoding="utf-8")
)
REFUSED = {
    # Made in a frame of another site, where none of our pages is ever shown (7.1, step 10).
    "none.ES256.crossOrigin": PasskeyFault.WRONG_ORIGIN,
    "none.ES256.topOrigin": PasskeyFault.WRONG_ORIGIN,
    # The library cannot verify them, so pages do not ask for these kinds of keys (7.1, step 20).
    "packed.ES384": PasskeyFault.INVALID,
    "packed.Ed448": PasskeyFault.INVALID,
}
TAKEN = sorted(VECTORS.keys() - REFUSED.keys())


@pytest.fixture(autouse=True)
def example_org(settings: Settings) -> None:
    settings.BASE_URL = "https://example.org"


def credential(vector: Vector, ceremony: str) -> str:
    """The answer of a browser, as ``toJSON()`` gives it."""
    values = {name: _base64url(value) for name, value in vector[ceremony].items()}
    id_ = _base64url(vector["registration"]["credential_id"])
    answer: dict[str, Any] = {"id": id_, "rawId": id_, "type": "public-key", "response": values}
    return json.dumps({**answer, "clientExtensionResults": {}})


def _base64url(text: str) -> str:
    return to_base64url(bytes.fromhex(text))


def challenge_of(vector: Vector, ceremony: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next challenge be that of the vector."""
    challenge = bytes.fromhex(vector[ceremony]["challenge"])
    monkeypatch.setattr(passkeys, "secrets", SimpleNamespace(token_bytes=lambda size: challenge))


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_added_and_signs_in(
    name: str,
    ann: Browser,
    user: User,
    clock: time_machine.Traveller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vector = VECTORS[name]
    challenge_of(vector, "registration", monkeypatch)
    ann.add_passkey(lambda options: credential(vector, "registration"), name)
    assert ann.path == SUCCESS, ann.page.errors

    clock.shift(timedelta(minutes=1))
    elsewhere = Browser()
    challenge_of(vector, "authentication", monkeypatch)
    sign_in(elsewhere)
    elsewhere.use_passkey(lambda options: credential(vector, "authentication"))
    assert elsewhere.path == "/account/", elsewhere.page.errors

    # 6.1: byte 32 of what the authenticator signs has the flags; BE and BS are those of 6.1.3.
    flags = bytes.fromhex(vector["authentication"]["authenticatorData"])[32]
    passkey = Passkey.objects.get(user=user)
    assert (passkey.can_be_backed_up, passkey.is_backed_up) == (flags & 8 > 0, flags & 16 > 0)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(
    name: str, ann: Browser, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge_of(VECTORS[name], "registration", monkeypatch)
    ann.add_passkey(lambda options: credential(VECTORS[name], "registration"), name)
    assert ann.page.errors
    event = newest_event()
    assert (event.kind, event.data["why"]) == (AuditEvent.Kind.PASSKEY, REFUSED[name])
    assert not Passkey.objects.exists()
