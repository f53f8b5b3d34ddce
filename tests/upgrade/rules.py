"""What a migration may do while the release before serves.

django-migration-linter reads the SQL of each operation for PostgreSQL. What is added here: it may
drop what the last release no longer reads; it may not check all rows under a lock, nor lock many
tables at once, nor change rows and tables together.
"""

import re
from collections.abc import Iterator, Sequence

from django.db import connection
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django_migration_linter.sql_analyser.analyser import analyse_sql_statements
from django_migration_linter.sql_analyser.base import Check, CheckMode, CheckType, Issue
from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

MOST_LOCKS = 3


def has_checked_constraint(statements: list[str], **kwargs: object) -> bool:
    """Whether a constraint is added to a table with rows, and PostgreSQL checks them at once."""
    return any(
        "ADD CONSTRAINT" in sql and "NOT VALID" not in sql
        for sql in _of_existing_tables(statements)
    )


class Analyser(PostgresqlAnalyser):
    migration_checks = [
        *PostgresqlAnalyser.migration_checks,
        Check(
            code="ADD_CONSTRAINT",
            fn=has_checked_constraint,
            message="checks all rows while it locks the table: add it NOT VALID, then validate it",
            mode=CheckMode.TRANSACTION,
            type=CheckType.ERROR,
        ),
        Check(
            code="SET_NOT_NULL",
            fn=lambda sql, **kwargs: "SET NOT NULL" in sql,
            message="reads all rows while it locks the table",
            mode=CheckMode.ONE_LINER,
            type=CheckType.ERROR,
        ),
    ]


def faults(migration: Migration, before: ProjectState, released: ProjectState) -> list[str]:
    """Return what is wrong with a migration, one code of django-migration-linter or ours each.

    :param before: the state of the tables before it.
    :param released: the state of the tables as the last release knows them.
    """
    found: list[str] = []
    made: list[str] = []
    locked: set[str] = set()
    for own, state in _by_operation(migration.operations, before):
        made += [sql.split("(")[0] for sql in own if sql.startswith("CREATE TABLE")]
        statements = [*made, *own]
        errors, _, warnings = analyse_sql_statements(Analyser, statements)
        found += [
            _text(issue)
            for issue in (*errors, *warnings)
            if not _is_unread(issue, released) and not _gives_room(issue, own, state)
        ]
        for sql in statements:
            locked |= {*re.findall(r'(?:^ALTER TABLE|^DROP TABLE|REFERENCES) ("\w+")', sql)}
    locked -= set(map(_table, made))
    if len(locked) > MOST_LOCKS:
        found.append(f"TOO_MANY_LOCKS: locks {', '.join(sorted(locked))}: may deadlock")
    if locked and not migration.atomic:
        found.append("NOT_ATOMIC: without a transaction, its locks have no lock_timeout")
    changes_rows = {isinstance(operation, RunPython | RunSQL) for operation in migration.operations}
    if len(changes_rows) > 1:
        found.append("DATA_AND_SCHEMA: changes rows and tables: write two migrations")
    return found


def make_migration(operations: Sequence[Operation], *, atomic: bool = True) -> Migration:
    """Return the next migration of the app, which does *operations*."""
    made: type[Migration] = type(
        "Migration", (Migration,), {"operations": operations, "atomic": atomic}
    )
    return made("0999_next", "optin")


def _by_operation(
    operations: Sequence[Operation], state: ProjectState
) -> Iterator[tuple[list[str], ProjectState]]:
    """Yield the SQL of each operation, and the state before it.

    What one does must not hide what another does.
    """
    for operation in operations:
        before = state.clone()
        with connection.schema_editor(collect_sql=True, atomic=False) as editor:
            state = make_migration([operation]).apply(state, editor, collect_sql=True)
        yield editor.collected_sql, before


def _of_existing_tables(statements: list[str]) -> list[str]:
    """Return the statements that alter a table which was there before."""
    made = {_table(sql) for sql in statements if sql.startswith("CREATE TABLE")}
    return [sql for sql in statements if sql.startswith("ALTER TABLE") and _table(sql) not in made]


def _table(sql: str) -> str:
    """Return the table of a statement that begins with its kind, in quotes."""
    return sql.split(maxsplit=3)[2]


def _is_unread(issue: Issue, released: ProjectState) -> bool:
    """Whether *issue* is the drop of something that the last release does not use."""
    tables = {
        model._meta.db_table: {field.column for field in model._meta.local_fields}
        for model in released.apps.get_models(include_auto_created=True)
    }
    if issue.code == "DROP_TABLE":
        return issue.table not in tables
    if issue.code == "DROP_COLUMN":
        return issue.column not in tables.get(issue.table or "", set())
    return False


def _gives_room(issue: Issue, statements: list[str], before: ProjectState) -> bool:
    """Whether *issue* is that a column takes longer text: PostgreSQL rewrites no row for it."""
    if issue.code != "ALTER_COLUMN":
        return False
    lengths = {
        (model._meta.db_table, field.column): getattr(field, "max_length", None)
        for model in before.apps.get_models()
        for field in model._meta.local_fields
    }
    length = lengths.get((issue.table or "", issue.column or ""))
    type_ = rf'ALTER COLUMN "{issue.column}" TYPE varchar\((\d+)\);?$'
    new = [match for sql in statements if (match := re.search(type_, sql))]
    return bool(length and new and length < int(new[0][1]))


def _text(issue: Issue) -> str:
    where = ".".join(name for name in (issue.table, issue.column) if name)
    return f"{issue.code}: {issue.message}" + (f" ({where})" if where else "")
