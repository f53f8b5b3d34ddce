"""Purge beside operations, beside itself, and killed. Only PostgreSQL lets writers race."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import ProgrammingError, connection, models, transaction

from optin.audit import integrity, seals
from optin.models import (
    AccessKey,
    AuditEvent,
    AuditSeal,
    AuthenticatorApp,
    File,
    PendingOtp,
    ProviderUser,
    SendCounter,
    SmsMessage,
    User,
)
from optin.operations import erasure, opt_ins, retention
from tests.kit.clients import Answer, Api
from tests.kit.documents import GRANTS
from tests.kit.people import ORIGIN, make_user, number
from tests.kit.phone import Phone, wrong
from tests.kit.races import at_once, closing, waiting
from tests.kit.server import ROOT, own_process, until
from tests.kit.stored import DAY, app_of, code_of, now, number_of, purge, rows, text_of
from tests.kit.trail import tell

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

ROUNDS = [
    pytest.param(2, id="2 rounds"),
    pytest.param(10, id="10 rounds", marks=pytest.mark.slow),
]


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time, in place of the clock that stands still: other processes have it too."""


def named_long_ago(user: User, file: File, mobile: str) -> ProviderUser:
    """An unproved number that may be purged now, with two codes and texts."""
    then = now() - 2 * DAY
    row = number_of(user, file, mobile, then)
    spent = code_of(row, then, closed_at=then, closed_as=PendingOtp.Closed.SUPERSEDED)
    text_of(spent, then)
    text_of(code_of(row, then), then)
    return row


@pytest.mark.parametrize("rounds", ROUNDS)
def test_purge_beside_opt_ins_of_the_same_numbers(
    file: File, monkeypatch: pytest.MonkeyPatch, settings: LazySettings, rounds: int
) -> None:
    """Whoever opts in again gets a text and can prove it, whether purge came before or after."""
    settings.OPTIN_SENDS_PER_CLIENT = ()
    monkeypatch.setattr(retention, "CHUNK", 1)
    kept: Counter[bool] = Counter()
    for n in range(rounds):
        people = [make_user(f"u{n}-{i}", file) for i in range(8)]
        mobiles = {person.pk: number(100 * n + i) for i, person in enumerate(people)}
        old = {p.pk: named_long_ago(p, file, mobiles[p.pk]).pk for p in people}

        def opt_in(person: User, mobiles: dict[int, str] = mobiles) -> str:
            time.sleep(random.uniform(0, 0.2))
            return opt_ins.opt_in(person, file, mobiles[person.pk], origin=ORIGIN).outcome

        def purge_numbers() -> str:
            retention._numbers(now())
            return "purged"

        calls: list[Callable[[], str]] = [partial(opt_in, person) for person in people]
        answers = at_once([purge_numbers, *calls, purge_numbers])

        assert set(answers) == {"purged", "sent"}
        for person in people:
            row = ProviderUser.objects.get(user=person)
            kept[row.pk == old[person.pk]] += 1
            code = PendingOtp.objects.get(provider_user=row, closed_at=None)
            assert SmsMessage.objects.filter(pending_otp=code).count() == 1
            answer = opt_ins.verify_opt_in(person, file, row.pk, code.code(), origin=ORIGIN)
            assert answer.outcome == "ok"
    if rounds > 2:
        assert set(kept) == {True, False}, "one side always came first"


def test_a_user_who_is_busy_is_left_for_the_next_run(file: File) -> None:
    """Purge waits for nobody."""
    busy, free = make_user("busy", file), make_user("free", file)
    named_long_ago(busy, file, number(1))
    named_long_ago(free, file, number(2))
    with transaction.atomic():
        User.objects.locked(busy.pk)
        (deleted,) = at_once([purge])
        assert deleted["numbers"] == 1
    assert ProviderUser.objects.get().user == busy
    assert purge()["numbers"] == 1


def test_an_app_that_is_just_proved_stays(file: File) -> None:
    """Under the lock of its user: nothing goes between reading the secret and keeping it."""
    user = make_user("ann", file)
    app = app_of(user, now() - timedelta(days=2))
    with transaction.atomic():
        User.objects.locked(user.pk)
        AuthenticatorApp.objects.get()  # as ``confirm_app`` reads it: without a lock of its own
        (deleted,) = at_once([purge])
        assert not deleted
        app.confirmed, app.verified_at = True, now()
        app.save(update_fields=["confirmed", "verified_at"])
    assert not purge()
    assert AuthenticatorApp.objects.get() == app


def test_an_opt_in_that_holds_its_user_keeps_the_number(file: File) -> None:
    """The opposite order: purge has picked the user, and finds that the number was used."""
    user = make_user("ann", file)
    row = named_long_ago(user, file, number(1))
    lock = retention._locked
    picked: list[Any] = []

    def locked(found: Any, limit: int | None = None) -> list[Any]:
        if found.model is not User or picked:
            return lock(found, limit)
        # The moment between the snapshot of one statement and its locks.
        picked.extend(found.values_list("pk", flat=True))
        at_once([lambda: opt_ins.opt_in(user, file, number(1), origin=ORIGIN)])
        return lock(User.objects.filter(pk__in=picked), limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "_locked", locked)
        purge()
    assert picked == [user.pk]
    assert ProviderUser.objects.get() == row
    assert PendingOtp.objects.get().closed_at is None


def erase(user: User) -> None:
    erasure.erase(user, reason="asked", origin=ORIGIN)


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


@pytest.mark.parametrize("end", [erase, deactivate])
@pytest.mark.parametrize(
    "call",
    [
        lambda api, row, code: api.opt_in(number(2)),
        lambda api, row, code: api.verify(row, code),
        lambda api, row, code: api.verify(row, wrong(code)),
        lambda api, row, code: api.opt_out(),
        lambda api, row, code: api.opt_out(code),
    ],
    ids=["opt-in", "right code", "wrong code", "opt-out", "opt-out with code"],
)
def test_a_call_that_waited_for_the_end_of_its_user_gets_401(
    file: File,
    phone: Phone,
    call: Callable[[Api, int, str], Answer],
    end: Callable[[User], None],
) -> None:
    """It was let in before, and leaves nothing behind (docs/contract.md, section 3; S-55)."""
    user = make_user("ann", file)
    api = Api(key=AccessKey.objects.make(user, file, now())[1])
    sent = opt_ins.opt_in(user, file, number(1), origin=ORIGIN)
    assert sent.provider_user_id
    row, code = sent.provider_user_id, phone.code()

    with ThreadPoolExecutor(2) as pool:
        with transaction.atomic():
            User.objects.locked(user.pk)
            # Whoever waits for the row first gets it first.
            ending = pool.submit(closing, lambda: end(User.objects.get(pk=user.pk)))
            until(lambda: waiting() == 1)
            answer = pool.submit(closing, lambda: call(api, row, code))
            until(lambda: waiting() == 2)
        ending.result(timeout=30)
        refused = answer.result(timeout=30)

    assert refused.brief == (401, "invalid_token")
    assert refused.headers["WWW-Authenticate"].endswith('error="invalid_token"')
    assert len(phone.messages) == 1
    assert AuditEvent.objects.exclude(kind=AuditEvent.Kind.ERASE).count() == 1  # its first opt-in
    assert User.objects.get().failures == 0
    if end is erase:
        assert not ProviderUser.objects.exists()


# -- the role of the service -------------------------------------------------------


@pytest.fixture
def service_role(transactional_db: None) -> Iterator[None]:
    """The grants that deploy.md gives to the service, for this connection."""
    role = f"optin_purge_{os.getpid()}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(re.sub(r"\boptin_service\b", role, GRANTS))
        cursor.execute(f"SET ROLE {role}")
        yield
        cursor.execute("RESET ROLE")
        cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_role_of_the_service_purges_all_but_the_trail(
    file: File, service_role: None, caplog: pytest.LogCaptureFixture
) -> None:
    named_long_ago(make_user("ann", file), file, number(1))
    expired = fill_trail(now() - 800 * DAY)

    deleted = purge()

    assert deleted == {"numbers": 1, "codes": 2, "texts": 2}
    assert AuditEvent.objects.filter(pk__in=expired).count() == len(expired)
    assert "may not delete from the audit trail" in caplog.text


@pytest.fixture
def another_guard(transactional_db: None) -> Iterator[None]:
    """A trigger that refuses, in the words of a missing right, what the role may do."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION another_guard() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE insufficient_privilege; END'"
        )
        cursor.execute(
            "CREATE TRIGGER another_guard BEFORE DELETE ON optin_auditevent "
            "EXECUTE FUNCTION another_guard()"
        )
        yield
        cursor.execute("DROP FUNCTION another_guard CASCADE")


def test_another_refusal_to_delete_from_the_trail_is_an_error(
    another_guard: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a role without the right is as it should be; all else must be seen."""
    expired = fill_trail(now() - 800 * DAY)
    with pytest.raises(ProgrammingError, match="insufficient_privilege"):
        purge()
    assert AuditEvent.objects.filter(pk__in=expired).count() == len(expired)
    assert "may not delete" not in caplog.text


# -- kill -9 -----------------------------------------------------------------------

PEOPLE = 160
KILLS = 6
# By which time a row is old, in this test.
TIMES: dict[type[models.Model], str] = {
    PendingOtp: "issued_at",
    SmsMessage: "created_at",
    ProviderUser: "created_at",
    SendCounter: "window_start",
}


@pytest.mark.slow
def test_killed_and_run_again(file: File, tmp_path: Path) -> None:
    """S-55, S-63: what is left in the end is what one undisturbed run leaves."""
    expired = fill(file)
    spared, doomed = survivors(), size()

    left_by_the_killed = [doomed]
    for _ in range(KILLS):
        # One transaction has at most three deletions, so each run commits at least one.
        deletions = random.randint(3, 6)
        assert start(tmp_path, killed_after=deletions).wait() == -signal.SIGKILL
        left_by_the_killed.append(size())
        assert survivors() == spared
    assert start(tmp_path).wait() == 0

    assert size() == 0
    assert survivors() == spared
    assert not AuditEvent.objects.filter(pk__in=expired).exists()
    assert list(integrity.verify(now(), integrity.Tally())) == []
    assert len(set(left_by_the_killed)) == KILLS + 1, left_by_the_killed
    assert 0 not in left_by_the_killed


def fill(file: File) -> set[int]:
    """Rows that go, rows that stay between them; the ids of audit events that go."""
    for n in range(PEOPLE):
        user, at = make_user(f"p{n}", file), now() - 2 * DAY if n % 4 else now()
        row = number_of(user, file, number(n), at)
        spent = code_of(row, at, closed_at=at, closed_as=PendingOtp.Closed.SUPERSEDED)
        for code in (spent, code_of(row, at)):
            text_of(code, at)
        SendCounter.objects.create(scope="file/600", key=str(n), window_start=at, count=1)
    return fill_trail(now() - 800 * DAY)


def fill_trail(then: datetime) -> set[int]:
    """Two sealed ranges past retention, and one that is not."""
    old: set[int] = set()
    for at in (then, then + DAY, now() - DAY):
        for _ in range(200):
            event = tell("unlock", at=at, user_id=1)
            if at < now() - 730 * DAY:
                old.add(event.pk)
        seals.seal(at + timedelta(minutes=6))
    assert AuditSeal.objects.count() == 3
    return old


def size() -> int:
    """How many rows there are that will go."""
    old = now() - DAY
    return AuditEvent.objects.filter(at__lt=now() - 730 * DAY).count() + sum(
        model._default_manager.filter(**{f"{field}__lt": old}).count()
        for model, field in TIMES.items()
    )


def survivors() -> dict[str, Any]:
    """The rows that stay, with all that is in them."""
    young = now() - DAY
    return {
        **rows(User, File),
        **{
            model.__name__: list(
                model._default_manager.filter(**{f"{field}__gte": young}).order_by("pk").values()
            )
            for model, field in TIMES.items()
        },
        "AuditSeal": list(AuditSeal.objects.order_by("pk").values()[:3]),
    }


# Kills itself after so many deletions, in the place of the next one. Those of figures, which are
# made anew before anything goes, do not count.
KILLED = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from optin.operations import retention

left = int(sys.argv[1])
retention.CHUNK = 10

def kill(execute, sql, *rest):
    global left
    left -= sql.startswith("DELETE") and "optin_figure" not in sql
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(sql, *rest)

with connection.execute_wrapper(kill):
    call_command("purge")
"""


def start(folder: Path, *, killed_after: int | None = None) -> "subprocess.Popen[bytes]":
    """Run the command on the database of the tests; kill it after so many deletions."""
    program = ["manage.py", "purge"] if killed_after is None else ["-c", KILLED, str(killed_after)]
    return subprocess.Popen(
        [sys.executable, *program],
        cwd=ROOT,
        env=own_process(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
