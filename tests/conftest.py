"""States with names, one fake (the gateway), a clock that stands still."""

import importlib
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connection, transaction
from django.db.models.signals import post_migrate
from django.utils import timezone
from whitenoise.middleware import WhiteNoiseMiddleware

from optin import gateways
from optin.gateways import Callback, Receipt, SmsError, Text
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    Membership,
    ProviderUser,
    RefusalCount,
    User,
)
from optin.models.audit import forget_thread
from optin.operations import opt_ins, sign_in
from optin.origin import Face, Origin
from optin.runtime import throttle

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
NUMBER = "+61491570156"
OTHER_NUMBER = "+61491570157"
PASSWORD = "correct horse battery"
ORIGIN = Origin(Face.API, client="test:1", ip="192.0.2.1")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """The clock stands still at noon; ``clock.shift(seconds)`` moves it."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@dataclass
class Phone:
    """Stands in for the gateway and the handset behind it."""

    name: str = "phone"
    regions: tuple[str, ...] = ()
    price: Decimal = Decimal(0)
    messages: list[tuple[str, str]] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    fail_with: SmsError | None = None

    def send(self, text: Text) -> str:
        if self.fail_with:
            raise self.fail_with
        self.texts.append(text)
        self.messages.append((text.to, text.body))
        self.references.append(text.reference)
        return f"gw-{len(self.messages)}"

    def receipt(self, callback: Callback) -> Receipt:
        raise NotImplementedError  # the tests of receipts have gateways of their own

    @property
    def body(self) -> str:
        return self.messages[-1][1]

    def code(self) -> str:
        """The code of the newest text."""
        found = re.match(r"[0-9]+", self.body)
        assert found
        return found[0]

    def code_to(self, number: str) -> str:
        """The code of the newest text to *number*."""
        body = next(body for to, body in reversed(self.messages) if to == number)
        return body.split()[0]


@pytest.fixture(autouse=True)
def phone(monkeypatch: pytest.MonkeyPatch) -> Phone:
    phone = Phone()
    monkeypatch.setattr(gateways, "for_region", lambda region: [phone])
    return phone


@pytest.fixture(autouse=True)
def prompt_postman(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves apart from a request has left when the request is over."""
    monkeypatch.setattr(delivery, "POSTMANS_PAUSE", (0, 0))
    submit = delivery.postman.submit

    def submit_and_wait(work: Callable[[], object]) -> bool:
        done = Event()

        def work_and_tell() -> None:
            work()
            done.set()

        return submit(work_and_tell) and done.wait(60)

    monkeypatch.setattr(delivery.postman, "submit", submit_and_wait)


@pytest.fixture(autouse=True)
def fresh_trail() -> None:
    """The first event of a test follows none of another test."""
    forget_thread()


@pytest.fixture(autouse=True)
def fresh_throttle() -> Iterator[None]:
    """Each test begins with no requests counted."""
    yield
    throttle._limiter.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def _static_files_read_once() -> Iterator[None]:
    """Each ``Client`` is a start of its own, which need not read the static files again."""
    read = WhiteNoiseMiddleware.add_files_from_finders
    known: dict[tuple[object, ...], dict[str, Any]] = {}

    def read_once(middleware: Any) -> None:
        key = (middleware.static_prefix, middleware.max_age, middleware.charset)
        if key not in known:
            read(middleware)
            known[key] = dict(middleware.files)
        middleware.files.update(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", read_once)
        yield


def decisions(**which: Any) -> "Counter[tuple[str, str, int | None]]":
    """How often each kind and outcome was decided about whom, of those that *which* names.

    Told by events, or counted where an equal refusal was told before.
    """
    found: Counter[tuple[str, str, int | None]] = Counter()
    for event in AuditEvent.objects.filter(**which):
        found[event.kind, event.outcome, event.user_id] += event.data.get("repeated", 1)
    for row in RefusalCount.objects.untold().filter(**which):
        found[row.kind, row.outcome, row.user_id] += row.untold
    return found


def wrong(code: str) -> str:
    """A code of the same length that is not *code*."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


@pytest.fixture
def file(db: None) -> File:
    return File.objects.create(id=777, name="Harbour Books")


@pytest.fixture
def other_file(db: None) -> File:
    return File.objects.create(id=888, name="Ridge Bakery")


def make_user(name: str, *files: File) -> User:
    user: User = User.objects.create_user(name, f"{name}@example.com", PASSWORD)
    for file in files:
        Membership.objects.create(user=user, file=file)
    return user


@pytest.fixture
def user(file: File) -> User:
    """A member of ``file`` who has not opted in."""
    return make_user("ann", file)


@pytest.fixture
def stranger(file: File) -> User:
    """Another member of the same file."""
    return make_user("ben", file)


@pytest.fixture
def access_key(user: User, file: File) -> str:
    return AccessKey.objects.make(user, file, timezone.now())[1]


@pytest.fixture
def pending(user: User, file: File, phone: Phone) -> ProviderUser:
    """``user`` asked for a code for ``NUMBER``, and the phone has it."""
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    return ProviderUser.objects.get(user=user)


@pytest.fixture
def active(user: User, file: File, pending: ProviderUser, phone: Phone) -> ProviderUser:
    """``user`` has ``NUMBER`` active."""
    opt_ins.verify_opt_in(user, file, pending.pk, phone.code(), origin=ORIGIN)
    pending.refresh_from_db()
    return pending


@pytest.fixture
def password_clients(db: None) -> None:
    sign_in.enable_password_clients()


def copy_tables(database: Path) -> None:
    """Make the file *database* as ``migrate`` does: a copy of the empty tables of the tests.

    For tests on SQLite, which so save the seconds that a process with ``migrate`` takes.
    """
    connection.ensure_connection()
    with closing(sqlite3.connect(database)) as copy:
        connection.connection.backup(copy)
        copy.execute("DELETE FROM sqlite_sequence")
        copy.commit()


def needs(service: str, present: bool) -> None:
    """Skip the test, by name, where a service is missing; fail where it is required."""
    if present:
        return
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is required (REQUIRE_SERVICES=1) and missing")
    pytest.skip(f"{service} is not here")


@pytest.fixture(autouse=True)
def _postgresql(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("postgresql"):
        needs("PostgreSQL (DATABASE_URL)", connection.vendor == "postgresql")


_FROM_ONE = {
    "postgresql": [
        f"ALTER SEQUENCE optin_{table}_id_seq RESTART" for table in ("auditevent", "auditseal")
    ],
    "sqlite": ["DELETE FROM sqlite_sequence WHERE name LIKE 'optin_audit%'"],
}
"""The trail of the next test begins at 1, as every trail does."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Let the flush between tests empty the audit trail, and make it quick.

    The triggers of the trail are away meanwhile, if it holds anything. Few rows are sooner
    deleted than tables truncated; content types and permissions stay, as most tests take
    less time than making them again.
    """
    migrations = [
        importlib.import_module(f"optin.migrations.{name}")
        for name in ("0002_append_only_audit", "0004_audit_seals", "0018_copies_of_audit_events")
    ]
    editor = SimpleNamespace(connection=connection)
    execute, quote = connection.ops.execute_sql_flush, connection.ops.quote_name
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)

    def sql_flush(style: object, tables: Iterable[str], **options: bool) -> list[str]:
        kept = {"django_content_type", "auth_permission"}
        look = [
            f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})"  # noqa: S608
            for table in tables
            if table not in kept
        ]
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(look))
            return [f"DELETE FROM {quote(table)}" for (table,) in cursor.fetchall()]  # noqa: S608

    def execute_sql_flush(statements: list[str]) -> None:
        guards = migrations if any("optin_audit" in each for each in statements) else []
        with transaction.atomic():
            for migration in guards:
                migration.unprotect(None, editor)
            execute([*statements, *(_FROM_ONE[connection.vendor] if guards else ())])
            for migration in guards:
                migration.protect(None, editor)

    connection.ops.sql_flush = sql_flush  # type: ignore[method-assign]
    connection.ops.execute_sql_flush = execute_sql_flush  # type: ignore[assignment,method-assign]
