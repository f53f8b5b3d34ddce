"""What is past its time goes, and nothing else (S-55); nothing is reset (S-05)."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.conf import LazySettings
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import AccessToken, RefreshToken, get_grant_model

from optin import limits
from optin.audit import integrity, seals
from optin.conf import Rate
from optin.models import (
    AuditEvent,
    AuditSeal,
    AuthenticatorApp,
    File,
    IdempotencyKey,
    KnownNetwork,
    Notice,
    PendingOtp,
    ProposedNumber,
    ProviderUser,
    RecoveryCode,
    Revocation,
    SendCounter,
    SmsMessage,
    UsedCode,
    User,
)
from optin.models.messages import LEASE, State
from optin.operations import opt_ins, retention, sign_in, staff_actions
from optin.outcomes import SendOutcome, TokenOutcome
from optin.web.session_store import SessionStore, row_of
from tests.kit import grants
from tests.kit.people import NOON, NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.stored import (
    DAY,
    MOMENT,
    app_of,
    code_of,
    farewell_to,
    now,
    number_of,
    purge,
    rows,
    text_of,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

Clock = time_machine.Traveller
Closed = PendingOtp.Closed


@pytest.fixture
def number(user: User, file: File) -> ProviderUser:
    """An active number, which stays whatever goes."""
    long_ago = NOON - 100 * DAY
    return number_of(user, file, NUMBER, long_ago, confirmed=True, verified_at=long_ago)


# -- one row of each kind ----------------------------------------------------------

MONTH = 30 * DAY
Make = Callable[[ProviderUser, datetime], models.Model]


def closed_code(number: ProviderUser, at: datetime) -> PendingOtp:
    """A code that was closed at *at*, long after it expired."""
    return code_of(number, at - 2 * DAY, closed_at=at, closed_as=Closed.VERIFIED)


def expired_code(number: ProviderUser, at: datetime) -> PendingOtp:
    return code_of(number, at - timedelta(minutes=10))


def code_whose_sender_died(number: ProviderUser, at: datetime) -> PendingOtp:
    code = expired_code(number, at)
    text_of(code, at, state=State.SENDING, claimed_at=NOON - LEASE, tries=1, unknown_attempts=1)
    return code


def failed_farewell(number: ProviderUser, at: datetime, **fields: Any) -> SmsMessage:
    return farewell_to(number, **{"at": at, "state": State.FAILED, "sent_at": None, **fields})


def unproved_number(number: ProviderUser, at: datetime) -> ProviderUser:
    return number_of(number.user, number.file, OTHER_NUMBER, at)


def proved_app(number: ProviderUser, at: datetime) -> AuthenticatorApp:
    return app_of(number.user, at, confirmed=True, verified_at=at)


def counter(scope: str, at: datetime) -> SendCounter:
    return SendCounter.objects.create(scope=scope, key="k", window_start=at, count=3)


def network(number: ProviderUser, at: datetime) -> KnownNetwork:
    KnownNetwork.objects.remember(number.user_id, "192.0.2.0/24", at)
    return KnownNetwork.objects.get()


def keyed_answer(number: ProviderUser, at: datetime) -> IdempotencyKey:
    key = IdempotencyKey.of("k", b"", number.user_id, "key:1", "opt-in", 777, request_id="r")
    key.keep(at, provider_user_id=number.pk)
    return key


def proposal(number: ProviderUser, at: datetime) -> ProposedNumber:
    ProposedNumber.of(number.user, OTHER_NUMBER, "import", at).save()
    return ProposedNumber.objects.get()


def mail(number: ProviderUser, at: datetime, state: State) -> Notice:
    return Notice.objects.create(
        user=number.user, kind=Notice.Kind.LOCKED, created_at=at, state=state, tries=1
    )


def revocation(number: ProviderUser, at: datetime, **fields: Any) -> Revocation:
    return Revocation.objects.create(
        user=number.user, reason="x", asked_at=at - DAY, due_at=at, **fields
    )


def cancelled_revocation(number: ProviderUser, at: datetime) -> Revocation:
    return revocation(number, at - DAY, closed_at=at, closed_as=Revocation.Closed.CANCELLED)


def used_code(number: ProviderUser, at: datetime) -> UsedCode:
    return UsedCode.objects.create(digest="d", code_challenge="c", token_family=uuid4(), used_at=at)


def spent_recovery_code(number: ProviderUser, at: datetime) -> RecoveryCode:
    RecoveryCode.objects.replace(number.user, ["A" * 16, "B" * 16], at)
    RecoveryCode.objects.latest("pk").use(at)
    return RecoveryCode.objects.latest("pk")


KEPT: dict[str, tuple[timedelta, str, Make]] = {
    "closed code": (DAY, "codes", closed_code),
    "expired code": (DAY, "codes", expired_code),
    "text of a closed code": (DAY, "texts", lambda n, at: text_of(closed_code(n, at), at)),
    "text that waits for an expired code": (
        DAY,
        "texts",
        lambda n, at: text_of(expired_code(n, at), at, state=State.QUEUED),
    ),
    "code whose sender died": (DAY, "codes", code_whose_sender_died),
    "text to a replaced number": (DAY, "texts", farewell_to),
    "the same, sent late": (DAY, "texts", lambda n, at: farewell_to(n, at - DAY, sent_at=at)),
    "the same, failed": (DAY, "texts", failed_farewell),
    "the same, failed late": (
        DAY,
        "texts",
        lambda n, at: failed_farewell(n, at - DAY, claimed_at=at),
    ),
    "number that was never proved": (DAY, "numbers", unproved_number),
    "app that was never proved": (DAY, "apps", lambda n, at: app_of(n.user, at)),
    "counter of 10 minutes": (
        DAY + timedelta(minutes=10),
        "counters",
        lambda n, at: counter("asked-number/600", at),
    ),
    "counter of a month": (
        DAY + MONTH,
        "counters",
        lambda n, at: counter("asked-number/2592000", at),
    ),
    "network": (90 * DAY, "networks", network),
    "answer to a request with a key": (DAY, "idempotency_keys", keyed_answer),
    "number that was proposed": (400 * DAY, "proposed_numbers", proposal),
    "mail that left": (MONTH, "notices", lambda n, at: mail(n, at, State.SENT)),
    "mail that failed": (MONTH, "notices", lambda n, at: mail(n, at, State.FAILED)),
    "revocation that ended": (MONTH, "revocations", cancelled_revocation),
    "authorization code that was used": (DAY, "tokens", used_code),
}
"""Rows that go: how long after their end, as what they are counted, and how one is made."""


@pytest.mark.parametrize("kind", KEPT)
def test_what_ended_is_kept_for_its_time(number: ProviderUser, clock: Clock, kind: str) -> None:
    """S-55: until then it stays, to the second."""
    kept, counted, make = KEPT[kind]
    row = make(number, NOON - kept + MOMENT)
    stored = type(row)._default_manager.filter(pk=row.pk)

    assert not purge()
    assert stored.exists()

    clock.shift(MOMENT)
    assert purge()[counted] == 1
    assert not stored.exists()
    assert ProviderUser.objects.get() == number


def counted_and_disabled(number: ProviderUser, at: datetime) -> User:
    """S-05: failures, locks and disablings stay."""
    user: User = number.user
    user.otp_failures, user.otp_locked_until, user.otp_disabled_at = 50, at, at
    user.save_counts()
    return user


def once_active(number: ProviderUser, at: datetime, **fields: Any) -> ProviderUser:
    fields = {"verified_at": at, **fields}
    return number_of(make_user("other"), number.file, OTHER_NUMBER, at, **fields)


STAY: dict[str, Make] = {
    "account": counted_and_disabled,
    "number that was released": lambda n, at: once_active(n, at, released_at=at),
    "number that is suspended": lambda n, at: once_active(n, at, confirmed=True, suspended_at=at),
    "app": proved_app,
    "recovery code": spent_recovery_code,
    "text to a replaced number that waits": lambda n, at: farewell_to(
        n, at, state=State.QUEUED, sent_at=None
    ),
    "the same, just being sent": lambda n, at: farewell_to(
        n, at, state=State.SENDING, sent_at=None, claimed_at=at
    ),
    # Its sender still reads both.
    "text of an expired code, just being sent": lambda n, at: text_of(
        expired_code(n, at), at, state=State.SENDING, claimed_at=NOON - MOMENT, tries=1
    ),
    # However the number came to be replaced without a proof: a purge must never fail.
    "text to a number that was never proved": lambda n, at: farewell_to(
        unproved_number(n, at), at, state=State.QUEUED, sent_at=None
    ),
    "mail that waits": lambda n, at: mail(n, at, State.QUEUED),
    "mail that is being sent": lambda n, at: mail(n, at, State.SENDING),
    "revocation that waits": revocation,
    "counter of 31 years": lambda n, at: counter(f"asked-number/{10**9}", at),
    "counter that is longer than there are dates": lambda n, at: counter(
        f"asked-number/{10**15}", at
    ),
    "counter of another make": lambda n, at: counter("other", at),
}


@pytest.mark.parametrize("kind", STAY)
def test_it_stays_however_old(number: ProviderUser, kind: str) -> None:
    STAY[kind](number, NOON - 100 * DAY)
    before = rows()
    assert not purge()
    assert rows() == before


# -- numbers -----------------------------------------------------------------------


def test_an_unproved_number_goes_24_hours_after_its_last_text(
    user: User, file: File, clock: Clock
) -> None:
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    clock.shift(timedelta(hours=10))
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)

    clock.shift(DAY - MOMENT)
    purge()
    assert ProviderUser.objects.exists()

    clock.shift(MOMENT)
    deleted = purge()
    assert not ProviderUser.objects.exists()
    assert not SmsMessage.objects.exists()
    assert deleted["numbers"] == 1


# -- what must not be reset --------------------------------------------------------


def test_waits_and_limits_go_on(
    user: User, file: File, clock: Clock, settings: LazySettings
) -> None:
    """S-41: a purge between two texts lets neither a wait nor a limit go."""
    settings.OPTIN_SENDS_PER_NUMBER = (Rate(2, 600), Rate(3, 86400))
    clock.move_to(NOON.replace(hour=0))
    answers = []
    for seconds in (0, 29, 1, 590, 40, 60, 600, 86400 - 1320):
        clock.shift(timedelta(seconds=seconds))
        before = rows(SendCounter, SmsMessage)
        assert not purge()
        assert rows(SendCounter, SmsMessage) == before
        answers.append(opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN).outcome)
    sent, again, no = SendOutcome.SENT, SendOutcome.RESENT, SendOutcome.SEND_LIMIT
    assert answers == [sent, no, again, sent, no, no, no, sent]


def test_a_limit_of_days_is_counted_to_its_end(
    user: User, file: File, settings: LazySettings, clock: Clock
) -> None:
    """S-41: its texts and their codes stay so long, and go then."""
    settings.OPTIN_SENDS_PER_USER = (Rate(1, 3 * 86400),)
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    answers = []
    for wait in (3 * DAY - MOMENT, MOMENT):
        clock.shift(wait)
        purge()
        answers.append(opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN).outcome)
    assert answers == [SendOutcome.SEND_LIMIT, SendOutcome.SENT]
    clock.shift(4 * DAY)
    purge()
    assert not SmsMessage.objects.exists()


# -- sessions, tokens ---------------------------------------------------------------


def test_expired_sessions_go(db: None, clock: Clock) -> None:
    old, new = SessionStore(), SessionStore()
    old.set_expiry(60)
    new.set_expiry(3600)
    old.save()
    new.save()
    clock.shift(61)
    assert purge()["sessions"] == 1
    assert Session.objects.get().pk == row_of(new.session_key)


def test_expired_tokens_go(
    user: User, password_clients: None, clock: Clock, settings: LazySettings
) -> None:
    """By the rules of the toolkit; what is of use stays, and so does what shows a theft."""
    settings.OPTIN_PASSWORD_CLIENTS_ROTATE = True
    first = grants.tokens(user.username)
    grants.tokens(user.username)
    grants.refresh(first.refresh_token)
    client = sign_in.application()
    get_grant_model().objects.create(
        user=user, application=client, code="c", expires=now(), redirect_uri="https://a.example"
    )

    clock.shift(timedelta(days=1))
    deleted = purge()
    assert deleted["tokens"] == 1  # the authorization code
    assert RefreshToken.objects.count() == 3
    assert grants.refresh(first.refresh_token).outcome is TokenOutcome.INVALID_REFRESH
    assert RefreshToken.objects.filter(revoked=None).count() == 1  # that family is gone

    clock.shift(timedelta(days=31))
    deleted = purge()
    assert not RefreshToken.objects.exists()
    assert not AccessToken.objects.exists()
    assert deleted["tokens"] == 4


# -- the audit trail ---------------------------------------------------------------


def history(clock: Clock, user: User, *ages: int) -> list[AuditEvent]:
    """Events of so many days ago, each under a seal of its own, made a day later."""
    made = []
    for days in ages:
        clock.move_to(NOON - timedelta(days=days))
        staff_actions.unlock(user, reason="try", origin=ORIGIN)
        made.append(AuditEvent.objects.latest("pk"))
        clock.shift(DAY)
        seals.seal(now())
    clock.move_to(NOON)
    return made


def test_sealed_audit_events_past_retention_go(user: User, clock: Clock) -> None:
    """S-53, S-55: whole ranges, the oldest first; their seals stay, and the check is content."""
    old, older, kept = history(clock, user, 800, 770, 730)

    deleted = purge()

    assert deleted["audit_events"] == 2
    left = set(AuditEvent.objects.values_list("pk", flat=True))
    assert kept.pk in left
    assert not {old.pk, older.pk} & left
    assert AuditSeal.objects.count() == 3
    tally = integrity.Tally()
    assert list(integrity.verify(now(), tally)) == []
    assert tally.purged == 2


@pytest.mark.parametrize(("retention", "gone"), [(30, 3), (365, 2), (36_500, 0)])
def test_retention_is_a_setting(
    user: User, clock: Clock, settings: LazySettings, retention: int, gone: int
) -> None:
    history(clock, user, 800, 400, 200)
    settings.OPTIN_AUDIT_RETENTION = retention
    assert purge()["audit_events"] == gone


def test_the_trail_says_when_a_long_run_ended(
    user: User, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its beginning, it would stand among events of other ids than its own (P-22)."""
    SendCounter.objects.create(
        scope="total/86400", key="", window_start=NOON - 9 * DAY, count=1, verified=0
    )

    def slowly(at: datetime) -> retention.Counts:
        clock.shift(timedelta(hours=1))
        return retention.Counts()

    monkeypatch.setattr(retention, "_tokens", slowly)
    assert purge()
    assert AuditEvent.objects.latest("pk").at == NOON + timedelta(hours=1)


def test_events_without_a_seal_stay_until_they_have_one(user: User, clock: Clock) -> None:
    clock.move_to(NOON - timedelta(days=800))
    staff_actions.unlock(user, reason="try", origin=ORIGIN)
    clock.move_to(NOON)

    assert purge()["audit_events"] == 0
    assert AuditSeal.objects.count() == 1  # purge makes it


# -- the run as a whole ------------------------------------------------------------


def fill(user: User, file: File, count: int) -> None:
    """*count* rows of each kind that are past their time."""
    old = NOON - 40 * DAY
    people = User.objects.bulk_create(
        [User(username=f"p{user.pk}-{n}", password="!") for n in range(count)]
    )
    for n, person in enumerate(people):
        row = number_of(person, file, f"+6149{n:07d}", old)
        text_of(code_of(row, old), old)
        spent = code_of(row, old, closed_at=old, closed_as=Closed.SUPERSEDED)
        text_of(spent, old)
        app_of(person, old)
        SendCounter.objects.create(scope="file/600", key=str(n), window_start=old, count=1)
        mail(row, old, State.SENT)
        cancelled_revocation(row, old)
        Session.objects.create(session_key=f"{n:032d}", session_data="", expire_date=old)


def test_it_prints_counts_and_leaves_one_event(user: User, file: File) -> None:
    fill(user, file, 3)
    out = StringIO()
    call_command("purge", stdout=out)

    counts = {
        "codes": 6,
        "texts": 6,
        "numbers": 3,
        "apps": 3,
        "counters": 3,
        "notices": 3,
        "revocations": 3,
        "sessions": 3,
    }
    told = [f"{kind.replace('_', ' ')}: {counts.get(kind, 0)}" for kind in retention.KINDS]
    assert out.getvalue().splitlines() == told
    event = AuditEvent.objects.get()
    assert (event.kind, event.outcome, event.face) == ("purge", "ok", "command")
    assert (event.user_id, event.data) == (None, counts)


def test_a_run_that_deletes_nothing_leaves_no_event(pending: ProviderUser) -> None:
    before = rows(), AuditEvent.objects.count()
    assert not purge()
    assert (rows(), AuditEvent.objects.count()) == before


@pytest.mark.parametrize("chunk", [1, 5, 500])
def test_the_size_of_a_chunk_changes_nothing(
    user: User, file: File, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Rows that stay lie between those that go."""
    monkeypatch.setattr(retention, "CHUNK", chunk)
    for n in range(12):
        age = 2 * DAY if n % 3 else timedelta(hours=1)
        row = number_of(make_user(f"p{n}"), file, f"+6149{n:07d}", NOON - age)
        text_of(code_of(row, NOON - age), NOON - age)
    purge()
    for model in (ProviderUser, PendingOtp, SmsMessage):
        assert model.objects.count() == 4


def test_statements_do_not_grow_with_the_rows(user: User, file: File) -> None:
    """One chunk of 10 rows takes as many statements as one of 100."""

    def statements(count: int) -> Counter[str]:
        fill(make_user(f"u{count}"), file, count)
        with CaptureQueriesContext(connection) as queries:
            assert purge()["numbers"] == count
        every = [query["sql"] for query in queries]
        # How often sealing looks at open transactions depends on other processes.
        return Counter(sql.partition("(")[0] for sql in every if "pg_locks" not in sql)

    statements(1)  # from here on there are events to seal
    assert statements(100) == statements(10)


def test_limits_write_scopes_that_purge_can_read(user: User, file: File) -> None:
    """The length of the window is the end of each scope."""
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    limits.reserve_sign_in("ann", grants.FROM, now())
    scopes = SendCounter.objects.values_list("scope", flat=True)
    assert len(scopes) == 10
    assert all(scope.rpartition("/")[2].isdecimal() for scope in scopes)
