"""A client of the token calls: any of them, in any format."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.api.client import Answer, Api, write
from tests.conftest import PASSWORD

FORM = "application/x-www-form-urlencoded"
BODIES = ("application/json", "text/json", "application/xml", "text/xml", FORM)
"""What the token calls take."""

TOKEN_CALLS = ("token", "token-2fa", "refresh")

ROOTS = {
    "token": "OAuthPasswordCredentialsGrantRequest",
    "token-2fa": "OAuthPasswordCredentialsGrantRequest",
    "refresh": "OAuthRefreshAccessTokenRequest",
}


@dataclass
class Tokens:
    """Speaks from one address; a field that is ``None`` is left out."""

    ip: str = "192.0.2.1"
    call: str = "token"
    media_type: str = "application/json"
    accept: str | None = None

    def sign_in(self, username: str = "ann", password: str = PASSWORD, **fields: Any) -> Answer:
        return self.send(
            self.call,
            {"grant_type": "password", "username": username, "password": password},
            fields,
        )

    def refresh(self, refresh_token: str, **fields: Any) -> Answer:
        return self.send(
            "refresh", {"grant_type": "refresh_token", "refresh_token": refresh_token}, fields
        )

    def send(self, call: str, body: dict[str, Any], fields: dict[str, Any]) -> Answer:
        body = {name: value for name, value in {**body, **fields}.items() if value is not None}
        if self.media_type == FORM:
            content = urlencode(body).encode()
        else:
            content = write(ROOTS[call], body, self.media_type)
        return self.post(call, content)

    def post(self, call: str, content: bytes, method: str = "POST") -> Answer:
        return Api(media_type=self.media_type, accept=self.accept).send(
            method, f"/authorisation/{call}", content, REMOTE_ADDR=self.ip
        )


def error(answer: Answer) -> tuple[int, str]:
    """Status and RFC 6749 code; that it is such an answer and nothing else."""
    assert answer.data.keys() == {"error", "error_description"}
    assert answer.data["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status, answer.data["error"]
