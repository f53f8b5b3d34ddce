"""An OAuth application that asks whether it may act for somebody."""

import base64
import hashlib
from urllib.parse import urlencode

CLIENT = """
from oauth2_provider.models import Application
made = Application.objects.create(
    name="Ledger", client_type="public", authorization_grant_type="authorization-code",
    redirect_uris="https://client.example.com/")
out["id"] = made.client_id
"""
"""Makes it; for ``run``."""


def authorize(client_id: str, verifier: str, **more: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return "/o/authorize/?" + urlencode(
        {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": "https://client.example.com/",
            "scope": "2fa",
            "state": "s-1",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **more,
        }
    )
