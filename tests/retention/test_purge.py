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
from django.db import connection
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
    KnownNetwork,
    Notice,
    PendingOtp,
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
from optin.operations.factors import Standing
from optin.origin import Face, Origin
from optin.outcomes import By, SendOutcome, TokenOutcome
from optin.web.session_store import SessionStore, row_of
from tests.kit.people import NOON, NUMBER, ORIGIN, OTHER_NUMBER, PASSWORD, make_user
from tests.kit.phone import Phone, wrong
from tests.retention.stored import (
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
FROM = Origin(Face.TOKEN, ip="192.0.2.1")


@pytest.fixture
def number(user: User, file: File) -> ProviderUser:
    """An active number, which stays whatever goes."""
    long_ago = NOON - 100 * DAY
    return number_of(user, file, NUMBER, long_ago, confirmed=True, verified_at=long_ago)


# -- codes and texts ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("closed", "expired", "stays"),
    [
        (DAY, DAY - timedelta(minutes=10), False),
        (DAY - MOMENT, DAY, True),
        (None, DAY, False),
        (None, DAY - MOMENT, True),
        (3 * DAY, 3 * DAY, False),
        (MOMENT, 3 * DAY, True),
    ],
    ids=[
        "closed 24 h ago",
        "closed a moment less ago",
        "open, expired 24 h ago",
        "open, expired a moment less ago",
        "closed long ago",
        "expired long ago, closed just now",
    ],
)
def test_codes_stay_24_hours_after_their_end(
    number: ProviderUser, closed: timedelta | None, expired: timedelta, stays: bool
) -> None:
    ended: dict[str, Any] = {}
    if closed is not None:
        ended = {"closed_at": NOON - closed, "closed_as": Closed.VERIFIED}
    made = NOON - expired - timedelta(minutes=10)
    text_of(code_of(number, made, **ended), made)

    deleted = purge()

    assert PendingOtp.objects.exists() is SmsMessage.objects.exists() is stays
    gone = 0 if stays else 1
    assert (deleted["codes"], deleted["texts"]) == (gone, gone)
    assert ProviderUser.objects.get() == number


@pytest.mark.parametrize(
    ("state", "stays"),
    [
        ({"state": State.QUEUED}, False),
        (
            {"state": State.SENDING, "claimed_at": NOON - LEASE, "tries": 1, "unknown_attempts": 1},
            False,
        ),
        (
            {
                "state": State.SENDING,
                "claimed_at": NOON - MOMENT,
                "tries": 1,
                "unknown_attempts": 1,
            },
            True,
        ),
        ({"state": State.SENT}, False),
        ({"state": State.FAILED}, False),
    ],
    ids=["waiting", "its sender died", "just being sent", "sent", "failed"],
)
def test_a_text_that_is_just_being_sent_keeps_its_code(
    number: ProviderUser, state: dict[str, Any], stays: bool
) -> None:
    """Its sender still reads both."""
    text_of(code_of(number, NOON - 2 * DAY), NOON - 2 * DAY, **state)
    purge()
    assert PendingOtp.objects.exists() is SmsMessage.objects.exists() is stays


# -- numbers -----------------------------------------------------------------------


def test_an_unproved_number_goes_24_hours_after_its_last_text(
    user: User, file: File, phone: Phone, clock: Clock
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


def test_a_number_that_never_got_a_text_goes_24_hours_after_it_was_named(
    user: User, file: File, clock: Clock
) -> None:
    number_of(user, file, NUMBER, NOON)
    clock.shift(DAY - MOMENT)
    assert purge()["numbers"] == 0
    clock.shift(MOMENT)
    assert purge()["numbers"] == 1


@pytest.mark.parametrize("fate", ["active", "suspended", "released"])
def test_a_number_that_was_proved_stays(active: ProviderUser, clock: Clock, fate: str) -> None:
    user = active.user
    if fate == "suspended":
        staff_actions.suspend(user, reason="try", origin=ORIGIN)
    if fate == "released":
        staff_actions.revoke(user, reason="try", origin=ORIGIN)
    before = rows(ProviderUser)
    clock.shift(400 * DAY)
    purge()
    assert rows(ProviderUser) == before


def test_the_count_of_the_user_outlives_the_number(
    user: User, file: File, phone: Phone, clock: Clock
) -> None:
    """S-05: a new opt-in of the same number goes on where the old one stopped."""
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    old = ProviderUser.objects.get()
    for _ in range(3):
        opt_ins.verify_opt_in(user, file, old.pk, wrong(phone.code()), origin=ORIGIN)
    clock.shift(2 * DAY)
    purge()
    assert not ProviderUser.objects.exists()

    again = opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert again.provider_user_id
    opt_ins.verify_opt_in(user, file, again.provider_user_id, wrong(phone.code()), origin=ORIGIN)

    user.refresh_from_db()
    assert user.failures == 4


# -- texts to numbers that were replaced -------------------------------------------


@pytest.mark.parametrize(
    ("made", "fields", "stays"),
    [
        (DAY, {}, False),
        (DAY - MOMENT, {}, True),
        (3 * DAY, {"sent_at": NOON - DAY}, False),
        (3 * DAY, {"sent_at": NOON - DAY + MOMENT}, True),
        (3 * DAY, {"state": State.FAILED, "sent_at": None, "claimed_at": NOON - DAY}, False),
        (3 * DAY, {"state": State.FAILED, "sent_at": None, "claimed_at": NOON - MOMENT}, True),
        (3 * DAY, {"state": State.FAILED, "sent_at": None}, False),
        (3 * DAY, {"state": State.QUEUED, "sent_at": None}, True),
        (3 * DAY, {"state": State.SENDING, "sent_at": None, "claimed_at": NOON - DAY}, True),
    ],
    ids=[
        "sent at once, 24 h ago",
        "sent at once, a moment less ago",
        "sent late, 24 h ago",
        "sent late, a moment less ago",
        "failed 24 h ago",
        "failed just now",
        "failed",
        "waiting",
        "being sent",
    ],
)
def test_farewells_stay_24_hours_after_their_end(
    number: ProviderUser, made: timedelta, fields: dict[str, Any], stays: bool
) -> None:
    """S-55: they have no code that they would go with."""
    farewell_to(number, NOON - made, **fields)
    before = rows(ProviderUser)
    deleted = purge()
    assert SmsMessage.objects.exists() is stays
    assert deleted["texts"] == (0 if stays else 1)
    assert rows(ProviderUser) == before


def test_a_change_of_number_leaves_nothing_but_the_numbers(
    active: ProviderUser, phone: Phone, clock: Clock
) -> None:
    """From the page to the purge, by the operations themselves."""
    standing = Standing(now(), now(), By.TEXT)
    user, file = active.user, active.file
    changed = opt_ins.opt_in(user, file, OTHER_NUMBER, origin=ORIGIN, standing=standing)
    assert changed.provider_user_id
    opt_ins.verify_opt_in(user, file, changed.provider_user_id, phone.code(), origin=ORIGIN)
    assert phone.messages[-1][0] == NUMBER  # the farewell
    texts = SmsMessage.objects.count()

    clock.shift(DAY - MOMENT)
    purge()
    assert SmsMessage.objects.filter(pending_otp=None).count() == 1
    clock.shift(MOMENT)
    purge()

    assert (texts, SmsMessage.objects.count()) == (3, 0)
    assert ProviderUser.objects.count() == 2


def test_a_number_to_which_a_farewell_waits_stays(user: User, file: File) -> None:
    """However it came to be replaced without a proof: a purge must never fail."""
    row = number_of(user, file, NUMBER, NOON - 3 * DAY)
    farewell_to(row, NOON - 3 * DAY, state=State.QUEUED)
    assert not purge()
    assert ProviderUser.objects.get() == row


# -- apps --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "fields", "stays"),
    [
        (DAY, {}, False),
        (DAY - MOMENT, {}, True),
        (400 * DAY, {"confirmed": True, "verified_at": NOON}, True),
    ],
    ids=["begun 24 h ago", "begun a moment less ago", "proved"],
)
def test_an_app_that_was_never_proved_goes_24_hours_after_it_was_begun(
    user: User, age: timedelta, fields: dict[str, Any], stays: bool
) -> None:
    app_of(user, NOON - age, **fields)
    deleted = purge()
    assert AuthenticatorApp.objects.exists() is stays
    assert deleted["apps"] == (0 if stays else 1)


def test_the_app_beside_one_that_was_never_proved_stays(user: User) -> None:
    app_of(user, NOON - 2 * DAY)
    proved = app_of(user, NOON - 3 * DAY, confirmed=True, verified_at=NOON - 3 * DAY)
    purge()
    assert AuthenticatorApp.objects.get() == proved


def test_recovery_codes_stay(user: User, clock: Clock) -> None:
    """Used or not: they are the person's until new ones are made."""
    RecoveryCode.objects.replace(user, ["A" * 16, "B" * 16], now())
    RecoveryCode.objects.latest("pk").use(now())
    before = rows(RecoveryCode)
    clock.shift(400 * DAY)
    purge()
    assert rows(RecoveryCode) == before


# -- what must not be reset --------------------------------------------------------


def test_purge_resets_nothing(user: User, stranger: User, clock: Clock) -> None:
    """S-05: failures, locks and disablings stay, however old."""
    User.objects.filter(pk=user.pk).update(
        otp_failures=20, otp_locked_until=NOON + timedelta(minutes=30)
    )
    User.objects.filter(pk=stranger.pk).update(otp_failures=50, otp_disabled_at=NOON)
    before = rows(User)
    for _ in range(2):
        clock.shift(400 * DAY)
        purge()
        assert rows(User) == before


def test_waits_and_limits_go_on(
    user: User, file: File, phone: Phone, clock: Clock, settings: LazySettings
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
    user: User, file: File, phone: Phone, settings: LazySettings, clock: Clock
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


@pytest.mark.parametrize(
    ("seconds", "age", "stays"),
    [
        (600, timedelta(seconds=600) + DAY, False),
        (600, timedelta(seconds=600) + DAY - MOMENT, True),
        (30 * 86400, 30 * DAY, True),
        (30 * 86400, 31 * DAY, False),
        (10**9, 10_000 * DAY, True),
        (10**15, 10_000 * DAY, True),
    ],
    ids=[
        "10 minutes, ended 24 h ago",
        "10 minutes, a moment less",
        "30 days, just ended",
        "30 days, ended 24 h ago",
        "31 years",
        "longer than there are dates",
    ],
)
def test_a_counter_stays_24_hours_after_its_window(
    db: None, seconds: int, age: timedelta, stays: bool
) -> None:
    SendCounter.objects.create(
        scope=f"asked-number/{seconds}", key="k", window_start=NOON - age, count=3
    )
    deleted = purge()
    assert SendCounter.objects.exists() is stays
    assert deleted["counters"] == (0 if stays else 1)


@pytest.mark.parametrize(("age", "stays"), [(90 * DAY, False), (90 * DAY - MOMENT, True)])
def test_a_known_network_stays_90_days_after_its_last_use(
    user: User, age: timedelta, stays: bool
) -> None:
    KnownNetwork.objects.remember(user.pk, "192.0.2.0/24", NOON - age)
    deleted = purge()
    assert KnownNetwork.objects.exists() is stays
    assert deleted["networks"] == (0 if stays else 1)


def test_a_counter_of_another_make_is_left_alone(db: None) -> None:
    SendCounter.objects.create(scope="other", key="k", window_start=NOON - 400 * DAY, count=1)
    purge()
    assert SendCounter.objects.exists()


# -- notices, sessions, tokens -----------------------------------------------------


@pytest.mark.parametrize(
    ("age", "state", "stays"),
    [
        (timedelta(days=30), State.SENT, False),
        (timedelta(days=30) - MOMENT, State.SENT, True),
        (timedelta(days=30), State.FAILED, False),
        (timedelta(days=90), State.QUEUED, True),
        (timedelta(days=90), State.SENDING, True),
    ],
)
def test_finished_notices_stay_30_days(
    user: User, age: timedelta, state: State, stays: bool
) -> None:
    Notice.objects.create(
        user=user, kind=Notice.Kind.LOCKED, created_at=NOON - age, state=state, tries=1
    )
    purge()
    assert Notice.objects.exists() is stays


def revocation_of(user: User, asked_at: datetime, **fields: Any) -> Revocation:
    """A revocation that was asked for then."""
    return Revocation.objects.create(
        user=user, reason="x", asked_at=asked_at, due_at=asked_at + DAY, **fields
    )


@pytest.mark.parametrize(
    ("age", "stays"), [(timedelta(days=30), False), (timedelta(days=30) - MOMENT, True)]
)
@pytest.mark.parametrize("closed_as", list(Revocation.Closed))
def test_ended_revocations_stay_30_days(
    user: User, age: timedelta, stays: bool, closed_as: Revocation.Closed
) -> None:
    """As the mails with their links."""
    revocation_of(user, NOON - age - DAY, closed_at=NOON - age, closed_as=closed_as)
    purge()
    assert Revocation.objects.exists() is stays


def test_a_revocation_that_waits_stays(user: User) -> None:
    revocation_of(user, NOON - timedelta(days=90))
    purge()
    assert Revocation.objects.exists()


@pytest.mark.parametrize(("age", "stays"), [(DAY, False), (DAY - MOMENT, True)])
def test_used_authorization_codes_stay_a_day(db: None, age: timedelta, stays: bool) -> None:
    UsedCode.objects.create(
        digest="d", code_challenge="c", token_family=uuid4(), used_at=NOON - age
    )
    assert purge()["tokens"] == (0 if stays else 1)
    assert UsedCode.objects.exists() is stays


def test_expired_sessions_go(db: None, clock: Clock) -> None:
    old, new = SessionStore(), SessionStore()
    old.set_expiry(60)
    new.set_expiry(3600)
    old.create()
    new.create()
    clock.shift(61)
    assert purge()["sessions"] == 1
    assert Session.objects.get().pk == row_of(new.session_key)


def test_expired_tokens_go(
    user: User, password_clients: None, clock: Clock, settings: LazySettings
) -> None:
    """By the rules of the toolkit; what is of use stays, and so does what shows a theft."""
    settings.OPTIN_PASSWORD_CLIENTS_ROTATE = True
    first = get_tokens(user)
    get_tokens(user)
    client = sign_in.application()
    assert client
    sign_in.refresh_grant(first.refresh_token, scope="", client=client, origin=FROM)
    get_grant_model().objects.create(
        user=user, application=client, code="c", expires=now(), redirect_uri="https://a.example"
    )

    clock.shift(timedelta(days=1))
    deleted = purge()
    assert deleted["tokens"] == 1  # the authorization code
    assert RefreshToken.objects.count() == 3
    again = sign_in.refresh_grant(first.refresh_token, scope="", client=client, origin=FROM)
    assert again.outcome is TokenOutcome.INVALID_REFRESH
    assert RefreshToken.objects.filter(revoked=None).count() == 1  # that family is gone

    clock.shift(timedelta(days=31))
    deleted = purge()
    assert not RefreshToken.objects.exists()
    assert not AccessToken.objects.exists()
    assert deleted["tokens"] == 4


def get_tokens(user: User) -> sign_in.Tokens:
    client = sign_in.application()
    assert client
    answer = sign_in.password_grant(
        user.username, PASSWORD, scope="", verification_code="", client=client, origin=FROM
    )
    assert answer.tokens
    return answer.tokens


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
        Notice.objects.create(
            user=person, kind=Notice.Kind.LOCKED, created_at=old, state=State.SENT
        )
        revocation_of(person, old, closed_at=old, closed_as=Revocation.Closed.CANCELLED)
        Session.objects.create(session_key=f"{n:032d}", session_data="", expire_date=old)


def test_it_prints_counts_and_leaves_one_event(user: User, file: File) -> None:
    fill(user, file, 3)
    out = StringIO()
    call_command("purge", stdout=out)

    assert out.getvalue().splitlines() == [
        "codes: 6",
        "texts: 6",
        "numbers: 3",
        "apps: 3",
        "counters: 3",
        "refusals: 0",
        "guards: 0",
        "networks: 0",
        "notices: 3",
        "revocations: 3",
        "email changes: 0",
        "webhook events: 0",
        "webhook tries: 0",
        "figures: 0",
        "sessions: 3",
        "tokens: 0",
        "audit events: 0",
    ]
    event = AuditEvent.objects.get()
    assert (event.kind, event.outcome, event.face, event.user_id) == (
        "purge",
        "ok",
        "command",
        None,
    )
    assert event.data == {
        "codes": 6,
        "texts": 6,
        "numbers": 3,
        "apps": 3,
        "counters": 3,
        "notices": 3,
        "revocations": 3,
        "sessions": 3,
    }


def test_a_run_that_deletes_nothing_leaves_no_event(user: User, pending: ProviderUser) -> None:
    before = rows(), AuditEvent.objects.count()
    assert not purge()
    assert (rows(), AuditEvent.objects.count()) == before


@pytest.mark.parametrize("chunk", [1, 2, 5, 7, 500])
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


@pytest.mark.parametrize("kind", ["_codes", "_numbers", "_counters", "_notices", "_sessions"])
def test_each_chunk_takes_as_many_statements_as_the_others(
    user: User, file: File, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """So the whole grows with the number of chunks, and with nothing else."""
    step: Callable[[datetime], retention.Counts] = getattr(retention, kind)
    monkeypatch.setattr(retention, "CHUNK", 5)

    def statements(count: int) -> int:
        fill(make_user(f"u{count}"), file, count)
        if kind == "_numbers":
            retention._codes(now())
        with CaptureQueriesContext(connection) as queries:
            step(now())
        purge()
        return len(queries)

    two, three, four = (statements(5 * chunks) for chunks in (2, 3, 4))
    assert three - two == four - three <= 12


def test_limits_write_scopes_that_purge_can_read(user: User, file: File) -> None:
    """The length of the window is the end of each scope."""
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    limits.reserve_sign_in("ann", FROM, now())
    scopes = SendCounter.objects.values_list("scope", flat=True)
    assert len(scopes) == 10
    assert all(scope.rpartition("/")[2].isdecimal() for scope in scopes)
