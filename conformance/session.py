"""One run against one server: sends, remembers every answer, and notes what deviates."""

import http.client
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from conformance.goldens import CALL_OF_PATH, CALLS
from conformance.options import NotChecked, Options
from conformance.secrets import Secrets
from conformance.wire import FORM, JSON, Answer, Request, Wire, write

Looks = Callable[["Session"], None]

_TEXT_TAKES = 10  # seconds until a text is there; one that stays as it was is taken then


@dataclass(frozen=True)
class Deviation:
    """What was sent, what the contract wants, what came.

    Deviations of the same *cause* tell a reader the same: one of them is enough.
    """

    cause: str
    sent: str
    expected: str
    got: str


@dataclass(frozen=True)
class Check:
    """One row of the contract to look at; *contract* is the section of docs/contract.md."""

    section: str
    name: str
    contract: str
    look: Looks


@dataclass
class Result:
    """What one check found. *reason* says why nobody could look."""

    check: Check
    looked: int = 0
    deviations: list[Deviation] = field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0

    @property
    def state(self) -> str:
        if self.deviations:
            return "failed"
        return "not checked" if self.reason else "passed"


class Session:
    """What checks are given. ``kept`` holds what a step of a story leaves for the next."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.wire = Wire(options.base_url)
        self.answers: list[Answer] = []
        self.asked_for: list[Answer] = []  # faults of a sandbox, on purpose
        self.kept: dict[str, str] = {}
        self.secrets = Secrets()
        for name in ("access_key", "password", "other_access_key", "client_secret"):
            self.secrets.add(getattr(options, name), name.replace("_", " "))
        for number in options.numbers:
            self.secrets.add_number(number)

    # -- running -------------------------------------------------------------------

    def run(self, check: Check) -> Result:
        """Let *check* look, and return what it found."""
        self._result = Result(check)
        began = time.monotonic()
        try:
            check.look(self)
        except NotChecked as exc:
            self._result.reason = str(exc)
        except (OSError, http.client.HTTPException) as exc:
            got = f"none: {type(exc).__name__}"
            self._note(got, str(self._last), "an answer", got)
        if not self._result.looked and not self._result.reason:
            self._result.reason = "the server gave no answer of this kind"
        self._result.seconds = time.monotonic() - began
        return self._result

    def equal(self, answer: Answer, got: object, expected: object, what: str) -> bool:
        """Note a deviation unless *got* is *expected*; *what* names it."""
        self._result.looked += 1
        if got != expected:
            wanted = f"{what} {_shown(expected)}"
            self._note(what, str(answer.request), wanted, f"{_shown(got)}\n{answer}")
        return got == expected

    def expect(self, answer: Answer, status: int, code: str = "") -> Answer:
        """Note a deviation unless *answer* has this status and this code."""
        self._result.looked += 1
        wanted = f"{status} {code}".strip()
        if answer.brief != wanted:
            is_without_code = answer.status == status and not answer.code
            cause = "no code" if is_without_code else answer.brief
            self._note(cause, str(answer.request), wanted, str(answer))
        return answer

    def require(self, answer: Answer, status: int, code: str = "") -> Answer:
        """Like ``expect``; where it is not so, nothing more can be looked at."""
        before = len(self._result.deviations)
        self.expect(answer, status, code)
        if len(self._result.deviations) > before:
            raise NotChecked(f"the server answered {answer.brief}")
        return answer

    def _note(self, cause: str, sent: str, expected: str, got: str) -> None:
        hide = self.secrets.hide
        self._result.looked += 1
        self._result.deviations.append(Deviation(cause, hide(sent), hide(expected), hide(got)))

    # -- sending -------------------------------------------------------------------

    def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        is_chunked: bool = False,
    ) -> Answer:
        """Send anything, and again once a throttled server lets it pass."""
        self._last = Request(method, target, headers or {}, body, is_chunked)
        answer = self._remember(self.wire.send(self._last))
        while answer.code == "throttled" and (wait := self.wait_of(answer)):
            self._wait(wait)
            answer = self._remember(self.wire.send(self._last))
        return answer

    def wait_of(self, answer: Answer) -> int:
        """Return the seconds that a 429 asks to wait; 0 if it says none, or too many."""
        told = answer.headers.get("Retry-After", "")
        wait = int(told) if re.fullmatch("[0-9]{1,9}", told) else 0
        return wait if wait <= self.options.max_wait else 0

    def _wait(self, seconds: int) -> None:
        print(f"The server asks to wait {seconds} seconds.", file=sys.stderr, flush=True)
        time.sleep(seconds)

    def _remember(self, answer: Answer) -> Answer:
        self.secrets.learn(answer.body.decode("utf-8", "replace"))
        self.answers.append(answer)
        return answer

    def call(
        self,
        name: str,
        body: Mapping[str, object] | bytes = b"",
        kind: str | None = JSON,
        accept: str | None = None,
        *,
        credential: str | None = None,
        query: str | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "",
        is_chunked: bool = False,
    ) -> Answer:
        """Send a call of the contract; a mapping is written as *kind* has it.

        :param credential: ``key``, ``token``, or ``none``; default is what the run was given.
        :param query: all of the query, in place of what the call needs.
        """
        call = CALLS[name]
        method = method or call.method
        if isinstance(body, Mapping):
            form = kind == FORM
            body = urlencode(body).encode() if form else write(call.model, body, kind or JSON)
        sent = {"Content-Type": kind} if body and kind else {}
        if accept is not None:
            sent["Accept"] = accept
        parameters: dict[str, str] = {}
        if not call.is_token_call:
            parameters, authorization = self._credential(credential)
            sent |= authorization
            if name != "ping":
                parameters["FileId"] = str(self.options.file)
        written = urlencode(parameters) if query is None else query
        target = f"{call.path}?{written}" if written else call.path
        return self.send(method, target, body, sent | dict(headers or {}), is_chunked=is_chunked)

    def _credential(self, wanted: str | None) -> tuple[dict[str, str], dict[str, str]]:
        if wanted is None:
            wanted = "key" if self.options.access_key else "token"
        if wanted == "key":
            self.options.need("file", "access_key")
            return {"WsAccessKey": self.options.access_key}, {}
        if wanted == "token":
            return {}, {"Authorization": f"Bearer {self.token}"}
        return {}, {}

    def write(self, name: str, body: Mapping[str, object], kind: str = JSON) -> bytes:
        """Return the body of a call in *kind*."""
        return write(CALLS[name].model, body, kind)

    def target(self, name: str, **parameters: str) -> str:
        """Return the path of a call with a query in the order given."""
        return f"{CALLS[name].path}?{urlencode(parameters)}"

    def query(self, file_id: object) -> str:
        """Return the query of a call by key, or by token where there is no key, under *file_id*."""
        key = self.options.access_key
        return (f"WsAccessKey={quote(key, safe='')}&" if key else "") + f"FileId={file_id}"

    # -- tokens --------------------------------------------------------------------

    def password(self, **more: str) -> dict[str, str]:
        """Return the body of a sign-in by the person's password."""
        self.options.need("username", "password")
        named = {"username": self.options.username, "password": self.options.password}
        return {"grant_type": "password", **named, **more}

    @cached_property
    def token(self) -> str:
        """An access token of the person, with the scope ``full``."""
        answer = self.call("token", self.password())
        if answer.status != 200 or not isinstance(answer.get("access_token"), str):
            raise NotChecked(f"no token for the password: {answer.brief}")
        return str(answer.get("access_token"))

    def token_for(self, scope: str) -> str:
        answer = self.require(self.call("token", self.password(scope=scope)), 200)
        return str(answer.get("access_token"))

    # -- texts ---------------------------------------------------------------------

    def code_sent_by(self, ask: Callable[[], Answer], number: str) -> tuple[Answer, str]:
        """Let *ask* make the server text *number*; return its answer and the code.

        :raises NotChecked: where no text can be read, or none came.
        """
        before = self.newest(number)
        answer = ask()
        while answer.code == "send_limit" and (wait := self.wait_of(answer)):
            self._wait(wait)
            answer = ask()
        if answer.status == 429:
            told = answer.headers.get("Retry-After")
            raise NotChecked(f"{answer.brief}: no text can be sent for {told} seconds")
        is_sent = answer.status in {200, 401}
        return answer, self.code_in(self.newest_after(number, before)) if is_sent else ""

    def newest(self, number: str) -> str:
        """Return the newest text to *number*, "" if there is none."""
        self.options.need("texts")
        command = [*shlex.split(self.options.texts), number]
        try:
            done = subprocess.run(  # noqa: S603 - the person at the run gave the command
                command, capture_output=True, text=True, check=False, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise NotChecked(f"the command of --texts failed: {type(exc).__name__}") from None
        return done.stdout

    def newest_after(self, number: str, before: str) -> str:
        """Wait for another text than *before*; where none comes, the newest is it again."""
        deadline = time.monotonic() + _TEXT_TAKES
        while (text := self.newest(number)) == before and time.monotonic() < deadline:
            time.sleep(0.2)
        return text

    def code_in(self, text: str) -> str:
        found = re.search(rf"(?<!\w)[0-9]{{{self.options.digits}}}(?!\w)", text)
        if not found:
            raise NotChecked(f"the newest text has no code of {self.options.digits} digits")
        self.secrets.add_code(found[0])
        return found[0]

    def keep(self, **facts: str) -> None:
        self.kept |= facts

    def keeping(self, name: str) -> str:
        """Return what a step before kept.

        :raises NotChecked: if it did not come so far.
        """
        if name not in self.kept:
            raise NotChecked("a step before did not succeed, or was not checked")
        return self.kept[name]

    # -- what all answers have in common -------------------------------------------

    def call_of(self, answer: Answer) -> str | None:
        """Return the call that was answered, "" for another path of the API, None elsewhere."""
        path = answer.request.path
        if path.removesuffix("/") in CALL_OF_PATH:
            return CALL_OF_PATH[path.removesuffix("/")]
        return "" if path.startswith(("/user/", "/authorisation/", "/events/")) else None

    def api_answers(self) -> Iterator[tuple[str, Answer]]:
        """All answers to calls so far, and to other paths of the API, with their calls."""
        for answer in self.answers:
            call = self.call_of(answer)
            if call is not None:
                yield call, answer

    def file_of(self, answer: Answer) -> str:
        query = parse_qsl(urlsplit(answer.request.target).query)
        return next((value for name, value in query if name.lower() == "fileid"), "")


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, str) else json.dumps(value, default=repr)
