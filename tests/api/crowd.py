"""Many others, about whom all tables hold what they hold about one."""

import os

from django.apps import apps
from django.db import connection, models, transaction

CROWD = int(os.environ.get("CROWD", "20000"))
FIRST = 10_000_000
"""Below the ids of the others."""

_FEW = {
    *("File", "Application", "AuditSeal", "Canary", "GatewayHealth"),
    *("Span", "Figure", "ContentType", "Permission", "Group"),
}
"""Models whose rows people do not add to."""


def make_crowd() -> None:
    """Copy the first row of each table that grows with people, with other ids and texts."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # checks no foreign keys
        for model in _growing():
            table = model._meta.db_table
            values = {str(f.column): _value(f) for f in model._meta.concrete_fields}
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} "  # noqa: S608
                f"FROM (SELECT * FROM {table} ORDER BY {model._meta.pk.column} LIMIT 1) AS one, "
                f"generate_series(1, {CROWD}) AS n"
            )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as the server does by itself


def _growing() -> list[type[models.Model]]:
    labels = ("optin", "sessions", "oauth2_provider")
    found = [model for label in labels for model in apps.get_app_config(label).get_models()]
    return [model for model in found if model.__name__ not in _FEW]


def _value(field: "models.Field[object, object]") -> str:
    """Return the SQL for the value of *field* in the n-th copy."""
    column = f"one.{field.column}"
    of_person = isinstance(field, models.ForeignKey) and field.related_model.__name__ not in _FEW
    if (
        of_person
        or isinstance(field, models.AutoField)
        or field.name in {"user_id", "other_user_id"}
    ):
        return f"CASE WHEN {column} IS NOT NULL THEN {FIRST} + n END"
    if isinstance(field, models.UUIDField):
        return "gen_random_uuid()"
    if isinstance(field, models.CharField | models.TextField):
        longest = field.max_length or 1000
        if field.unique:
            return f"right({column} || n, {longest})"
        mixed = f"left(md5({column} || n) || md5(n || {column}), length({column}))"
        return f"CASE WHEN length({column}) > 15 THEN {mixed} ELSE {column} END"
    return column
