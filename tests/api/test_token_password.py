"""Tokens for a password: what is granted, what is refused, what is counted."""

from base64 import b64encode
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import DatabaseError, InterfaceError
from oauth2_provider.models import AbstractApplication

from optin.conf import Rate
from optin.models import AuditEvent, File, KnownNetwork, Membership, SendCounter, User
from optin.operations import sign_in, tenants
from optin.runtime import hashing
from tests.kit.clients import TOKEN_CALLS, Api, Tokens, error
from tests.kit.oauth import basic, make_client
from tests.kit.people import ORIGIN, PASSWORD, make_user
from tests.kit.trail import all_told

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("password_clients")]

TOO_MANY = (429, "temporarily_unavailable")
REFUSED = (400, "invalid_grant")
MALFORMED = (400, "invalid_request")


# -- granted -----------------------------------------------------------------------


@pytest.fixture
def files(user: User, file: File, other_file: File) -> None:
    """Two files of ``user``, and three that are not open to them."""
    Membership.objects.create(user=user, file=other_file)
    closed = File.objects.create(id=991, name="Closed", active=False)
    Membership.objects.create(user=user, file=closed)
    left = File.objects.create(id=992, name="Left")
    Membership.objects.create(user=user, file=left, active=False)
    File.objects.create(id=993, name="Foreign")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, "full fileid:777 fileid:888"),
        (" ", "full fileid:777 fileid:888"),
        ("2fa", "2fa fileid:777 fileid:888"),
        ("fileid:888", "full fileid:888"),
        ("fileid:888 fileid:777", "full fileid:777 fileid:888"),
        ("2fa 2fa  fileid:777 fileid:777", "2fa fileid:777"),
        ("view modify 2fa full fileid:777", "full 2fa modify view fileid:777"),
        ("Events", "events fileid:777 fileid:888"),
        ("Modify VIEW modify FILEID:777 fileid:777", "modify view fileid:777"),
    ],
)
def test_granted_scope(asked: str | None, granted: str) -> None:
    assert Tokens().sign_in(scope=asked).data["scope"] == granted


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    "scope",
    [
        *("fileid:991", "fileid:992", "fileid:993", "fileid:0", "fileid:*", "fileid:0777"),
        *("fileid:+777", "fileid:777,888", "fileid:\u0667\u0667\u0667", "introspection"),
        *("full fileid:993", "\uff46\uff55\uff4c\uff4c"),
    ],
)
def test_scope_that_cannot_be_granted(scope: str) -> None:
    """A foreign file and one that does not exist are refused alike."""
    answers = [Tokens().sign_in(scope=asked) for asked in (scope, "fileid:404")]

    assert error(answers[0]) == (400, "invalid_scope")
    assert answers[0].content == answers[1].content


def test_token_works_for_its_files_only(
    user: User, file: File, other_file: File, phone: object
) -> None:
    """Membership is read at each call; a file joined later needs a new token."""
    token = Tokens().sign_in().data["access_token"]
    membership = Membership.objects.create(user=user, file=other_file)

    def opt_out(token: str, file_id: int) -> tuple[int, str]:
        return Api(token=token, file_id=file_id).opt_out().brief

    assert opt_out(token, 777) == (409, "not_opted_in")
    assert opt_out(token, 888) == (403, "file_access_denied")
    newer = Tokens().sign_in().data["access_token"]
    assert opt_out(newer, 888) == (409, "not_opted_in")
    membership.delete()
    assert opt_out(newer, 888) == (403, "file_access_denied")


# -- refused -----------------------------------------------------------------------


@pytest.mark.parametrize("call", TOKEN_CALLS)
def test_not_enabled(user: User, call: str) -> None:
    """S-35: off until an operator enables it, and the password is not looked at."""
    sign_in.disable_password_clients()
    tokens = Tokens(call=call)
    answer = tokens.refresh("x") if call == "refresh" else tokens.sign_in()

    assert error(answer) == (400, "unauthorized_client")
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    "field", ["grant_type", "username", "password", "scope", "verification_code"]
)
def test_field_of_another_type(user: User, field: str) -> None:
    """S-11: a list is never one or many guesses, at a password neither."""
    values: list[Any] = [7, 1.5, True, ["ann"], {"a": "b"}, []]
    for value in values:
        assert error(Tokens().sign_in(**{field: value})) == MALFORMED
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    ("field", "text", "most"),
    [
        ("username", "x", 254),
        ("password", "x", 1024),
        ("scope", " ", 1024),
        ("verification_code", " ", 64),
    ],
)
def test_sizes(user: User, field: str, text: str, most: int) -> None:
    """S-20: one character more is malformed, and nothing is looked at."""
    allowed = Tokens().sign_in(**{field: text * most})
    answer = Tokens().sign_in(**{field: text * (most + 1)})

    assert allowed.status == 200 or error(allowed) == REFUSED
    assert error(answer) == MALFORMED
    assert len(all_told()) == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (KeyError, (500, "server_error")),
        (InterfaceError, (503, "temporarily_unavailable")),
        (DatabaseError, (503, "temporarily_unavailable")),
    ],
)
def test_faults(
    user: User, monkeypatch: pytest.MonkeyPatch, fault: type[Exception], expected: tuple[int, str]
) -> None:
    """S-61: a 503 says when to come back. No fault tells what went wrong."""

    def fail(*args: object, **kwargs: object) -> None:
        raise fault("zebra7391")

    monkeypatch.setattr(sign_in, "application", fail)
    for answer in (Tokens().sign_in(), Tokens(accept="text/xml").refresh("x")):
        assert error(answer) == expected
        assert b"zebra7391" not in answer.content
        assert answer.headers.get("Retry-After", "").isdigit() == (expected[0] == 503)


# -- who signs in ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sent", "status"),
    [
        *(("ann", name, 200) for name in ("ann", "aNn", "\uff41\uff4e\uff4e", "\uff21NN")),
        *(("ann", name, 200) for name in ("Ann@Example.COM", "ann\uff20example.com")),
        # Folding their case changes their letters: they are found as they are written.
        *((name, name, 200) for name in ("Stra\u00dfe", "\u0130pek", "\u03a3\u03af\u03c3")),
        *(("ann", name, 400) for name in (" ann", "ann ", "an", "ann%", "_nn", "\u0251nn")),
        ("ann", "@example.com", 400),
        # In upper case, a dotless i is an I too, and PostgreSQL compares in upper case.
        ("ian", "\u0131an", 400),
    ],
    ids=ascii,
)
def test_spellings_of_a_name(file: File, name: str, sent: str, status: int) -> None:
    make_user(name, file)

    assert Tokens().sign_in(sent).status == status


def test_user_name_comes_before_somebody_elses_email(user: User, file: File) -> None:
    impostor = User.objects.create_user("ann@example.com", "", "another password")

    assert error(Tokens().sign_in("ann@example.com", PASSWORD)) == REFUSED
    assert Tokens().sign_in("ann@example.com", "another password").status == 200
    assert AuditEvent.objects.latest("id").user_id == impostor.pk


def test_password_changed_while_it_was_checked(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was right when it was checked is decided again with the user locked."""
    verify = hashing.verify

    def change_meanwhile(password: str, encoded: str) -> tuple[bool, bool]:
        right = verify(password, encoded)
        other = User.objects.get(pk=user.pk)
        other.set_password("another one")
        other.save()
        return right

    monkeypatch.setattr(hashing, "verify", change_meanwhile)

    assert error(Tokens().sign_in()) == REFUSED


# -- failed sign-ins ---------------------------------------------------------------


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each hash of a password."""
    counted: list[str] = []
    encode = MD5PasswordHasher.encode

    def count(self: Any, password: str, *args: Any, **kwargs: Any) -> str:
        counted.append(password)
        return str(encode(self, password, *args, **kwargs))

    monkeypatch.setattr(MD5PasswordHasher, "encode", count)
    return counted


DEACTIVATED, UNUSABLE = {"is_active": False}, {"password": "!"}


@pytest.mark.parametrize(
    ("name", "password", "change"),
    [
        ("ann", "wrong", {}),
        ("ann", PASSWORD, {}),
        ("nobody", "wrong", {}),
        ("ann", PASSWORD, DEACTIVATED),
        ("ann", "wrong", DEACTIVATED),
        ("ann", "wrong", UNUSABLE),
    ],
)
def test_every_name_costs_one_hash(
    user: User, hashes: list[str], name: str, password: str, change: dict[str, Any]
) -> None:
    """S-38: neither time nor the answer tells who exists."""
    refused = Tokens().sign_in("nobody", "wrong")
    User.objects.update(**change)
    hashes.clear()
    answer = Tokens().sign_in(name, password)

    assert len(hashes) == 1
    is_right = (name, password, change) == ("ann", PASSWORD, {})
    assert answer.status == 200 if is_right else answer.content == refused.content


def test_unknown_names_are_counted_alike(user: User, hashes: list[str]) -> None:
    """S-38: neither the answers nor their order tell that a name is known."""
    hashes.clear()
    known = [Tokens().sign_in("ann", "wrong") for _ in range(12)]
    unknown = [Tokens().sign_in("nobody", "wrong") for _ in range(12)]

    assert [error(answer) for answer in known] == [REFUSED] * 10 + [TOO_MANY] * 2
    assert [answer.content for answer in known] == [answer.content for answer in unknown]
    assert known[-1].headers["Retry-After"] == unknown[-1].headers["Retry-After"]
    # Once there were too many, no password is looked at.
    assert len(hashes) == 20


def test_spellings_count_together(user: User) -> None:
    """S-05: ten in all, however the name is written."""
    spellings = ["ann", "ANN", "aNn", "\uff41nn", "\uff21\uff2e\uff2e"]
    for name in spellings * 2:
        assert error(Tokens().sign_in(name, "wrong")) == REFUSED
    for name in spellings:
        assert error(Tokens().sign_in(name)) == TOO_MANY


@pytest.mark.parametrize(
    ("stranger_at", "owner_at", "gets_in"),
    [
        ("192.0.2.1", "198.51.100.1", True),
        ("192.0.2.255", "192.0.3.1", True),
        ("192.0.2.1", "192.0.2.200", False),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::1", False),
        ("192.0.2.1", "2001:db8::1", True),
    ],
)
def test_stranger_elsewhere_cannot_shut_the_owner_out(
    user: User, stranger_at: str, owner_at: str, *, gets_in: bool
) -> None:
    """S-07: failed sign-ins count for a name and a /24 or /64."""
    for _ in range(15):
        Tokens(stranger_at).sign_in(password="wrong")

    assert (Tokens(owner_at).sign_in().status == 200) == gets_in


def test_failed_sign_ins_of_an_address(user: User, settings: Any) -> None:
    """Many names from one address: all of them count."""
    settings.OPTIN_FAILED_SIGN_INS_PER_IP = (Rate(5, 300),)
    for n in range(5):
        assert error(Tokens().sign_in(f"name {n}", "wrong")) == REFUSED

    assert error(Tokens().sign_in()) == TOO_MANY
    assert Tokens("192.0.2.2").sign_in().status == 200


# -- a server that signs people in -------------------------------------------------

SERVER = "192.0.2.1"
ANNS, STRANGERS = "198.51.100.7", "2001:db8:9:1::1"


@pytest.fixture
def login_form() -> AbstractApplication:
    """A client that staff let name the addresses of its users."""
    made = make_client("client-credentials")
    tenants.trust_application(made, trusted=True, reason="its login form", origin=ORIGIN)
    return made


def behind(ip: str, authorization: str | None = None, **how: Any) -> Tokens:
    """What the server sends for somebody at *ip*."""
    authorization = basic() if authorization is None else authorization
    headers = {"Authorization": authorization, "x-fapi-customer-ip-address": ip}
    return Tokens(SERVER, headers=headers, **how)


def address_of_a_wrong_password(tokens: Tokens) -> tuple[str | None, str]:
    """The address and the client that the trail has."""
    assert error(tokens.sign_in(password="wrong")) == REFUSED
    event = all_told()[-1]
    return event.ip, event.client


def test_nobody_behind_a_login_form_stops_another(
    user: User, login_form: AbstractApplication, settings: Any
) -> None:
    """Whatever a stranger enters there, whichever limit by address is looked at."""
    settings.OPTIN_FAILED_SIGN_INS_PER_IP = (Rate(20, 300),)
    settings.OPTIN_REQUESTS_PER_NETWORK = (Rate(30, 60),)
    for n in range(12):
        behind(STRANGERS).sign_in(password="wrong")
        behind(STRANGERS).sign_in(f"nobody {n}", "wrong")
    assert error(behind(STRANGERS).sign_in("nobody", "wrong")) == TOO_MANY
    for n in range(30):
        behind(STRANGERS).refresh(f"made up {n}")

    answer = behind(ANNS).sign_in()
    assert answer.status == 200
    assert behind(ANNS).refresh(answer.data["refresh_token"]).status == 200
    assert KnownNetwork.objects.knows(user.pk, "198.51.100.0/24")


def test_who_is_not_trusted_names_no_address(user: User) -> None:
    """S-26. Not without credentials, not before staff allow it, not after, not without a secret."""
    made = make_client("client-credentials")

    def trust(trusted: bool) -> None:
        tenants.trust_application(made, trusted=trusted, reason="a test", origin=ORIGIN)

    for header in ("", "Bearer x", basic()):
        assert address_of_a_wrong_password(behind(ANNS, header))[0] == SERVER
    trust(True)
    for ip in (ANNS, f"::ffff:{ANNS}", STRANGERS):
        named = ip.removeprefix("::ffff:"), f"app:{made.pk}"
        assert address_of_a_wrong_password(behind(ip)) == named
    assert address_of_a_wrong_password(behind(ANNS, ""))[0] == SERVER
    type(made).objects.update(client_type="public")
    assert address_of_a_wrong_password(behind(ANNS))[0] == SERVER
    type(made).objects.update(client_type="confidential")
    trust(False)
    assert address_of_a_wrong_password(behind(ANNS))[0] == SERVER


@pytest.mark.parametrize("ip", ["", "ann", "1.2.3.4, 5.6.7.8", "1.2.3.4:80", "1.2.3", "[::1]"])
def test_a_malformed_address(user: User, login_form: AbstractApplication, ip: str) -> None:
    assert error(behind(ip).sign_in()) == MALFORMED
    assert not SendCounter.objects.exists()
    assert behind(ip, "").sign_in().status == 200


WRONG_CLIENTS = [
    *(basic(secret="wrong"), basic(secret=""), basic("nobody"), basic("\0"), basic("")),
    *("Basic", "Basic x", "basic !", "Basic w6Q=", "Basic " + b64encode(b"\xff:x").decode()),
]


@pytest.mark.parametrize("authorization", WRONG_CLIENTS)
def test_wrong_credentials_of_a_client(
    user: User,
    login_form: AbstractApplication,
    settings: Any,
    hashes: list[str],
    authorization: str,
) -> None:
    """They cost nobody a try, and what they use up stops nobody who has a password."""
    settings.OPTIN_REQUESTS_PER_NETWORK = (Rate(2, 60),)
    hashes.clear()
    wrong = behind(ANNS, authorization)
    for answer in (wrong.sign_in(), wrong.refresh("x")):
        assert error(answer) == (401, "invalid_client")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="oauth"'
    assert error(wrong.sign_in()) == TOO_MANY
    assert not hashes
    assert not SendCounter.objects.exists()
    assert Tokens(SERVER).sign_in().status == 200
