"""States with names, one fake (the gateway), a clock that stands still."""

import gc
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from threading import Event
from typing import Any

import pytest
import time_machine
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connection, transaction
from django.db.models.signals import post_migrate
from django.utils import timezone
from oauth2_provider.models import (
    AbstractApplication,
)
from whitenoise.middleware import WhiteNoiseMiddleware

from optin import gateways
from optin.messaging import delivery
from optin.models import (
    AccessKey,
    File,
    ProviderUser,
    Purpose,
    User,
)
from optin.models.audit import committed, forget_thread
from optin.operations import opt_ins, sign_in
from optin.runtime import throttle
from tests.kit.documents import GRANTS
from tests.kit.oauth import (
    Application,
    make_client,
)
from tests.kit.people import NOON, NUMBER, ORIGIN, make_user
from tests.kit.phone import Gateways, Phone, Stub
from tests.kit.rollback import do_here, hooks_after_each_operation, is_between_operations
from tests.kit.server import needs
from tests.kit.tables import copy_at_first_migrate
from tests.kit.trail import unguarded
from tests.kit.world import CODES, Person, World

# What is collected stays to the end: nobody looks through it again and again.
gc.disable()


# Seals are made when a test says so.
committed.disconnect(dispatch_uid="keep_sealing")


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 10, 10)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the slow tests run first: one that starts last leaves the other workers idle.

    Each worker begins with an equal part of the list, so each part begins with slow tests.
    Those of a file stay together, for they share what its fixtures make.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    total = len(items)
    slow = [item for item in items if is_slow(item)]
    quick = iter([item for item in items if not is_slow(item)])
    files = [list(group) for _, group in itertools.groupby(slow, lambda item: item.path)]
    items.clear()
    for n in range(workers):
        end = len(items) + (total - len(items)) // (workers - n)  # as pytest-xdist has it
        items += itertools.chain.from_iterable(files[n::workers])
        items += itertools.islice(quick, max(0, end - len(items)))


def is_slow(item: pytest.Item) -> bool:
    return any(item.iter_markers("slow")) or any(item.iter_markers("long"))


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """The clock stands still at noon; ``clock.shift(seconds)`` moves it."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


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
        if is_between_operations(connection):
            do_here(work)
            return True
        done = Event()

        def work_and_tell() -> None:
            work()
            done.set()

        return submit(work_and_tell) and done.wait(60)

    monkeypatch.setattr(delivery.postman, "submit", submit_and_wait)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A test begins with no event before its own and no requests counted."""
    forget_thread()
    yield
    throttle._counts.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def _hooks_after_each_operation() -> Iterator[None]:
    with hooks_after_each_operation():
        yield


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


@pytest.fixture
def file(db: None) -> File:
    return File.objects.create(id=777, name="Harbour Books")


@pytest.fixture
def other_file(db: None) -> File:
    return File.objects.create(id=888, name="Ridge Bakery")


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


@pytest.fixture(autouse=True)
def _postgresql(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("postgresql"):
        needs("PostgreSQL (DATABASE_URL)", connection.vendor == "postgresql")
    if request.node.get_closest_marker("pipeline") and not hasattr(connection, "has_pipeline"):
        pytest.skip("needs the engine optin.database")


_FROM_ONE = {
    "postgresql": [
        f"ALTER SEQUENCE optin_{table}_id_seq RESTART" for table in ("auditevent", "auditseal")
    ],
    "sqlite": ["DELETE FROM sqlite_sequence WHERE name LIKE 'optin_audit%'"],
}
"""The trail of the next test begins at 1, as every trail does."""


@pytest.fixture(autouse=True)
def _trail_from_one(request: pytest.FixtureRequest) -> None:
    """As after a flush: PostgreSQL rolls no sequence back."""
    if request.node.get_closest_marker("django_db") and connection.vendor == "postgresql":
        request.getfixturevalue("db")
        with connection.cursor() as cursor:
            for table in ("optin_auditevent", "optin_auditseal"):
                cursor.execute(
                    f"SELECT setval('{table}_id_seq', 1, false) "  # noqa: S608
                    f"WHERE NOT EXISTS (SELECT 1 FROM {table})"
                )


_JOBS = ("procrastinate_periodic_defers", "procrastinate_jobs", "procrastinate_workers")
"""Tables that no model of ours manages, so that Django's flush does not know them."""


_LARGE = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind = 'r' AND pg_relation_size(oid) > 1000000
        AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, django_db_keepdb: bool
) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if connection.vendor == "sqlite" and not django_db_keepdb:
            copy_at_first_migrate(patch)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Let the flush between tests empty the audit trail and the jobs, and make it quick.

    The triggers of the trail are away meanwhile, if it or a large table is emptied. Deleting
    a few rows takes less time than truncating tables; content types, permissions and groups stay,
    as most tests take less time than making them again. So a test that changes the permissions of
    a group changes them back. PostgreSQL keeps the space of deleted rows, and later queries
    read it: so tables over 1 MB are truncated.
    """
    execute, quote = connection.ops.execute_sql_flush, connection.ops.quote_name
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)

    def sql_flush(style: object, tables: Iterable[str], **options: bool) -> list[str]:
        kept = {"django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}
        look = [
            f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})"  # noqa: S608
            for table in (*tables, *(_JOBS if connection.vendor == "postgresql" else ()))
            if table not in kept
        ]
        with connection.cursor() as cursor:
            large: list[str] = []
            if connection.vendor == "postgresql":
                cursor.execute(_LARGE)
                large = [table for (table,) in cursor.fetchall()]
            cursor.execute(" UNION ALL ".join(look))
            filled = [table for (table,) in cursor.fetchall() if table not in large]
        truncate = [f"TRUNCATE {', '.join(large)} CASCADE"] if large else []
        return truncate + [f"DELETE FROM {quote(table)}" for table in filled]  # noqa: S608

    def execute_sql_flush(statements: list[str]) -> None:
        has_trail = any("optin_audit" in each or "TRUNCATE" in each for each in statements)
        with transaction.atomic(), unguarded() if has_trail else nullcontext():
            execute([*statements, *(_FROM_ONE[connection.vendor] if has_trail else ())])

    connection.ops.sql_flush = sql_flush  # type: ignore[method-assign]
    connection.ops.execute_sql_flush = execute_sql_flush  # type: ignore[assignment,method-assign]


@pytest.fixture
def client_app(db: None) -> AbstractApplication:
    """A client that speaks for people who let it."""
    return make_client(Application.GRANT_AUTHORIZATION_CODE)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Gateways:
    """Send through these gateways from now on."""

    def use(*stubs: Stub) -> tuple[Stub, ...]:
        def for_region(region: str) -> list[Stub]:
            return [stub for stub in stubs if region in stub.regions or not stub.regions]

        monkeypatch.setattr(gateways, "for_region", for_region)
        return stubs

    return use


@pytest.fixture
def world(
    user: User, file: File, pending: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> World:
    """``user`` asked to opt in, and the phone has the code."""
    return World(user, file, phone, clock)


@pytest.fixture(params=list(Purpose))
def any_world(
    request: pytest.FixtureRequest,
    user: User,
    file: File,
    pending: ProviderUser,
    phone: Phone,
    clock: time_machine.Traveller,
) -> World:
    """A code on the phone, for each purpose."""
    world = World(user, file, phone, clock, request.param)
    if request.param is not Purpose.OPT_IN:
        World(user, file, phone, clock).guess(phone.code())
        assert world.ask().outcome == "sent"
    return world


@pytest.fixture
def service_role(db: None) -> str:
    """A role with the grants that deploy.md gives to the service; gone after the test."""
    role = f"optin_service_{os.getpid()}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(re.sub(r"\boptin_service\b", role, GRANTS))
        cursor.execute(f"SET LOCAL ROLE {role}")
    return role


@pytest.fixture
def person(user: User, file: File, phone: Phone, clock: time_machine.Traveller) -> Person:
    """``user`` with no factor yet."""
    return Person(user, file, phone, clock)


@pytest.fixture
def full(person: Person) -> Person:
    """``user`` with every factor that has codes."""
    person.set_up(*CODES)
    return person
