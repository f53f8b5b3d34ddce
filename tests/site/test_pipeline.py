"""Statements that share a round trip (``optin.database``): in order, all or nothing."""

from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    ProgrammingError,
    connection,
    transaction,
)
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from bench import round_trips
from optin.database import Param, Select, Update, release_early, run_later
from optin.database.pipeline import Line
from optin.models import AuditEvent, User
from optin.origin import Face, Origin
from optin.runtime.commits import after_commit

pytestmark = [pytest.mark.postgresql, pytest.mark.pipeline, pytest.mark.django_db(transaction=True)]

RENAME = Update(
    lambda: User._base_manager.filter(pk=Param("id", User)), username=Param("username", User)
)
BY_NAME = Select(lambda: User._base_manager.filter(username=Param("username", User)))


@pytest.fixture
def other(user: User) -> User:
    made: User = User.objects.create_user("other", "other@example.com")
    return made


@pytest.mark.parametrize("how", ["prepared", "queryset", "cursor"])
def test_what_was_written_is_read(user: User, how: str) -> None:
    with transaction.atomic():
        RENAME.run_later(id=user.pk, username="renamed")
        if how == "prepared":
            found = BY_NAME.row(username="renamed")
            assert found is not None
            assert found.pk == user.pk
        elif how == "queryset":
            assert User.objects.get(pk=user.pk).username == "renamed"
        else:
            with connection.cursor() as cursor:
                cursor.execute("SELECT username FROM optin_user WHERE id = %s", [user.pk])
                assert cursor.fetchone() == ("renamed",)
    user.refresh_from_db()
    assert user.username == "renamed"


def test_an_error_at_commit_undoes_all(user: User, other: User) -> None:
    done: list[str] = []

    @transaction.atomic
    def operation() -> None:
        transaction.on_commit(lambda: done.append("told"))
        RENAME.run_later(id=other.pk, username="first")
        RENAME.run_later(id=user.pk, username="first")

    with pytest.raises(IntegrityError):
        operation()
    assert done == []
    assert {row.username for row in User.objects.all()} >= {user.username, "other"}


def test_an_error_in_a_savepoint_undoes_no_more(user: User, other: User) -> None:
    with transaction.atomic():
        RENAME.run_later(id=other.pk, username="kept")
        with pytest.raises(IntegrityError), transaction.atomic():
            RENAME.run_later(id=user.pk, username="kept")
    other.refresh_from_db()
    user.refresh_from_db()
    assert (other.username, user.username != "kept") == ("kept", True)


def test_writes_of_a_savepoint_that_is_rolled_back_are_not_sent(user: User, other: User) -> None:
    """They would fail, but they are never sent."""

    @transaction.atomic
    def inner() -> None:
        RENAME.run_later(id=user.pk, username="other")  # which is taken
        raise ZeroDivisionError

    with transaction.atomic():
        RENAME.run_later(id=other.pk, username="other")
        with pytest.raises(ZeroDivisionError):
            inner()
        RENAME.run_later(id=user.pk, username="kept")
    user.refresh_from_db()
    assert user.username == "kept"


def test_a_value_that_cannot_be_sent_loses_no_write(user: User) -> None:
    with transaction.atomic():
        RENAME.run_later(id=user.pk, username="kept")
        with pytest.raises(DatabaseError):
            BY_NAME.row(username="nu\0l")
    assert BY_NAME.row(username="kept") is not None


def test_a_queued_value_that_cannot_be_sent_undoes_its_transaction_only(user: User) -> None:
    @transaction.atomic
    def operation() -> None:
        RENAME.run_later(id=user.pk, username="first")
        assert BY_NAME.row(username="first") is not None
        RENAME.run_later(id=user.pk, username="half \ud800")

    with pytest.raises(DataError):
        operation()
    assert BY_NAME.row(username=user.username) is not None


@pytest.mark.parametrize("has_begun", [True, False], ids=["begun", "queued"])
def test_what_was_interrupted_at_its_commit_is_not_committed_by_the_next(
    user: User, other: User, monkeypatch: pytest.MonkeyPatch, *, has_begun: bool
) -> None:
    """Ctrl-C in a command whose last step writes how far it came."""

    @transaction.atomic
    def operation() -> None:
        RENAME.run_later(id=user.pk, username="first")
        if has_begun:
            assert BY_NAME.row(username="first") is not None
            RENAME.run_later(id=user.pk, username="second")

        def interrupt(*_: object) -> None:
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(Line, "messages", interrupt)

    with pytest.raises(BaseException) as stopped:  # noqa: PT011
        operation()
    assert KeyboardInterrupt in {type(stopped.value), type(stopped.value.__context__)}
    with transaction.atomic():
        RENAME.run_later(id=other.pk, username="end")
    connection.close()
    assert {row.username for row in User.objects.all()} == {user.username, "end"}


def test_autocommit_in_an_open_transaction_is_refused(user: User) -> None:
    """Otherwise what is written after it would never be committed."""
    connection.set_autocommit(False)
    User.objects.update(username="lost")
    with pytest.raises(ProgrammingError):
        connection.set_autocommit(True)
    User.objects.update(first_name="kept")
    connection.close()
    user.refresh_from_db()
    assert (user.username != "lost", user.first_name) == (True, "kept")


@pytest.mark.parametrize("write", [run_later, release_early])
def test_a_transaction_that_lost_its_connection_takes_no_write(user: User, write: Any) -> None:
    """Otherwise the next one of this thread would commit it."""
    statement = RENAME.bind(id=user.pk, username="dead")
    with transaction.atomic():
        connection.close()
        with pytest.raises(TransactionManagementError):
            write(statement)
    with transaction.atomic():
        assert BY_NAME.row(username=user.username) is not None
    user.refresh_from_db()
    assert user.username != "dead"


def test_refused_statements_stay_prepared(user: User, other: User) -> None:
    """Otherwise each refused write would leave one more prepared statement on the server."""

    def prepared() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_prepared_statements")
            return int(cursor.fetchone()[0])

    def refused() -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            RENAME.run_later(id=user.pk, username="other")

    refused()
    before = prepared()
    refused()
    assert prepared() == before > 0


def test_a_changed_table_costs_one_error(user: User) -> None:
    """A live migration: the server refuses what it prepared for the table as it was."""
    assert BY_NAME.row(username=user.username) is not None
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE optin_user ALTER COLUMN first_name TYPE varchar(151)")
    try:
        with pytest.raises(DatabaseError):
            BY_NAME.row(username=user.username)
        assert BY_NAME.row(username=user.username) is not None
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE optin_user ALTER COLUMN first_name TYPE varchar(150)")
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # the next test has other statements


def test_a_lost_connection_is_no_endless_wait(user: User) -> None:
    assert BY_NAME.row(username=user.username) is not None
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as another:
        another.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    with pytest.raises(DatabaseError):
        BY_NAME.row(username=user.username)
    connection.close()
    assert BY_NAME.row(username=user.username) is not None


def test_a_connection_that_is_lost_after_the_commit_is_renewed(user: User) -> None:
    def lose() -> None:
        with psycopg.connect(connection.connection.info.dsn, autocommit=True) as another:
            pid = connection.connection.info.backend_pid
            another.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        user.refresh_from_db()

    with transaction.atomic():
        after_commit(partial(lose))
        RENAME.run_later(id=user.pk, username="renamed")
    user.refresh_from_db()
    assert user.username == "renamed"


def test_two_events_of_one_transaction_follow_each_other(user: User) -> None:
    """The second one names the first by its id, which the database gives."""
    with transaction.atomic():
        for outcome in ("suspended", "resumed"):
            AuditEvent.objects.record(
                AuditEvent.Kind.SUSPEND,
                outcome,
                now=timezone.now(),
                origin=Origin(Face.COMMAND),
                user_id=user.pk,
            )
    first, second = AuditEvent.objects.order_by("pk")
    assert second.previous == first.name()


def test_a_savepoint_shares_a_round_trip_with_what_it_holds(user: User) -> None:
    with transaction.atomic():
        BY_NAME.row(username=user.username)
        with round_trips.counted() as trips, transaction.atomic():
            RENAME.run_later(id=user.pk, username="renamed")
        assert trips == ["pipeline"]
    user.refresh_from_db()
    assert user.username == "renamed"


def test_a_savepoint_that_held_nothing_can_be_rolled_back(user: User) -> None:
    """It was never sent, so the server must not be told to roll back to it."""
    with transaction.atomic():
        RENAME.run_later(id=user.pk, username="kept")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            raise ZeroDivisionError
        with transaction.atomic():
            transaction.set_rollback(True)
        with transaction.atomic(), transaction.atomic():
            pass
    user.refresh_from_db()
    assert user.username == "kept"


def test_after_an_error_before_a_savepoint_nothing_is_kept(user: User, other: User) -> None:
    """It is raised at the end of the block. Code that suppresses it there must not commit."""

    @transaction.atomic
    def operation() -> None:
        RENAME.run_later(id=user.pk, username="other")  # which is taken
        with suppress(IntegrityError), transaction.atomic():
            RENAME.run_later(id=other.pk, username="moved")
        BY_NAME.row(username="other")

    with pytest.raises(DatabaseError):
        operation()
    assert {row.username for row in User.objects.all()} >= {user.username, "other"}


def test_an_error_before_a_block_that_is_rolled_back_is_raised(user: User, other: User) -> None:
    @transaction.atomic
    def operation() -> None:
        RENAME.run_later(id=user.pk, username="other")  # which is taken
        with transaction.atomic():
            transaction.set_rollback(True)

    with pytest.raises(IntegrityError):
        operation()


def test_a_block_whose_error_was_swallowed_fails_at_its_end(user: User) -> None:
    with transaction.atomic():
        RENAME.run_later(id=user.pk, username="kept")
        end, within = suppress(DatabaseError), suppress(DatabaseError)
        with end, transaction.atomic(), connection.cursor() as cursor, within:
            cursor.execute("SELECT 1 / 0")
    user.refresh_from_db()
    assert user.username == "kept"


def test_a_development_start_sends_the_same(user: User, settings: Any) -> None:
    """Otherwise people and tests that use one would not try what runs in production."""
    settings.DEBUG = True
    with round_trips.counted() as trips, transaction.atomic():
        RENAME.run_later(id=user.pk, username="first")
        RENAME.run_later(id=user.pk, username="second")
    assert trips == ["pipeline"]
