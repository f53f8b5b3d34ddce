"""How many passwords are hashed at once, and how many may be tried from where."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from queue import SimpleQueue
from threading import Semaphore
from typing import Any

import pytest
import time_machine
from django.contrib.auth import hashers
from django.db import connection
from django.db.models import Sum
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from optin.conf import Rate, conf
from optin.errors import Busy
from optin.models import AuditEvent, KnownNetwork, Notice, RefusalCount, SendCounter, User
from optin.operations import not_me, passwords, sign_in
from optin.origin import Origin
from optin.outcomes import By, SignInOutcome
from optin.runtime import hashing
from tests.kit import grants
from tests.kit.people import PASSWORD
from tests.kit.races import all_places_taken
from tests.kit.server import until
from tests.kit.trail import one_event
from tests.kit.world import PAGE, Person, proved

pytestmark = pytest.mark.django_db(transaction=True)

ELSEWHERE = replace(PAGE, ip="198.51.100.7")
SIGNED_IN, WRONG, NOT_NOW = (
    SignInOutcome.SIGNED_IN,
    SignInOutcome.INVALID_GRANT,
    SignInOutcome.NOT_NOW,
)


@pytest.fixture(autouse=True)
def _one_hash_at_a_time(settings: Settings) -> Iterator[None]:
    settings.OPTIN_PASSWORD_HASHES = 1
    hashing._turns.cache_clear()
    yield
    hashing._turns.cache_clear()


# -- so many at once ---------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    [
        lambda user: sign_in.sign_in("ann", PASSWORD, origin=PAGE),
        lambda user: sign_in.sign_in("nobody", PASSWORD, origin=PAGE),
        lambda user: passwords.confirm(user, PASSWORD, origin=PAGE),
        lambda user: passwords.choose(user, "another", origin=PAGE, standing=proved(None)),
        lambda user: passwords.is_theirs(user, PASSWORD),
        lambda user: not_me.disown(Notice(user=user), PASSWORD, origin=PAGE),
    ],
    ids=["sign-in", "unknown name", "confirm", "choose", "just chosen", "disown"],
)
def test_where_too_many_hash_or_wait_nothing_happens(user: User, operation: Any) -> None:
    with all_places_taken(), CaptureQueriesContext(connection) as asked, pytest.raises(Busy):
        operation(user)
    assert not asked.captured_queries
    assert passwords.confirm(user, PASSWORD, origin=PAGE).outcome is SIGNED_IN


def test_so_many_hash_at_once_and_others_wait(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPTIN_PASSWORD_HASHES = 2
    hashing._turns.cache_clear()
    begun: SimpleQueue[str] = SimpleQueue()
    go_on = Semaphore(0)

    def make_password(password: str) -> str:
        begun.put(password)
        go_on.acquire(timeout=10)
        return password

    monkeypatch.setattr(hashing, "make_password", make_password)

    def ask(password: str) -> str:
        with hashing.place():
            return hashing.make(password)

    names = [str(n) for n in range(hashing.PLACES)]
    with ThreadPoolExecutor(len(names)) as pool:
        asked = [pool.submit(ask, name) for name in names]
        until(lambda: not hashing._places._value)
        with pytest.raises(Busy):
            ask("one too many")
        time.sleep(0.3)  # nobody else begins
        assert begun.qsize() == 2
        go_on.release(len(names))
        assert [one.result(timeout=60) for one in asked] == names


def test_who_waits_too_long_has_to_go(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "PATIENCE", 0.01)
    with hashing.place(), pytest.raises(Busy):
        sign_in.sign_in("ann", PASSWORD, origin=PAGE)
    assert hashing._places._value == hashing.PLACES
    assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is SIGNED_IN


@pytest.mark.postgresql
def test_who_hashes_holds_no_connection(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are few, and codes need them."""

    def verify_password(password: str, encoded: str) -> tuple[bool, bool]:
        assert connection.connection is None
        return True, False

    monkeypatch.setattr(hashing, "verify_password", verify_password)
    assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is SIGNED_IN


def test_a_page_and_a_token_call_say_when_to_come_again(
    user: User, password_clients: None, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """S-61. No fault of ours: nothing is logged as one."""
    body = {"username": "ann", "password": PASSWORD}
    with all_places_taken():
        page = client.post("/sign-in/", body)
        body["grant_type"] = "password"
        token = client.post("/authorisation/token", body, content_type="application/json")
    assert "Not available right now" in page.content.decode()
    assert token.json()["error"] == "temporarily_unavailable"
    for answer in (page, token):
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "Traceback" not in caplog.text
    assert not AuditEvent.objects.exists()
    assert not SendCounter.objects.exists()


@pytest.fixture
def newer_hashes(user: User, settings: Settings) -> None:
    """The hash of the password of *user* is of a kind that is outdated now."""
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]


def test_an_outdated_hash_is_made_anew(
    user: User, newer_hashes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By two sign-ins at once: both are right. No hash is made while the user is locked."""
    make, verify = hashing.make, hashing.verify

    def meanwhile(password: str) -> str:
        User.objects.filter(pk=user.pk).update(password=make(password))
        return make(password)

    def unlocked(password: str, encoded: str) -> tuple[bool, bool]:
        assert not connection.in_atomic_block
        return verify(password, encoded)

    monkeypatch.setattr(hashing, "make", meanwhile)
    monkeypatch.setattr(hashing, "verify", unlocked)
    assert user.password.startswith("md5$")
    assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is SIGNED_IN
    user.refresh_from_db()
    assert user.password.startswith("pbkdf2_sha256$")
    assert user.check_password(PASSWORD)


def test_a_hash_made_anew_puts_no_old_password_back(
    user: User, newer_hashes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody chose another password between the check and the new hash."""
    chosen = hashers.make_password("another one", hasher="md5")
    make = hashing.make

    def meanwhile(password: str) -> str:
        User.objects.filter(pk=user.pk).update(password=chosen)
        return make(password)

    monkeypatch.setattr(hashing, "make", meanwhile)
    assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is WRONG
    user.refresh_from_db()
    assert user.password == chosen


# -- so many from one address ------------------------------------------------------


def counts() -> dict[str, int]:
    """The counters of sign-ins, by their rule, together."""
    rows = SendCounter.objects.filter(scope__startswith="sign-in").values_list("scope")
    return dict(rows.annotate(Sum("count")))


@pytest.mark.parametrize("origin", [PAGE, ELSEWHERE], ids=["known network", "new network"])
def test_a_right_password_takes_every_failure_back(person: Person, origin: Origin) -> None:
    """... and only its own: one failure of before stands. The try counts."""
    from_home(person)
    assert sign_in.sign_in("ann", "wrong", origin=origin).outcome is WRONG
    before = counts()
    assert sign_in.sign_in("ann", PASSWORD, origin=origin).outcome is SIGNED_IN
    before["sign-in-tries/300"] += 1
    assert counts() == before
    assert len(before) == 5


@pytest.mark.parametrize("name", ["nobody", "ben"])
def test_others_at_her_address_use_up_nothing_that_she_needs(
    person: Person, stranger: User, settings: Settings, name: str
) -> None:
    """A server that signs in its people is one address. She signed in there before."""
    settings.OPTIN_FAILED_SIGN_INS_PER_IP = (Rate(3, 300),)
    settings.OPTIN_SIGN_INS_PER_IP = (Rate(5, 300),)
    for each in ("ann", "ben"):
        assert sign_in.sign_in(each, PASSWORD, origin=PAGE).outcome is SIGNED_IN
    for n in range(8):
        last = sign_in.sign_in(name if name == "ben" else f"{name}{n}", "wrong", origin=PAGE)
    assert last.outcome is NOT_NOW
    for _ in range(3):
        assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is SIGNED_IN


def test_right_passwords_from_one_address_are_limited(person: Person, settings: Settings) -> None:
    """Each account that signed in there before has a limit of its own."""
    settings.OPTIN_SIGN_INS_PER_IP = (Rate(2, 300),)
    from_home(person)
    for _ in range(2):
        assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is SIGNED_IN
    rule = {"rule": "sign-in-tries/300", "count": 2, "limit": 2, "retry_after": 300}
    with one_event(AuditEvent.Kind.SIGN_IN, NOT_NOW, rule):
        assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is NOT_NOW
    assert sign_in.sign_in("ann", PASSWORD, origin=ELSEWHERE).outcome is SIGNED_IN


# -- wrong ones from everywhere ----------------------------------------------------


@pytest.fixture
def attacked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is under attack from 3 wrong passwords on; new networks get 1 then."""
    settings.OPTIN_FAILED_SIGN_INS_PER_NAME_TOTAL = (Rate(3, 3600),)
    monkeypatch.setattr(conf, "failed_sign_ins_per_new_network", (Rate(1, 3600),))


def attack(name: str) -> None:
    for n in range(3):
        origin = replace(PAGE, ip=f"203.0.{n}.1")
        assert sign_in.sign_in(name, "wrong", origin=origin).outcome is WRONG


def from_home(person: Person) -> None:
    """They signed in at home before, to the end."""
    assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is SIGNED_IN


def test_who_signed_in_there_before_is_untouched(attacked: None, person: Person) -> None:
    """S-07: from the same network, whatever its last number."""
    from_home(person)
    attack("ann")
    at_home = replace(PAGE, ip="192.0.2.200")
    for _ in range(5):
        assert sign_in.sign_in("ann", "wrong", origin=at_home).outcome is WRONG
    assert sign_in.sign_in("ann", PASSWORD, origin=at_home).outcome is SIGNED_IN


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_a_new_network_is_slowed_down(
    attacked: None, person: Person, name: str, clock: time_machine.Traveller
) -> None:
    """S-38: the same for a name that nobody has."""
    from_home(person)
    attack(name)
    assert sign_in.sign_in(name, "wrong", origin=ELSEWHERE).outcome is WRONG
    rule = {"rule": "sign-in-new/3600", "count": 1, "limit": 1, "retry_after": 3600}
    with one_event(AuditEvent.Kind.SIGN_IN, NOT_NOW, rule):
        refused = sign_in.sign_in(name, "wrong", origin=ELSEWHERE)
    assert refused == sign_in.SignIn(NOT_NOW, retry_after=timedelta(hours=1))
    clock.shift(3600)
    assert sign_in.sign_in(name, "wrong", origin=ELSEWHERE).outcome is WRONG


def test_one_customer_has_one_new_network(attacked: None, person: Person) -> None:
    """A /48 holds 65 536 networks of one household: no more tries for who owns it."""
    attack("ann")
    grants = [
        sign_in.sign_in("ann", "wrong", origin=replace(PAGE, ip=ip)).outcome
        for ip in ("2001:db8:1::1", "2001:db8:1:1::1", "2001:db8:1:ffff::1", "2001:db8:2::1")
    ]
    assert grants == [WRONG, NOT_NOW, NOT_NOW, WRONG]


def test_each_name_that_is_attacked_has_its_count(
    attacked: None, person: Person, stranger: User
) -> None:
    """Staff see why the person cannot sign in, also where somebody else was refused just before."""
    users = (stranger, person.user)
    for user in users:
        attack(user.username)
        for _ in range(2):
            answer = sign_in.sign_in(user.username, "wrong", origin=ELSEWHERE)
        assert answer.outcome is NOT_NOW
    refused = RefusalCount.objects.filter(outcome=NOT_NOW).order_by("pk")
    assert [row.user_id for row in refused] == [user.pk for user in users]


def test_a_travelling_owner_gets_in(attacked: None, person: Person) -> None:
    """... and is known there from then on."""
    attack("ann")
    assert sign_in.sign_in("ann", PASSWORD, origin=ELSEWHERE).outcome is SIGNED_IN
    for _ in range(2):
        assert sign_in.sign_in("ann", "wrong", origin=ELSEWHERE).outcome is WRONG


@pytest.mark.parametrize("by", [By.TEXT, By.APP])
def test_a_network_becomes_known_with_the_code(person: Person, by: By) -> None:
    """A right password alone is not signing in."""
    person.set_up(by)
    KnownNetwork.objects.all().delete()
    person.clock.shift(60)  # the app's code is another one then
    assert sign_in.sign_in("ann", PASSWORD, origin=PAGE).outcome is SignInOutcome.CODE_REQUIRED
    assert not KnownNetwork.objects.exists()
    person.check(person.phone.code() if by is By.TEXT else person.app_code())
    assert KnownNetwork.objects.count() == 1


def test_by_a_token_call_too(person: Person, password_clients: None) -> None:
    grants.ask("ann", origin=PAGE)
    assert KnownNetwork.objects.knows(person.user.pk, "192.0.2.0/24")


def test_a_network_is_written_once_a_day(person: Person, clock: time_machine.Traveller) -> None:
    from_home(person)
    first = KnownNetwork.objects.get()
    clock.shift(86_399)
    from_home(person)
    assert KnownNetwork.objects.get().last_used_at == first.last_used_at
    clock.shift(1)
    from_home(person)
    assert KnownNetwork.objects.get().last_used_at == first.last_used_at + timedelta(days=1)
