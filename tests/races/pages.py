"""A session of the pages, before a server of several processes."""

import http.client
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.conf import settings
from django.test import Client

from optin.models import User
from tests.kit.people import PASSWORD
from tests.kit.server import Site

TOKEN = "t" * 32
"""A CSRF token: any will do that the cookie and the form agree on."""

ENDED = "session ended meanwhile"
"""Another request of the same session found it ended, and deleted it."""


@dataclass
class Page:
    """Signed in by this process; ``post`` goes to the server, which has the same sessions."""

    user: User
    server: Site
    client: Client = field(default_factory=Client)

    def sign_in(self) -> None:
        fields = {"username": self.user.username, "password": PASSWORD}
        assert self.here("/sign-in/", **fields) == "/account/"

    def here(self, path: str, **fields: str) -> str:
        """POST within this process; return where it leads."""
        response = self.client.post(path, fields, secure=True)
        assert response.status_code == 303, response.content
        return str(response["Location"])

    def name(self, number: str) -> str:
        """Name a number; return the address of its code page."""
        return self.here("/account/two-factor/number/", number=number)

    def post(self, path: str, code: str) -> str:
        """Send *code* to the server; return where it leads."""
        session = self.client.cookies[settings.SESSION_COOKIE_NAME].value
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": f"session={session}; csrf={TOKEN}",
        }
        body = urlencode({"code": code, "csrfmiddlewaretoken": TOKEN})
        line = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            line.request("POST", path, body, headers)
            response = line.getresponse()
            content = response.read()
            if response.status == 400 and b"SessionInterrupted" in content:
                return ENDED
            assert response.status == 303, content
            return response.headers["Location"].partition("?")[0]
        finally:
            line.close()
