"""Calls of many at once, and what a race begins with."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import defusedxml.ElementTree
import pytest
from _pytest.mark import ParameterSet
from django.utils import timezone

from optin.conf import Rate
from optin.models import AccessKey, AuditEvent, File, Notice, PendingOtp, ProviderUser, User
from optin.operations import opt_ins
from tests.kit import grants
from tests.kit.people import ORIGIN, make_user, number
from tests.kit.server import Site

LONG = 10**9
"""Seconds of a window that no run of the tests crosses: the next one begins in 2033."""


def _rounds(long: int) -> list[ParameterSet]:
    """A few rounds in the quick run, *long* of them in the long one."""
    slow = pytest.param(long, id=f"{long} rounds", marks=pytest.mark.slow)
    return [pytest.param(2, id="2 rounds"), slow]


ROUNDS = _rounds(15)
ALL_ROUNDS = _rounds(50)
"""As many as S-02 wants: of right codes, one succeeds."""


@dataclass
class ByHttp:
    """Requests with an access key or a token, by turns in JSON and in XML.

    The answers are the codes of the contract.
    """

    server: Site
    keys: dict[tuple[int, int], str] = field(default_factory=dict)  # by user and file
    tokens: dict[int, str] = field(default_factory=dict)  # by user
    turn: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.texts_before = len(self.server.texts())

    def let_in(self, user: User, file: File) -> None:
        """Make the key with which *user* calls."""
        self.keys[user.pk, file.pk] = AccessKey.objects.make(user, file, timezone.now())[1]

    def sign_in(self, user: User) -> None:
        """Get the token with which *user* calls: all by the same client."""
        self.tokens[user.pk] = grants.tokens(user.username).access_token

    def opt_in(self, user: User, file: File, mobile: str) -> str:
        return self._call(user, file, "opt-in-to-2fa", "OptInTo2FARequest", MobileNumber=mobile)

    def verify(self, user: User, file: File, provider_user_id: int, otp: str) -> str:
        values = {"ProviderUserId": str(provider_user_id), "Otp": otp}
        return self._call(user, file, "verify-2fa-opt-in", "Verify2FAOptInRequest", **values)

    def texts(self) -> int:
        return len(self.server.texts()) - self.texts_before

    def _call(self, user: User, file: File, call: str, model: str, **values: str) -> str:
        path, token = f"/User/{call}?FileId={file.pk}", self.tokens.get(user.pk, "")
        if not token:
            path += f"&WsAccessKey={self.keys[user.pk, file.pk]}"
        if next(self.turn) % 2:
            fields = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
            body = f"<{model}>{fields}</{model}>"
            bearer = {"Authorization": f"Bearer {token}"} if token else {}
            answer = self.server.send(path, body, "application/xml", **bearer)
            root = defusedxml.ElementTree.fromstring(answer.text)
            status, titles = answer.status, [each.text or "" for each in root.iter("title")]
        else:
            status, json_answer = self.server.post_json(path, values, token)
            titles = [entry["title"] for entry in json_answer.get("_links", [])]
        return "ok" if status == 200 else titles[-1]


def member(way: ByHttp, name: str, file: File) -> User:
    """A new user who may call."""
    user = make_user(name, file)
    way.let_in(user, file)
    return user


def pend(user: User, file: File, mobile: str) -> PendingOtp:
    """Have *user* ask for a code for *mobile*; return it, pending."""
    sending = opt_ins.opt_in(user, file, mobile, origin=ORIGIN)
    assert sending.provider_user_id, sending.outcome
    row = ProviderUser.objects.get(pk=sending.provider_user_id)
    return PendingOtp.objects.open().select_related("provider_user").get(provider_user=row)


def rate(count: int) -> tuple[Rate, ...]:
    return (Rate(count, LONG),)


def wrong_codes(pending: PendingOtp, count: int) -> list[str]:
    """Different codes, none of which is that of *pending*."""
    size = 10**pending.digits
    return [f"{(int(pending.code()) + n) % size:0{pending.digits}d}" for n in range(1, count + 1)]


def opted_in(n: int, file: File) -> User:
    user = make_user(f"user{n}", file)
    pending = pend(user, file, number(n))
    opt_ins.verify_opt_in(user, file, pending.provider_user_id, pending.code(), origin=ORIGIN)
    return user


def is_on(user: User) -> bool:
    return ProviderUser.objects.filter(user=user, confirmed=True).exists()


def told(user: User, kind: Notice.Kind) -> int:
    return Notice.objects.filter(user=user, kind=kind).count()


def events(user: User, *kinds: AuditEvent.Kind) -> Counter[str]:
    found = AuditEvent.objects.filter(user_id=user.pk, kind__in=kinds)
    return Counter(found.values_list("outcome", flat=True))
