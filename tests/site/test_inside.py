"""The private interfaces on which ``optin.database`` stands: all of them.

What a release of Django or psycopg changes of these fails here first.
"""

import inspect
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import update_last_login
from django.contrib.auth.signals import user_logged_in
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql import base
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.backends.utils import debug_transaction
from django.db.models import Expression, Field
from django.db.models.base import ModelState
from django.db.models.sql import DeleteQuery, InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler, SQLInsertCompiler
from psycopg.adapt import Transformer

from optin.models import AuditEvent, User
from optin.models.users import note_sign_in

CALLS: list[tuple[Any, str, str]] = [
    # Django calls these of ours in place of its own.
    (BaseDatabaseWrapper, "_commit", "self"),
    (BaseDatabaseWrapper, "_rollback", "self"),
    (BaseDatabaseWrapper, "_savepoint", "self, sid"),
    (BaseDatabaseWrapper, "_savepoint_commit", "self, sid"),
    (BaseDatabaseWrapper, "_savepoint_rollback", "self, sid"),
    (BaseDatabaseWrapper, "_set_autocommit", "self, autocommit"),
    (BaseDatabaseWrapper, "_close", "self"),
    (base.DatabaseWrapper, "get_new_connection", "self, conn_params"),
    (base.DatabaseWrapper, "close_pool", "self"),
    (DatabaseSchemaEditor, "execute", "self, sql, params"),
    (Expression, "as_sql", "self, compiler, connection"),
    # We call these of Django's.
    (BaseDatabaseWrapper, "validate_no_broken_transaction", "self"),
    (DatabaseOperations, "savepoint_create_sql", "self, sid"),
    (DatabaseOperations, "savepoint_commit_sql", "self, sid"),
    (Field, "get_db_prep_save", "self, value, connection"),
    (Field, "pre_save", "self, model_instance, add"),
    (UpdateQuery, "chain", "self, klass"),
    (UpdateQuery, "add_update_values", "self, values"),
    (DeleteQuery, "get_compiler", "self, using, connection, elide_empty"),
    (InsertQuery, "insert_values", "self, fields, objs, raw"),
    (SQLCompiler, "get_converters", "self, expressions"),
    (SQLCompiler, "apply_converters", "self, rows, converters"),
    (SQLInsertCompiler, "as_sql", "self"),
    # And these of psycopg's.
    (psycopg.errors, "error_from_result", "result, encoding"),
]


@pytest.mark.parametrize(("owner", "name", "takes"), CALLS)
def test_calls(owner: Any, name: str, takes: str) -> None:
    assert ", ".join(inspect.signature(getattr(owner, name)).parameters) == takes


def test_one_receiver_notes_a_sign_in() -> None:
    """Ours takes the name of Django's, and so must be connected first (``INSTALLED_APPS``)."""
    receivers, _ = user_logged_in._live_receivers(User)
    assert note_sign_in in receivers
    assert update_last_login not in receivers


@pytest.mark.django_db
def test_what_is_read_of_django() -> None:
    names = (
        *("in_atomic_block", "savepoint_ids", "needs_rollback", "run_on_commit"),
        *("execute_wrappers", "force_debug_cursor", "wrap_database_errors"),
    )
    assert [name for name in names if not hasattr(connection, name)] == []
    with transaction.atomic():
        transaction.on_commit(print)
        assert connection.run_on_commit[-1][1] is print
        transaction.set_rollback(True)
    assert {"adding", "db"} <= vars(ModelState).keys()
    assert callable(debug_transaction)
    assert isinstance(base.DatabaseWrapper.pool, property)


@pytest.mark.django_db
def test_what_is_read_of_a_compiler() -> None:
    compiler: Any = User.objects.only("username").query.get_compiler(connection=connection)
    compiler.as_sql()
    assert compiler.klass_info["model"] is User
    columns = [compiler.select[place][0] for place in compiler.klass_info["select_fields"]]
    assert [column.target.attname for column in columns] == ["id", "username"]
    assert compiler.annotation_col_map == {}
    inserting = InsertQuery(AuditEvent).get_compiler(connection=connection)
    assert isinstance(inserting.returning_fields, list | tuple | None)


@pytest.mark.postgresql
@pytest.mark.django_db
def test_what_is_read_of_psycopg() -> None:
    connection.ensure_connection()
    line: Any = connection.connection
    assert line._autocommit is line.autocommit
    assert line.broken is False
    # They are written in C, without signatures.
    values: Any = Transformer(line)
    for name in ("dump_sequence", "set_pgresult", "load_rows"):
        assert callable(getattr(values, name))
