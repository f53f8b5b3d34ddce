"""People opt in, enter the code, sign in with a texted code (two token calls), and refresh."""

import http.client
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock, local
from typing import Any
from urllib.parse import urlencode

PASSWORD = "correct horse battery staple"  # noqa: S105  (of nobody)
CLIENTS = 16


class Texts:
    """The simulated phones, which are the lines of a file."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open()
        self._file.seek(0, 2)
        self._rest = ""
        self._codes: dict[str, str] = {}
        self._lock = Lock()

    def code(self, number: str) -> str:
        """Wait for the next code to *number*."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with self._lock:
                self._read()
                if number in self._codes:
                    return self._codes.pop(number)
            time.sleep(0.002)
        raise AssertionError(f"no text came to {number}")

    def _read(self) -> None:
        # A line that is being written may end anywhere.
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        for text in map(json.loads, lines):
            self._codes[text["to"]] = re.findall(r"\b\d{7}\b", text["body"])[0]


class Journeys:
    """Run journeys, with one connection for each client. *more* is added to each token call."""

    def __init__(self, port: int, texts: Texts, more: dict[str, str]) -> None:
        self.port, self.texts, self.more = port, texts, more
        self._own = local()

    def run(self, people: Sequence[dict[str, Any]]) -> float:
        """Return the seconds that all took.

        :param people: ``token``, ``username`` and ``n``, a number that nobody else has.
        """
        begun = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._one, people))
        return time.perf_counter() - begun

    def _one(self, person: dict[str, Any]) -> None:
        n = person["n"]
        # Far from the last one, because each prefix has a limit, and so has each address.
        number = f"+614{10_000_000 + n * 10_007 % 30_000_000}"
        who = {"X-Forwarded-For": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"}
        as_user = who | {"Authorization": f"Bearer {person['token']}"}
        made = self._call("opt-in-to-2fa", as_user, MobileNumber=number)
        otp = self.texts.code(number)
        self._call("verify-2fa-opt-in", as_user, ProviderUserId=made["ProviderUserId"], Otp=otp)
        form = {"grant_type": "password", "username": person["username"], "password": PASSWORD}
        self._token("token", who, form, 401)
        form["verification_code"] = self.texts.code(number)
        given = self._token("token-2fa", who, form)
        form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
        self._token("refresh", who, form)

    def _call(self, call: str, headers: dict[str, str], **body: Any) -> Any:
        kind = {"Content-Type": "application/json"}
        return self._post(f"/User/{call}?FileId=777", headers | kind, json.dumps(body), 200)

    def _token(
        self, call: str, headers: dict[str, str], form: dict[str, str], status: int = 200
    ) -> Any:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form | self.more)
        return self._post(f"/authorisation/{call}", headers | kind, body, status)

    def _post(self, path: str, headers: dict[str, str], body: str, status: int) -> Any:
        if not hasattr(self._own, "line"):
            self._own.line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._own.line.request("POST", path, body, headers)
        answer = self._own.line.getresponse()
        text = answer.read()
        if answer.status != status or (status == 401 and b"2fa_code_required" not in text):
            raise AssertionError(f"{path}: {answer.status} {text!r}")
        return json.loads(text)
