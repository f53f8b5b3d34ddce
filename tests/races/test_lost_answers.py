"""The service decides, and its answer is lost: what a retry gets then (docs/clients.md)."""

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from struct import pack
from uuid import uuid4

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.utils import timezone
from oauth2_provider.models import AccessToken

from optin.models import AccessKey, AuditEvent, File, ProviderUser, Purpose, SmsMessage, User
from optin.operations import challenges, opt_ins
from tests.kit import grants
from tests.kit.clients import FORMATS, ROOTS, write
from tests.kit.people import NUMBER, ORIGIN, PASSWORD, make_user
from tests.kit.races import at_once
from tests.kit.server import Answer, Site, serving, until
from tests.races.ways import pend

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

OF_TOKENS = "OAuthPasswordCredentialsGrantRequest"
OF_REFRESHES = "OAuthRefreshAccessTokenRequest"


@cache
def hashed() -> str:
    """The password, as the server takes it: the hashes of the tests are quicker."""
    hasher = PBKDF2PasswordHasher()
    return hasher.encode(PASSWORD, hasher.salt())


@dataclass
class Program:
    """Speaks for one person, in one format."""

    server: Site
    user: User
    file: File
    kind: str
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = AccessKey.objects.make(self.user, self.file, timezone.now())[1]

    def call(self, call: str, body: Mapping[str, object], idempotency_key: str = "") -> "Request":
        path = f"/User/{call}?FileId={self.file.pk}&WsAccessKey={self.key}"
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return Request(self, path, write(ROOTS[call], body, self.kind), headers)

    def token_call(self, call: str, root: str, **body: object) -> "Request":
        return Request(self, f"/authorisation/{call}", write(root, body, self.kind), {})

    def password(self, call: str, **more: object) -> "Request":
        User.objects.filter(pk=self.user.pk).update(password=hashed())
        sent = {"grant_type": "password", "username": self.user.username, "password": PASSWORD}
        return self.token_call(call, OF_TOKENS, **sent, **more)

    def activate(self) -> None:
        pending = pend(self.user, self.file, NUMBER)
        row_id = pending.provider_user_id
        opt_ins.verify_opt_in(self.user, self.file, row_id, pending.code(), origin=ORIGIN)

    def code_for(self, purpose: Purpose) -> str:
        self.activate()
        challenges.challenge(self.user, purpose, origin=ORIGIN, file=self.file)
        return ProviderUser.objects.of(self.user, purpose)[0].open_code.code()  # type: ignore[union-attr]


@dataclass
class Request:
    program: Program
    path: str
    body: bytes
    headers: dict[str, str]

    def send(self) -> Answer:
        program = self.program
        return program.server.send(self.path, self.body, program.kind, **self.headers)

    def send_and_lose_the_answer(self, decided: str, *, kill: bool = False) -> None:
        """Send it, wait for its commit, and drop the connection without reading from it.

        :param decided: the kind and the outcome of its event.
        :param kill: kill -9 the workers too.
        """
        assert self._newest() != decided
        head = {
            "Host": "127.0.0.1",
            "Content-Type": self.program.kind,
            "Content-Length": str(len(self.body)),
            **self.headers,
        }
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {text}" for name, text in head.items())]
        with socket.create_connection(("127.0.0.1", self.program.server.port)) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))  # RST
            line.sendall("\r\n".join([*lines, "", ""]).encode() + self.body)
            until(lambda: self._newest() == decided)
            if kill:
                self.program.server.kill_workers()

    def _newest(self) -> str:
        events = AuditEvent.objects.about(self.program.user)
        return " ".join(events.values_list("kind", "outcome").first() or ())


def opt_in(program: Program) -> Request:
    return program.call("opt-in-to-2fa", {"MobileNumber": NUMBER}, uuid4().hex)


def opt_in_without_key(program: Program) -> Request:
    return program.call("opt-in-to-2fa", {"MobileNumber": NUMBER})


def verify(program: Program) -> Request:
    pending = pend(program.user, program.file, NUMBER)
    body = {"ProviderUserId": pending.provider_user_id, "Otp": pending.code()}
    return program.call("verify-2fa-opt-in", body)


def ask_to_opt_out(program: Program) -> Request:
    program.activate()
    return program.call("opt-out-from-2fa", {}, uuid4().hex)


def ask_to_opt_out_without_key(program: Program) -> Request:
    program.activate()
    return program.call("opt-out-from-2fa", {})


def opt_out(program: Program) -> Request:
    code = program.code_for(Purpose.OPT_OUT)
    return program.call("opt-out-from-2fa", {"Otp": code}, uuid4().hex)


def opt_out_without_key(program: Program) -> Request:
    return program.call("opt-out-from-2fa", {"Otp": program.code_for(Purpose.OPT_OUT)})


def token(program: Program) -> Request:
    return program.password("token")


def token_asks_for_a_code(program: Program) -> Request:
    program.activate()
    return program.password("token")


def token_2fa(program: Program) -> Request:
    code = program.code_for(Purpose.SIGN_IN)
    return program.password("token-2fa", verification_code=code)


def refresh(program: Program) -> Request:
    given = grants.tokens(program.user.username)
    sent = {"grant_type": "refresh_token", "refresh_token": given.refresh_token}
    return program.token_call("refresh", OF_REFRESHES, **sent)


Prepare = Callable[[Program], Request]

RETRIES: dict[Prepare, tuple[str, int, str]] = {
    opt_in: ("opt_in sent", 200, "ProviderUserId"),
    opt_in_without_key: ("opt_in sent", 429, "send_limit"),
    verify: ("verify_opt_in ok", 409, "already_verified"),
    ask_to_opt_out: ("challenge sent", 401, "2fa_code_required"),
    ask_to_opt_out_without_key: ("challenge sent", 401, "2fa_code_required"),
    opt_out: ("opt_out ok", 200, "is off"),
    opt_out_without_key: ("opt_out ok", 409, "not_opted_in"),
    token: ("sign_in issued", 200, "access_token"),
    token_asks_for_a_code: ("challenge sent", 401, "2fa_code_required"),
    token_2fa: ("check ok", 400, "invalid_grant"),
    refresh: ("refresh issued", 200, "access_token"),
}
"""What is decided first, and what a retry gets: the status, and what is in the body."""


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("prepare", RETRIES, ids=lambda prepare: prepare.__name__)
def test_a_retry_gets_what_is_documented_and_changes_nothing(
    server: Site, file: File, password_clients: None, prepare: Prepare, kind: str
) -> None:
    """S-69: one text, and one change."""
    program = Program(server, make_user("ann", file), file, kind)
    request = prepare(program)
    decided, status, said = RETRIES[prepare]
    request.send_and_lose_the_answer(decided)
    before = standing(program.user)

    retry = request.send()

    assert (retry.status, said in retry.text) == (status, True)
    assert standing(program.user) == before
    if "Idempotency-Key" in request.headers:
        assert as_sent(request.send()) == as_sent(retry)


def standing(user: User) -> dict[str, object]:
    """What a second change would change."""
    user.refresh_from_db()
    texts = SmsMessage.objects.filter(pending_otp__provider_user__user=user)
    numbers = ProviderUser.objects.filter(user=user)
    return {
        "texts": texts.count(),
        "numbers": list(numbers.values_list("pk", "confirmed", "verified_at", "released_at")),
        "sessions": user.session_epoch,
        "failures": user.failures,
    }


def as_sent(answer: Answer) -> object:
    """All of *answer* but what is of one request."""
    own = {"X-Request-Id", "Date"}
    headers = {name: text for name, text in answer.headers.items() if name not in own}
    return answer.status, answer.text, headers


def test_a_lost_refresh_leaves_the_refresh_token(
    server: Site, file: File, password_clients: None
) -> None:
    """And one access token, the newest."""
    program = Program(server, make_user("ann", file), file, "application/json")
    request = refresh(program)
    request.send_and_lose_the_answer("refresh issued")
    answer = request.send().json
    alive = AccessToken.objects.filter(user=program.user, expires__gt=timezone.now())
    assert answer["refresh_token"] in request.body.decode()
    assert alive.count() == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_a_lost_refresh_token_is_given_again(
    file: File, password_clients: None, tmp_path: Path, kind: str
) -> None:
    """S-34. Where each refresh token works once, the retry gets one that works."""
    with serving(tmp_path, {"OPTIN_PASSWORD_CLIENTS_ROTATE": "True"}) as server:
        program = Program(server, make_user("ann", file), file, kind)
        request = refresh(program)
        request.send_and_lose_the_answer("refresh issued")
        found = re.search(r"refresh_token[\": >]+([\w-]+)", request.send().text)
        assert found
        sent = {"grant_type": "refresh_token", "refresh_token": found[1]}
        again = program.token_call("refresh", OF_REFRESHES, **sent).send()
    assert again.status == 200, again.text
    assert found[1] not in again.text


@pytest.mark.parametrize("prepare", [opt_in, ask_to_opt_out, opt_out], ids=lambda p: p.__name__)
def test_a_killed_process_loses_no_answer(server: Site, file: File, prepare: Prepare) -> None:
    program = Program(server, make_user("ann", file), file, "text/xml")
    request = prepare(program)
    decided, status, said = RETRIES[prepare]
    request.send_and_lose_the_answer(decided, kill=True)
    before = standing(program.user)
    answers: list[Answer] = []

    def answered() -> bool:
        try:
            answers.append(request.send())
        except OSError:  # while the new workers start
            return False
        return True

    until(answered)
    assert (answers[0].status, said in answers[0].text) == (status, True)
    assert standing(program.user) == before


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("prepare", [opt_in, ask_to_opt_out, opt_out], ids=lambda p: p.__name__)
def test_four_at_once_get_one_answer(server: Site, file: File, prepare: Prepare, kind: str) -> None:
    program = Program(server, make_user("ann", file), file, kind)
    request = prepare(program)
    texts = SmsMessage.objects.count()
    events = AuditEvent.objects.count()

    first, *others = at_once([request.send] * 4)

    assert first.status == RETRIES[prepare][1]
    assert [as_sent(other) for other in others] == [as_sent(first)] * 3
    assert AuditEvent.objects.count() == events + 1
    assert SmsMessage.objects.count() == texts + (prepare is not opt_out)
