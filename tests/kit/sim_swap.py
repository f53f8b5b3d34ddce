"""A provider with the CAMARA SIM Swap API (sim-swap v2), as its document describes it."""

import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from django.test import override_settings

CLIENT, SECRET = "client-of-camara", "secret-of-camara"
_NUMBER = re.compile(r"\+[1-9][0-9]{4,14}")


@dataclass
class Provider:
    """What it says of every number, and what it was asked."""

    url: str = ""
    swapped: bool = False
    refuses: tuple[int, str] | None = None  # the status and the code of an error
    says: bytes | None = None  # in place of the JSON of an answer
    gives_tokens: bool = True
    hang: threading.Event | None = None  # it answers once this is set
    stop: Callable[[], object] = lambda: None  # it listens no more
    tokens: set[str] = field(default_factory=set)  # that are valid
    given: int = 0  # tokens
    asked: list[dict[str, Any]] = field(default_factory=list)

    def settings(self, **more: object) -> dict[str, object]:
        """The settings with which this provider is asked."""
        return {
            "OPTIN_SIM_SWAP": "enforce",
            "OPTIN_SIM_SWAP_URL": self.url,
            "OPTIN_SIM_SWAP_TOKEN_URL": f"{self.url}/token",
            "OPTIN_SIM_SWAP_CLIENT_ID": CLIENT,
            "OPTIN_SIM_SWAP_CLIENT_SECRET": SECRET,
            "DEBUG": True,  # it speaks plain HTTP
            **more,
        }

    def token(self, headers: Any, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        known_as = b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if not self.gives_tokens or headers["Authorization"] != f"Basic {known_as}":
            return 401, {"error": "invalid_client"}
        if form != {"grant_type": ["client_credentials"], "scope": ["sim-swap:check"]}:
            return 400, {"error": "invalid_request"}
        self.given += 1
        token = f"token-{self.given}"
        self.tokens.add(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}

    def check(self, headers: Any, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """``POST /sim-swap/v2/check``."""
        self.asked.append(body)
        token = headers["Authorization"].removeprefix("Bearer ")
        if token not in self.tokens:
            return _error(401, "UNAUTHENTICATED")
        fits = set(body) <= {"phoneNumber", "maxAge"} and _NUMBER.fullmatch(body["phoneNumber"])
        if not fits or not headers["x-correlator"]:
            return _error(400, "INVALID_ARGUMENT")
        if not 1 <= body["maxAge"] <= 2400:
            return _error(400, "OUT_OF_RANGE")
        return _error(*self.refuses) if self.refuses else (200, {"swapped": self.swapped})


def _error(status: int, code: str) -> tuple[int, dict[str, Any]]:
    return status, {"status": status, "code": code, "message": "Words of the provider."}


@contextmanager
def serving(**more: object) -> Iterator[Provider]:
    """A provider at a port of its own, which the service asks until the block ends."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if provider.hang:
                provider.hang.wait(10)
            if self.path == "/token":
                status, found = provider.token(self.headers, parse_qs(sent))
            elif self.path == "/sim-swap/v2/check":
                status, found = provider.check(self.headers, json.loads(sent))
            else:
                status, found = _error(404, "NOT_FOUND")
            is_answer = self.path != "/token" and status == 200 and provider.says is not None
            answer = provider.says if is_answer and provider.says else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.url = f"http://127.0.0.1:{server.server_port}"
        provider.stop = server.server_close
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            with override_settings(**provider.settings(**more)):
                yield provider
        finally:
            if provider.hang:
                provider.hang.set()
            server.shutdown()
