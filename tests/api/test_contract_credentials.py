"""Who may call (docs/contract.md, section 3): roles x tenants x calls, none left out (S-33)."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.urls import URLPattern
from django.utils import timezone
from oauth2_provider.models import AccessToken
from pytest_django import Settings

from optin.api import oauth, receipts, urls
from optin.api.views import NotFound, UserCall
from optin.models import AccessKey, AuditEvent, File, Membership, User
from tests.kit.clients import ROOTS, Answer, Api, bearer
from tests.kit.people import NOON, NUMBER, make_user
from tests.kit.phone import Phone

pytestmark = pytest.mark.django_db(transaction=True)

REALM = 'Bearer realm="api"'
CHALLENGES = {
    "not_authenticated": REALM,
    "invalid_token": f'{REALM}, error="invalid_token"',
    "insufficient_scope": f'{REALM}, error="insufficient_scope"',
    "2fa_code_required": REALM,
}
"""The exact header of each code that has one."""

USER_CALLS = {
    "opt-in": "opt-in-to-2fa",
    "verify": "verify-2fa-opt-in",
    "opt-out": "opt-out-from-2fa",
}
TOKEN_CALLS = {"token", "token-2fa", "refresh"}
"""These take a password or a refresh token; see the tests of the token calls."""
OTHER_CALLS = {"events", "sandbox-texts", "endpoints", "endpoint", "endpoint-secret"}
"""See tests.webhooks and tests.sandbox."""


def test_every_call_has_a_row() -> None:
    """A call that is added to the addresses without a row here fails (S-33)."""
    views = {
        str(pattern.name): getattr(pattern.callback, "cls", None)
        for pattern in urls.urlpatterns
        if isinstance(pattern, URLPattern)
        and pattern not in [*oauth.urlpatterns, *receipts.urlpatterns]
    }
    calls = {name for name, view in views.items() if view is not NotFound}
    assert calls == {*USER_CALLS, *TOKEN_CALLS, "ping", *OTHER_CALLS}
    of_files = {name for name in calls if issubclass(views[name] or object, UserCall)}
    assert of_files == {*USER_CALLS, *OTHER_CALLS}
    assert set(USER_CALLS.values()) == ROOTS.keys()


# -- the matrix --------------------------------------------------------------------

FILES = {"own": 777, "second": 888, "foreign": 666, "closed": 555, "left": 444, "missing": 12345}
"""Two files of the user, one of others, one that is closed, one that the user left."""


@pytest.fixture
def tenants(user: User, file: File, other_file: File) -> None:
    Membership.objects.create(user=user, file=other_file)
    foreign = File.objects.create(id=666, name="Foreign")
    make_user("zoe", foreign)
    closed = File.objects.create(id=555, name="Closed", active=False)
    left = File.objects.create(id=444, name="Left")
    Membership.objects.create(user=user, file=closed)
    Membership.objects.create(user=user, file=left, active=False)


def key_of(user: User, file_id: int, *, revoked: bool = False) -> str:
    row, text = AccessKey.objects.make(user, File.objects.get(pk=file_id), timezone.now())
    if revoked:
        AccessKey.objects.filter(pk=row.pk).update(revoked_at=timezone.now())
    return text


def deactivated(user: User) -> User:
    User.objects.filter(pk=user.pk).update(is_active=False)
    return user


def for_another_server(user: User) -> str:
    token = bearer(user, "full")
    AccessToken.objects.update(resource=["https://other.example"])
    return token


def other(name: str, *file_ids: int) -> User:
    return make_user(name, *File.objects.filter(pk__in=file_ids))


IN = "in"
ALL = tuple(FILES)
Expected = dict[str, str]


def only(*names: str, otherwise: str = "file_access_denied") -> Expected:
    return {name: IN if name in names else otherwise for name in ALL}


def refused(code: str) -> Expected:
    return only(otherwise=code)


Role = Callable[[User], Api]

INVALID, NARROW = refused("invalid_token"), refused("insufficient_scope")

ROLES: dict[str, tuple[Role, Expected]] = {
    "nobody": (lambda u: Api(), refused("not_authenticated")),
    "token, full": (lambda u: Api(token=bearer(u, "full")), only("own", "second")),
    "token, 2fa": (lambda u: Api(token=bearer(u, "2fa")), only("own", "second")),
    "token, for another server": (lambda u: Api(token=for_another_server(u)), INVALID),
    "token, full for one file": (lambda u: Api(token=bearer(u, "full fileid:777")), only("own")),
    "token, 2fa for one file": (lambda u: Api(token=bearer(u, "2fa fileid:888")), only("second")),
    "token for files of others": (
        lambda u: Api(token=bearer(u, "full fileid:666 fileid:555 fileid:444 fileid:12345")),
        only(),
    ),
    "token, another scope": (lambda u: Api(token=bearer(u, "read")), NARROW),
    "token, modify": (lambda u: Api(token=bearer(u, "modify")), only("own", "second")),
    "token, events": (lambda u: Api(token=bearer(u, "events")), NARROW),
    "token, view": (lambda u: Api(token=bearer(u, "view")), NARROW),
    "token, no scope": (lambda u: Api(token=bearer(u, "")), NARROW),
    "token, unknown": (lambda u: Api(token="nothing"), INVALID),
    "token, expired": (lambda u: Api(token=bearer(u, lifetime=timedelta(0))), INVALID),
    "token without a user": (lambda u: Api(token=bearer(None)), INVALID),
    "token of a deactivated user": (lambda u: Api(token=bearer(deactivated(u))), INVALID),
    "token of a member elsewhere": (
        lambda u: Api(token=bearer(other("kim", 666))),
        only("foreign"),
    ),
    "key": (lambda u: Api(key=key_of(u, 777)), only("own")),
    "key of a closed file": (lambda u: Api(key=key_of(u, 555)), only()),
    "key of a file that was left": (lambda u: Api(key=key_of(u, 444)), only()),
    "key, unknown": (lambda u: Api(key="nothing"), INVALID),
    "key, revoked": (lambda u: Api(key=key_of(u, 777, revoked=True)), INVALID),
    "key of a deactivated user": (lambda u: Api(key=key_of(deactivated(u), 777)), INVALID),
    "both": (lambda u: Api(token=bearer(u), key=key_of(u, 777)), only("own")),
    "both, token for another file": (
        lambda u: Api(token=bearer(u, "full fileid:888"), key=key_of(u, 777)),
        only(),
    ),
    "both, of two users": (
        lambda u: Api(token=bearer(other("kim", 777)), key=key_of(u, 777)),
        INVALID,
    ),
    "both, token unknown": (lambda u: Api(token="nothing", key=key_of(u, 777)), INVALID),
    "both, key unknown": (lambda u: Api(token=bearer(u), key="nothing"), INVALID),
}


def outcome(answer: Answer) -> str:
    """Whether the caller came in: the body ``{`` is looked at only then."""
    if answer.code == "invalid_request" and "JSON" in answer.data["StatusMessage"]:
        return IN
    assert answer.status == (401 if answer.code in {"not_authenticated", "invalid_token"} else 403)
    assert answer.headers.get("WWW-Authenticate") == CHALLENGES.get(answer.code)
    return answer.code


ANY_SCOPE_PINGS = {
    "token, another scope": only("own", "second"),
    "token, view": only("own", "second"),
    "token, events": only("own", "second"),
    "token, no scope": only("own", "second"),
}
"""The roles whose scope does not allow the ``User/`` calls."""

OTHER_SCOPE_EVENTS = {
    "token, events": only("own", "second"),
    "token, 2fa": NARROW,
    "token, 2fa for one file": NARROW,
    "token, modify": NARROW,
}
"""The roles that may read events and not call, or the other way round."""

KEYS_OF_NO_OPEN_FILE = {
    "key of a closed file",
    "key of a file that was left",
    "both, token for another file",
}


@pytest.mark.parametrize("role", ROLES)
def test_roles_x_tenants_x_calls(user: User, tenants: None, role: str, settings: Settings) -> None:
    """S-33"""
    settings.OPTIN_REQUESTS_PER_USER = settings.OPTIN_REQUESTS_PER_NETWORK = ()
    make, expected = ROLES[role]
    api = make(user)
    Membership.objects.update(manages=True)

    def got(ask: Callable[[], Answer]) -> Expected:
        found = {}
        for name, api.file_id in FILES.items():
            answer = ask()
            found[name] = IN if answer.status == 200 else outcome(answer)
        return found

    for call in USER_CALLS.values():
        assert got(lambda call=call: api.post(call, "{")) == expected  # type: ignore[misc]
    events = got(lambda: api.send("GET", "/events", query=api.query()))
    assert events == OTHER_SCOPE_EVENTS.get(role, expected)
    # Where a file is named, it must be open, as for the other calls.
    pings = got(lambda: api.ping(query=api.query()))
    assert pings == ANY_SCOPE_PINGS.get(role, expected)

    # Without a file, a token is good or it is not, and a key is checked for its own file.
    api.file_id = None
    answer = api.ping(query=api.query())
    refusal = ANY_SCOPE_PINGS.get(role, expected)["missing"]
    if role in KEYS_OF_NO_OPEN_FILE:
        assert answer.brief == (403, "file_access_denied")
    elif refusal == "file_access_denied":
        assert answer.status == 200
    else:
        assert answer.brief == (401, refusal)


def test_refused_at_the_door_leaves_one_event(user: User, tenants: None) -> None:
    """S-52; a 401 is logged only."""
    Api(token="nothing").opt_in(NUMBER)
    Api().opt_in(NUMBER)
    assert not AuditEvent.objects.exists()
    Api(token=bearer(user), file_id=666).opt_in(NUMBER)
    event = AuditEvent.objects.get()
    assert (event.kind, event.outcome, event.user_id, event.file_id) == (
        AuditEvent.Kind.ACCESS,
        "file_access_denied",
        user.pk,
        666,
    )


# -- how a token is sent -----------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "not_authenticated"),
        ("Basic YW5uOng=", "not_authenticated"),
        ("{token}", "not_authenticated"),
        ("Token {token}", "not_authenticated"),
        ("Bearer", "invalid_token"),
        ("Bearer ", "invalid_token"),
        ("Bearer {token}x", "invalid_token"),
        ("Bearer {token} {token}", "invalid_token"),
        ('Bearer "{token}"', "invalid_token"),
        ("Bearer {token},{token}", "invalid_token"),
        ("Bearer \xe9\xff", "invalid_token"),
        ("Bearer " + "x" * 20_000, "invalid_token"),
    ],
)
def test_other_headers(user: User, header: str, code: str) -> None:
    """S-12 among them: an empty token is no token's."""
    headers = {"Authorization": header.format(token=bearer(user))}
    answer = Api().ping(headers=headers)
    assert answer.brief == (401, code)
    assert answer.headers["WWW-Authenticate"] == CHALLENGES[code]


# -- access keys -------------------------------------------------------------------


def test_legacy_keys_switched_off(
    user: User, access_key: str, settings: Settings, phone: Phone
) -> None:
    settings.LEGACY_ACCESS_KEYS = False
    answer = Api(key=access_key).opt_in(NUMBER)
    assert answer.brief == (401, "not_authenticated")
    assert AccessKey.objects.get().last_used_at is None
    assert Api(token=bearer(user), key=access_key).opt_in(NUMBER).status == 200


def test_last_use_is_written_once_an_hour(access_key: str, clock: time_machine.Traveller) -> None:
    used = []
    for seconds in (0, 1, 3598, 1, 1):
        clock.shift(seconds)
        Api(key=access_key).verify(1, "1234567")
        used.append(AccessKey.objects.get().last_used_at)
    assert used == [NOON, NOON, NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=1)]
