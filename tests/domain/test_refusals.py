"""Nobody fills the audit trail, or anybody's page, with refusals (S-52)."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import RefreshToken

from optin import keys
from optin.audit import repeats
from optin.conf import Rate, conf
from optin.events import EVENTS
from optin.gateways import SmsError
from optin.models import AuditEvent, File, Purpose, RefusalCount, User
from optin.models import refusal_counts as counts
from optin.models.audit import LAST
from optin.models.refusal_counts import BUCKETS, CHANGE_NOTHING, WINDOW
from optin.operations import challenges, opt_ins, passwords, retention, sign_in, staff, tenants
from optin.operations.sending import Sending
from optin.origin import Face, Origin
from optin.outcomes import (
    WITHHELD,
    CodeOutcome,
    FactorOutcome,
    RevocationOutcome,
    SendOutcome,
    SignInOutcome,
    StaffOutcome,
    TokenOutcome,
)
from optin.support import timeline, wording
from optin.support.diagnosis import Question, diagnose
from optin.web import account
from tests.kit import grants
from tests.kit.people import NUMBER, PASSWORD
from tests.kit.phone import Phone
from tests.kit.trail import audit_trail_full

pytestmark = pytest.mark.django_db(transaction=True)

Kind = AuditEvent.Kind
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def origin(n: int, face: Face = Face.WEB, **more: Any) -> Origin:
    """What one attacker can vary: the user agent, the request, and the address within a /64."""
    address = f"2001:db8::{n % 0xFFFF + 1:x}"
    return Origin(face, ip=address, user_agent=f"agent {n}", request_id=f"{n:032x}", **more)


@dataclass
class Flood:
    """A victim, and what somebody who wants to fill their page can do."""

    user: User
    file: File
    phone: Phone
    settings: Any
    monkeypatch: pytest.MonkeyPatch

    # -- what comes first ----------------------------------------------------------

    def opt_in(self) -> None:
        opt_ins.opt_in(self.user, self.file, NUMBER, origin=origin(0))

    def over_name(self) -> None:
        self.settings.OPTIN_FAILED_SIGN_INS_PER_NAME = (Rate(1, 10**6),)
        sign_in.sign_in("ann", "wrong", origin=origin(0))
        sign_in.sign_in("ann", PASSWORD, origin=Origin(Face.WEB, ip="192.0.2.9"))

    def over_names_of_nobody(self) -> None:
        self.settings.OPTIN_FAILED_SIGN_INS_PER_IP = ()
        self.settings.OPTIN_FAILED_SIGN_INS_PER_NAME = (Rate(1, 10**6),)
        for n in range(20):
            sign_in.sign_in(f"name{n}", "wrong", origin=origin(n))

    def over_total(self) -> None:
        self.settings.OPTIN_FAILED_SIGN_INS_PER_IP = ()
        self.settings.OPTIN_FAILED_SIGN_INS_PER_NAME = ()
        self.monkeypatch.setattr(conf, "failed_sign_ins_per_new_network", ())
        self.settings.OPTIN_FAILED_SIGN_INS_PER_NAME_TOTAL = (Rate(1, 10**6),)
        sign_in.sign_in("ann", "wrong", origin=origin(0))
        sign_in.sign_in("ann", PASSWORD, origin=Origin(Face.WEB, ip="192.0.2.9"))

    # -- one request ---------------------------------------------------------------

    def as_client(self, n: int) -> Origin:
        return origin(n, Face.API, actor_id=self.user.pk, client="key:1")

    def name(self, n: int) -> str:
        return "".join(random.Random(n).choice([c.upper(), c]) for c in "ann")

    def challenge(self, n: int) -> Sending:
        return challenges.challenge(
            self.user, Purpose.OPT_OUT, origin=self.as_client(n), file=self.file
        )


@dataclass(frozen=True)
class Way:
    """One way to be refused again and again."""

    name: str
    outcome: str
    once: Callable[[Flood, int], object]
    first: Callable[[Flood], object] = lambda flood: None
    is_the_victims: bool = True  # else it names nobody
    first_is_told: bool = True  # else the first one is only counted, too

    def __str__(self) -> str:
        return self.name


def _unknown(flood: Flood, n: int) -> None:
    opt_ins.verify_opt_in(flood.user, flood.file, 10**6 + n, "0000000", origin=flood.as_client(n))


def _search(flood: Flood, n: int) -> None:
    staff.find(f"+6149157{n % 10000:04d}", origin=origin(n, Face.ADMIN, actor_id=flood.user.pk))


def _search_up_to_the_limit(flood: Flood) -> None:
    for n in range(60):
        _search(flood, n)


WAYS = [
    Way(
        "name over its limit",
        "temporarily_unavailable",
        lambda f, n: sign_in.sign_in(f.name(n), "wrong", origin=origin(n)),
        Flood.over_name,
        first_is_told=False,
    ),
    Way(
        "names of nobody over their limits",
        "temporarily_unavailable",
        lambda f, n: sign_in.sign_in(f"name{n % 20}", "wrong", origin=origin(n)),
        Flood.over_names_of_nobody,
        is_the_victims=False,
        first_is_told=False,
    ),
    Way(
        "wrong passwords over the name's total",
        "invalid_grant",
        lambda f, n: sign_in.sign_in(f.name(n), "wrong", origin=origin(n)),
        Flood.over_total,
        first_is_told=False,
    ),
    Way(
        "foreign files",
        "file_access_denied",
        lambda f, n: tenants.refuse_access(
            f.user, n + 1, "file_access_denied", origin=f.as_client(n)
        ),
    ),
    Way(
        "searches over the limit",
        "search_limit",
        _search,
        _search_up_to_the_limit,
        is_the_victims=False,
    ),
]


@pytest.fixture
def flood(
    user: User, file: File, phone: Phone, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Flood:
    return Flood(user, file, phone, settings, monkeypatch)


def lines(user: User) -> list[Any]:
    """What the person reads on their page."""
    return account._lines(user, LAST, 20)[0]


def told_to_staff(user: User) -> list[int]:
    """How often each entry of the timeline says that something happened, if several times."""
    entries = timeline.timeline(user).entries
    found = [re.search(r", (\d+) times (?:in|between) ", entry.words) for entry in entries]
    return [int(each[1]) for each in found if each]


def send(flood: Flood, way: Way, times: int) -> None:
    for n in range(times):
        way.once(flood, n)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_many_refusals_are_two_events_and_one_line(
    flood: Flood, way: Way, clock: time_machine.Traveller
) -> None:
    """The first one at once, if any; the others when their hour is over, with their number.

    S-52.
    """
    way.first(flood)
    clock.shift(SECOND)
    repeats.tell(timezone.now() + WINDOW)
    before, shown = AuditEvent.objects.count(), len(lines(flood.user))

    send(flood, way, 60)

    assert AuditEvent.objects.count() == before + way.first_is_told
    assert len(lines(flood.user)) <= shown + way.is_the_victims
    if way.is_the_victims:
        assert lines(flood.user)[0].what.endswith(", 60 times")
        assert told_to_staff(flood.user) == [60]
    clock.shift(WINDOW)
    for _ in range(2):  # the second time there is nothing to tell
        repeats.tell(timezone.now())
        assert AuditEvent.objects.count() == before + way.first_is_told + 1
    *firsts, last = AuditEvent.objects.order_by("pk")[before:]
    for event in (*firsts, last):
        assert event.outcome == way.outcome
        assert (event.kind, event.face) == (last.kind, last.face)
    assert last.user_id == (flood.user.pk if way.is_the_victims else None)
    assert last.data["repeated"] == 60 - way.first_is_told
    assert last.digest == last.content_digest()
    if way.is_the_victims:
        assert lines(flood.user)[0].what.endswith(", 60 times")
        assert told_to_staff(flood.user) == [60]


def test_whoever_comes_next_tells_of_the_hour_before(
    flood: Flood, clock: time_machine.Traveller
) -> None:
    for _ in range(3):
        flood.challenge(0)
    clock.shift(WINDOW)
    flood.challenge(0)
    told = [None, 2, None]
    assert [event.data.get("repeated") for event in AuditEvent.objects.order_by("pk")] == told
    clock.shift(WINDOW)
    assert repeats.tell(timezone.now()) == 0  # one alone is one event


def test_a_refusal_that_commits_late_is_told_all_the_same(
    flood: Flood, clock: time_machine.Traveller
) -> None:
    """Its hour was over, and told, when its transaction ended."""
    flood.challenge(0)
    flood.challenge(0)
    clock.shift(WINDOW)
    repeats.tell(timezone.now())
    clock.shift(-WINDOW)
    flood.challenge(0)
    clock.shift(WINDOW)
    assert repeats.tell(timezone.now()) == 1
    told = AuditEvent.objects.filter(data__has_key="repeated")
    assert [event.data["repeated"] for event in told.order_by("pk")] == [1, 1]


def test_nothing_is_counted_where_the_first_cannot_be_told(flood: Flood) -> None:
    with audit_trail_full(), pytest.raises(DatabaseError):
        flood.challenge(0)
    assert not RefusalCount.objects.exists()


def test_other_networks_accounts_and_rules_count_apart(
    flood: Flood, stranger: User, other_file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "BUCKETS", 10**9)  # none is shared by chance
    for ip in ("192.0.2.1", "198.51.100.1", "2001:db8::1", "2001:db8:1::1"):
        for user in (flood.user, stranger):
            tenants.refuse_access(user, 1, "file_access_denied", origin=Origin(Face.API, ip=ip))
    assert AuditEvent.objects.count() == 8
    # Addresses of one /24, or of one /48.
    for ip in ("192.0.2.77", "2001:db8:0:ffff::1"):
        tenants.refuse_access(flood.user, 1, "file_access_denied", origin=Origin(Face.API, ip=ip))
    assert AuditEvent.objects.count() == 8


def refuse_in(user: User, ip: str) -> None:
    tenants.refuse_access(user, 1, "file_access_denied", origin=Origin(Face.API, ip=ip))


def test_however_many_networks_there_are_the_events_are_few(
    flood: Flood, clock: time_machine.Traveller
) -> None:
    for n in range(300):
        refuse_in(flood.user, f"198.{18 + n // 250}.{n % 250}.1")
        clock.shift(timedelta(milliseconds=1))
    assert AuditEvent.objects.count() == BUCKETS
    assert len(lines(flood.user)) == 1
    assert told_to_staff(flood.user) == [300]
    clock.shift(WINDOW)
    assert repeats.tell(timezone.now()) == BUCKETS
    assert told_to_staff(flood.user) == [300]
    assert "300 times" in lines(flood.user)[0].what


@pytest.mark.parametrize("is_told", [False, True])
def test_networks_that_count_together_are_told_as_several(
    flood: Flood,
    clock: time_machine.Traveller,
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The address of one of them would be untrue for the others."""
    monkeypatch.setattr(counts, "BUCKETS", 1)
    for ip in ("192.0.2.1", "198.51.100.1", "198.51.100.1", "192.0.2.1"):
        refuse_in(flood.user, ip)
    if is_told:
        clock.shift(WINDOW)
        repeats.tell(timezone.now())
        told = AuditEvent.objects.get(data__has_key="repeated")
        assert (told.ip, told.data["networks"]) == (None, "several")
    (line,) = lines(flood.user)
    assert line.what.endswith(", 4 times")
    assert line.where == "from several networks, through an app"
    (entry,) = timeline.timeline(flood.user).entries
    assert entry.where.startswith("from several networks; the last event ")


def test_a_stranger_causes_three_lines(flood: Flood, password_clients: None) -> None:
    """By all ways that need no credential, from any networks."""
    flood.settings.OPTIN_FAILED_SIGN_INS_PER_NAME = (Rate(2, 3600),)
    User.objects.filter(pk=flood.user.pk).update(email="ann@example.com")
    for n in range(12):
        ip = f"198.18.{n}.1"
        for _ in range(3):
            passwords.ask_reset("ann@example.com", origin=Origin(Face.WEB, ip=ip))
            sign_in.sign_in("ann", "wrong", origin=Origin(Face.WEB, ip=ip))
            grants.ask("ann", password="wrong", origin=Origin(Face.TOKEN, ip=ip))
    assert len(lines(flood.user)) == 3
    (sign_ins,) = (line for line in lines(flood.user) if "too many tries" in line.what)
    assert "Wrong password entered" in sign_ins.what
    assert sign_ins.where == "from several networks"


def statements_of(call: Callable[[], object]) -> list[str]:
    """The tables of each statement. To add an event or to count one is the same here."""
    with CaptureQueriesContext(connection) as queries:
        call()
    found = [re.search(r'(?:FROM|INTO|UPDATE) "?(\w+)', q["sql"]) for q in queries]
    tables = [each[1] for each in found if each]
    return ["event or count" if t in _DECISIONS else t for t in tables if t != "optin_notice"]


_DECISIONS = {"optin_auditevent", "optin_refusalcount"}


@pytest.mark.parametrize("primed", [False, True])
@pytest.mark.parametrize(
    "ask",
    [
        lambda name, origin: passwords.ask_reset(name, origin=origin),
        lambda name, origin: sign_in.sign_in(name, "wrong", origin=origin),
    ],
    ids=["reset", "sign_in"],
)
def test_statements_do_not_tell_who_has_an_account(
    flood: Flood, ask: Callable[[str, Origin], object], primed: bool, clock: time_machine.Traveller
) -> None:
    """S-38: asked once or more often, first or not, over the limits of a name; but for the mail."""
    flood.settings.OPTIN_FAILED_SIGN_INS_PER_NAME = (Rate(4, 3600),)
    flood.settings.OPTIN_FAILED_SIGN_INS_PER_NAME_TOTAL = (Rate(2, 3600),)
    User.objects.filter(pk=flood.user.pk).update(email="ann@example.com")
    asked: dict[str, list[list[str]]] = {"ann@example.com": [], "nobody@example.com": []}
    for email, statements in asked.items():
        RefusalCount.objects.all().delete()
        for _ in range(2):  # the second time with an hour of which no event tells yet
            for name in ["other@example.com"] * primed + [email] * 7:
                statements.append(statements_of(partial(ask, name, origin(0))))
            clock.shift(WINDOW + SECOND)
    known, unknown = asked.values()
    assert known == unknown
    assert all(tables.count("event or count") == 1 for tables in known)


def test_what_is_only_counted_stands_where_it_belongs(
    flood: Flood, clock: time_machine.Traveller
) -> None:
    """Behind newer lines, also on the second page; and staff read how often it was."""
    flood.over_name()
    clock.shift(SECOND)
    for n in range(3):
        sign_in.sign_in("ann", "wrong", origin=origin(n))
    clock.shift(SECOND)
    for n in range(24):
        clock.shift(SECOND)
        kind = (Kind.APP, Kind.RECOVERY_CODES)[n % 2]
        with transaction.atomic():
            AuditEvent.objects.record(
                kind, "ok", now=timezone.now(), origin=origin(0), user_id=flood.user.pk
            )
    pages, below = [], LAST
    while below:
        shown, older = account._lines(flood.user, below, 20)
        pages.append([line.what for line in shown])
        below = older or 0
    assert len(pages) == 2
    found = [(n, what) for n, page in enumerate(pages) for what in page if "too many" in what]
    assert found == [(1, "Sign-in refused: too many tries, 3 times")]


def test_each_reset_mail_has_its_event(flood: Flood, clock: time_machine.Traveller) -> None:
    User.objects.filter(pk=flood.user.pk).update(email="ann@example.com")
    for _ in range(2):
        for name in ("nobody@example.com", *["ann@example.com"] * 3):
            passwords.ask_reset(name, origin=origin(0))
        clock.shift(60)
    clock.shift(WINDOW)
    repeats.tell(timezone.now())
    events = AuditEvent.objects.filter(kind=Kind.PASSWORD).order_by("pk")
    assert [(e.outcome, e.user_id, e.data.get("repeated")) for e in events] == [
        ("reset_asked", flood.user.pk, None),
        ("reset_asked", flood.user.pk, None),
        ("refused", None, 6),
    ]


def test_a_stolen_key_does_not_hide_behind_another(flood: Flood) -> None:
    """It asks from a network in which the person's own server is refused all day."""
    for client in ("key:1", "key:2", "app:1"):
        for n in range(3):
            tenants.refuse_access(
                flood.user, n, "file_access_denied", origin=origin(n, Face.API, client=client)
            )
    clients = AuditEvent.objects.order_by("pk").values_list("client", flat=True)
    assert list(clients) == ["key:1", "key:2", "app:1"]


def test_texts_leave_though_no_event_can_be_added(
    flood: Flood, clock: time_machine.Traveller
) -> None:
    for _ in range(2):
        flood.challenge(0)
    clock.shift(WINDOW)
    flood.phone.fail_with = SmsError("down")
    flood.opt_in()
    flood.phone.fail_with = None
    clock.shift(60)
    with audit_trail_full(), pytest.raises(CommandError, match="audit trail"):
        call_command("send_due", stdout=StringIO())
    assert flood.phone.messages


def test_a_family_of_tokens_that_ends_has_its_event(flood: Flood) -> None:
    """S-34: though another token of the person was refused a moment ago."""
    sign_in.enable_password_clients()
    tokens = [grants.tokens("ann", origin=origin(0)) for _ in range(2)]
    for each in tokens:
        family = RefreshToken.objects.get(
            token_checksum=keys.sha256(each.refresh_token)
        ).token_family
        RefreshToken.objects.filter(token_family=family).update(revoked=timezone.now())
        grants.refresh(each.refresh_token, origin=origin(0))
    assert AuditEvent.objects.filter(outcome="invalid_refresh").count() == 2


# -- what staff see ----------------------------------------------------------------


def test_the_diagnosis_knows_the_latest_refusal(
    flood: Flood, clock: time_machine.Traveller
) -> None:
    """Also one that was only counted, after something else, and after its hour."""
    flood.over_name()
    flood.settings.OPTIN_FAILED_SIGN_INS_PER_NAME = (Rate(1, 3600),)
    for _ in range(3):  # the first one is charged
        sign_in.sign_in("ann", "wrong", origin=origin(0))
        clock.shift(60)
    sign_in.sign_in("ann", PASSWORD, origin=Origin(Face.WEB, ip="192.0.2.9"))
    clock.shift(60)
    sign_in.sign_in("ann", "wrong", origin=origin(0))
    last = wording.moment(timezone.now())
    for _ in range(2):
        found = next(
            cause
            for cause in diagnose(flood.user, timezone.now())
            if cause.question is Question.NO_ENTRY
        )
        assert found.why == "password_limit"
        assert f"refused at {last}," in found.words
        clock.shift(WINDOW)
        repeats.tell(timezone.now())
        flood.user.refresh_from_db()


def test_purge_deletes_only_what_was_told(flood: Flood, clock: time_machine.Traveller) -> None:
    flood.challenge(0)
    flood.challenge(0)
    clock.shift(retention.ENDED_KEPT + WINDOW)
    deleted = retention.purge(origin=Origin(Face.COMMAND))
    assert deleted["refusals"] == 1
    assert AuditEvent.objects.get(data__has_key="repeated").data["repeated"] == 1


# -- statements --------------------------------------------------------------------


def test_a_repeat_takes_one_statement_in_place_of_its_event(flood: Flood) -> None:
    counts = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as queries:
            _unknown(flood, 1)
        counts.append(len([q for q in queries if not q["sql"].startswith(("BEGIN", "COMMIT"))]))
    # The first: the count, a look for an hour that is over, and the event.
    assert counts == [5, 3, 3]


# -- what may repeat ---------------------------------------------------------------

BOUNDED = {
    "invalid_grant": "charged to a limit",
    "invalid_code": "the event is that of the code",
    "withheld": "charged to a limit",
    "unreadable": "counted, or by staff, who give a reason",
    "mobile_number_in_use": "uses a code up, and texts are limited",
    "revocation_limit": "by staff, who give a reason",
    "out_of_reach": "by staff, who give a reason",
    "untold": "by staff, who give a reason",
    "set_up_since": "once for each revocation",
    **dict.fromkeys(("taken", "otherwise"), "once for each change of the address"),
    "code_reused": "once for each code",
    "failing": "once for ten failures of an endpoint",
    "given_up": "once for ten failures of an event",
    **dict.fromkeys(("gone", "incomplete", "failed", "undelivered"), "by operators"),
}
OUTCOMES: tuple[type[StrEnum], ...] = (
    *(CodeOutcome, SendOutcome, FactorOutcome, SignInOutcome, TokenOutcome, StaffOutcome),
    RevocationOutcome,
)


def test_each_refusal_is_bounded_or_is_counted() -> None:
    """A new one must be thought of."""
    rows = [item for rows in EVENTS.values() for item in rows.items()]
    done = {outcome for outcome, row in rows if row.is_done}
    refused = {WITHHELD, *(outcome for outcome, _ in rows if outcome)}.union(*OUTCOMES) - done
    assert refused - CHANGE_NOTHING == set(BOUNDED)
    # An outcome means the same with each kind, but for one.
    assert done & {outcome for outcome, row in rows if not row.is_done} - {""} == {"deactivated"}


def test_what_staff_did_with_a_reason_has_an_event_each(user: User) -> None:
    for _ in range(2):
        with transaction.atomic():
            AuditEvent.objects.record(
                Kind.REVOKE,
                StaffOutcome.NOT_OPTED_IN,
                now=timezone.now(),
                origin=origin(0),
                user_id=user.pk,
                reason="x",
            )
    assert AuditEvent.objects.count() == 2
