"""A steady load through a balancer, and what became of each of its requests."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.kit.phone import wrong

FILE_ID = 777
PAUSE = 0.05
"""Seconds between two requests of one client."""
PATIENCE = 10
"""Seconds after which a request has failed: as long as a statement may take in production."""


class UnexpectedError(Exception):
    """An answer that is not the right one, or none."""


@dataclass
class Client:
    """Keeps one connection, and sends one request after the other."""

    port: int
    answers: Counter[int] = field(default_factory=Counter)
    """How many answers it got, by status."""
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def live(self, stop: Event) -> None:
        """Do everything again and again until *stop*, and note what goes wrong."""
        while not stop.is_set():
            try:
                self.act()
            except UnexpectedError as exc:
                self.failures.append(f"{time.strftime('%X')} {exc}")
        self.line.close()

    def act(self) -> None:
        self.send(200, "GET", "/sign-in/")

    def send(self, expected: int, method: str, path: str, **body: object) -> Any:
        """Send one request; return the JSON of its answer, or None.

        :raises UnexpectedError: if the status is not the expected one.
        """
        time.sleep(PAUSE)
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            self.line.request(method, path, json.dumps(body) if body else None, headers)
            answer = self.line.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as exc:
            self.line.close()  # the next request opens it again
            raise UnexpectedError(f"{method} {path.split('?')[0]}: {exc!r}") from exc
        self.answers[answer.status] += 1
        if answer.status != expected:
            raise UnexpectedError(f"{method} {path.split('?')[0]}: {answer.status} {text[:500]}")
        return json.loads(text) if answer.getheader("Content-Type", "").count("json") else None


@dataclass
class Person(Client):
    """Opts in, signs in and opts out, with a wrong code in between."""

    name: str = ""
    password: str = ""
    access_key: str = ""
    number: str = ""
    texts: Path = Path()
    acknowledged: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many requests got their answer, by the kind and the outcome of their audit event."""
    active: bool = False
    """Whether the number is active, as the last answer said."""

    def act(self) -> None:
        if not self.active:
            row = self._call(200, "opt-in-to-2fa", "opt_in", "sent", MobileNumber=self.number)
            code, to = self._code(), {"ProviderUserId": row["ProviderUserId"]}
            verify = "verify-2fa-opt-in", "verify_opt_in"
            self._call(400, *verify, "otp_incorrect", Otp=wrong(code), **to)
            self._call(200, *verify, "ok", Otp=code, **to)
            self.active = True
        self._token(401, "challenge", "sent")
        self._token(200, "check", "ok", verification_code=self._code())
        self._call(401, "opt-out-from-2fa", "challenge", "sent", Otp="")
        self._call(200, "opt-out-from-2fa", "opt_out", "ok", Otp=self._code())
        self.active = False

    def _call(self, expected: int, call: str, kind: str, outcome: str, **body: object) -> Any:
        path = f"/User/{call}?FileId={FILE_ID}&WsAccessKey={self.access_key}"
        answer = self.send(expected, "POST", path, **body)
        self.acknowledged[kind, outcome] += 1
        return answer

    def _token(self, expected: int, kind: str, outcome: str, **code: object) -> None:
        who = {"grant_type": "password", "username": self.name, "password": self.password}
        self.send(expected, "POST", "/authorisation/token", **who, **code)
        self.acknowledged[kind, outcome] += 1

    def _code(self) -> str:
        """The code of the newest text to this person."""
        texts = map(json.loads, self.texts.read_text().splitlines())
        body: str = [text["body"] for text in texts if text["to"] == self.number][-1]
        return body.split()[0]


@contextmanager
def load(clients: Sequence[Client]) -> Iterator[None]:
    """Let all *clients* live until the block ends; each ends what it has begun."""
    stop = Event()
    threads = [Thread(target=client.live, args=[stop]) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
