"""The service as it runs, with the demo people and with no limits in the way."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.kit.server import PRESENT

_SENDS = ("PER_NUMBER", "PER_USER", "PER_IP", "PER_CLIENT", "PER_FILE", "TOTAL")
_LIMITS = (
    *("REQUESTS_PER_USER", "REQUESTS_PER_NETWORK", "SIGN_INS_PER_IP", "RESEND_WAIT"),
    *("FAILED_SIGN_INS_PER_IP", "FAILED_SIGN_INS_PER_NAME", "FAILED_SIGN_INS_PER_NAME_TOTAL"),
    *(f"SENDS_{scope}" for scope in _SENDS),
)
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "tests.kit.quick_settings",
    "DEBUG": "1",
    "LOG_LEVEL": "ERROR",
    **{f"OPTIN_{limit}": "0" for limit in _LIMITS},
}


@dataclass
class Served:
    """A running server, and what its demo people have."""

    base_url: str
    data_dir: Path
    people: dict[str, dict[str, Any]]
    token: str = ""
    """The token of cam, who has no second factor."""

    refresh_tokens: list[str] = field(default_factory=list)
    """Refresh tokens of cam; each works once."""

    provider_user_id: int = 1
    code: str = ""
    """What ann was sent last."""

    @property
    def query(self) -> dict[str, Any]:
        """The query of a ``User/`` call by ann, under her file."""
        return {"FileId": 777, "WsAccessKey": self.people["ann"]["access_keys"]["777"]}

    def reset(self) -> None:
        """Put the people back to the start."""
        env = {"PATH": os.environ["PATH"], "DATA_DIR": str(self.data_dir), **ENVIRONMENT}
        assert PRESENT.manage("demo", "--reset", env=env).returncode == 0

    def lead_up_to(self, path: str) -> None:
        """Do what a client does before the call at *path*."""
        cam = {name: self.people["cam"][name] for name in ("username", "password")}
        sign_ins = 50 if path == "/authorisation/refresh" else 1
        body = {"grant_type": "password", **cam}
        tokens = [self.post("/authorisation/token", body) for _ in range(sign_ins)]
        self.token = tokens[0]["access_token"]
        self.refresh_tokens = [each["refresh_token"] for each in tokens]
        if path in {"/User/verify-2fa-opt-in", "/User/opt-out-from-2fa"}:
            answer = self.post("/User/opt-in-to-2fa", {"MobileNumber": "0491 570 156"})
            self.provider_user_id = answer["ProviderUserId"]
            self.code = self.newest_code()
        if path == "/User/opt-out-from-2fa":
            otp = {"ProviderUserId": self.provider_user_id, "Otp": self.code}
            self.post("/User/verify-2fa-opt-in", otp)
        if path == "/events":
            # An event that is about no number.
            url = f"{self.base_url}/User/opt-in-to-2fa"
            elsewhere = {"MobileNumber": "+64211234567"}
            requests.post(url, json=elsewhere, params=self.query, timeout=30)

    def newest_code(self) -> str:
        phone = self.data_dir / "sms.jsonl"
        body: str = json.loads(phone.read_text().splitlines()[-1])["body"]
        return body.split()[0]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        query = self.query if path.startswith("/User/") else {}
        answer = requests.post(f"{self.base_url}{path}", json=body, params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()
        return data
