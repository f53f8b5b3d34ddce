"""What the role of the service may do in the database: as docs/deploy.md asks, and no more."""

from collections.abc import Iterator

from django.apps import apps
from django.db import connection

from optin.audit.months import SCHEMA
from optin.doctor.database import POSTGRESQL, rows
from optin.doctor.findings import Finding, Level, fault, warning

EVERY_TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE")
BUT = {
    "django_migrations": {"INSERT", "UPDATE", "DELETE"},
    "optin_auditevent": {"UPDATE", "DELETE"},
    "optin_auditseal": {"UPDATE", "DELETE"},
}
"""What the service may not do with these tables."""


# -- the role ----------------------------------------------------------------------

_ROLE = """
    SELECT current_user, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
    (SELECT pg_has_role(relowner, 'MEMBER') FROM pg_class
        WHERE oid = to_regclass('django_migrations'))
    FROM pg_roles WHERE rolname = current_user
"""
_POWERS = ("CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")


def role() -> Iterator[Finding]:
    """The service owns no table and is no superuser."""
    ((name, superuser, *powers, owns),) = rows(_ROLE)
    more = [power for power, has in zip(_POWERS, powers, strict=True) if has]
    if superuser or owns:
        what = "a superuser" if superuser else "the owner of the tables"
        yield fault(
            f"The service runs as {name}, which is {what}: whoever takes it over can change the "
            "audit trail.",
            seen="pg_roles, and the owner of django_migrations.",
            do=f"Put the role without tables into DATABASE_URL, and restart. {POSTGRESQL}",
        )
    elif more:
        yield fault(
            f"The role {name} has {', '.join(more)}, which the service does not need.",
            seen="pg_roles.",
            do=f"As a superuser: ALTER ROLE {name} {' '.join(f'NO{power}' for power in more)};",
        )


# -- its grants --------------------------------------------------------------------

_TABLES = """
    SELECT relname, right_, has_table_privilege(c.oid, right_),
        CASE WHEN right_ IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
        THEN has_any_column_privilege(c.oid, right_) ELSE has_table_privilege(c.oid, right_) END
    FROM pg_class c CROSS JOIN unnest(%s::text[]) AS right_
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname
"""
_SEQUENCES = """
    SELECT relname, right_, has_sequence_privilege(c.oid, right_)
    FROM pg_class c CROSS JOIN unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS right_
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' ORDER BY relname
"""
_PLACES = """
    SELECT current_user, has_schema_privilege('public', 'USAGE'),
    has_schema_privilege('public', 'CREATE'),
    coalesce(has_schema_privilege(to_regnamespace(%s), 'USAGE, CREATE'), false),
    has_database_privilege(current_database(), 'CREATE'),
    has_database_privilege(current_database(), 'TEMPORARY'), current_database()
"""
_MORE = ("TRUNCATE", "REFERENCES", "TRIGGER")


def granted() -> Iterator[Finding]:
    """The service has the rights of docs/deploy.md, no fewer and no more."""
    ((name, usage, creates, audit, creates_schemas, temporary, base),) = rows(_PLACES, SCHEMA)
    missing, extra = _of_tables()
    for more, found in zip((missing, extra), _of_sequences(), strict=True):
        more.update(found)
    if not usage:
        missing["SCHEMA public"] = {"USAGE"}
    if creates:
        extra["SCHEMA public"] = {"CREATE"}
    if audit:
        extra[f"SCHEMA {SCHEMA}"] = {"ALL"}
    if creates_schemas:
        extra[f"DATABASE {base}"] = {"CREATE"}
    for what, lacks in _grouped(missing):
        yield fault(
            f"The role {name} lacks {lacks} on {what}: requests will fail.",
            seen="has_table_privilege() and its like say so.",
            do=f"As the owner: GRANT {lacks} ON {what} TO {name};  Or give all grants again: "
            + POSTGRESQL,
        )
    for what, has in _grouped(extra):
        yield fault(
            f"The role {name} has {has} on {what}, which it must not have.",
            seen="has_table_privilege() and its like say so.",
            do=f"As the owner: REVOKE {has} ON {what} FROM {name};  If that changes nothing, it "
            "has the right by PUBLIC or by another role: revoke it there.",
        )
    if temporary:
        yield warning(
            f"The role {name} may make temporary tables.",
            seen="has_database_privilege() says so.",
            do=f"As the owner: REVOKE TEMPORARY ON DATABASE {base} FROM PUBLIC, {name};",
        )


Rights = dict[str, set[str]]


def _of_tables() -> tuple[Rights, Rights]:
    """Return what is missing, and what is too many. Tables of others may have no grants."""
    ours = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    ours.add("django_migrations")
    missing: Rights = {}
    extra: Rights = {}
    for table, right, whole, some in rows(_TABLES, [*EVERY_TABLE, *_MORE]):
        name, which = str(table), str(right)
        if name not in ours and not name.startswith("procrastinate_"):
            continue
        wanted = which in EVERY_TABLE and which not in BUT.get(name, ())
        if wanted and not whole:
            missing.setdefault(name, set()).add(which)
        if some and not wanted:
            extra.setdefault(name, set()).add(which)
    return missing, extra


def _of_sequences() -> tuple[Rights, Rights]:
    missing: Rights = {}
    extra: Rights = {}
    for sequence, right, has in rows(_SEQUENCES):
        if right == "USAGE" and not has:
            missing.setdefault(f"SEQUENCE {sequence}", set()).add("USAGE")
        if right != "USAGE" and has:
            extra.setdefault(f"SEQUENCE {sequence}", set()).add(str(right))
    return missing, extra


def _grouped(found: Rights) -> Iterator[tuple[str, str]]:
    """Give things with the same rights together: one that was forgotten is often many."""
    same: dict[str, list[str]] = {}
    for what, which in found.items():
        kind, _, name = what.rpartition(" ")
        same.setdefault(f"{kind}|{', '.join(sorted(which))}", []).append(name)
    for key, names in same.items():
        kind, _, rights = key.partition("|")
        yield f"{kind} {', '.join(names)}".strip(), rights


# -- the triggers of the audit trail -----------------------------------------------

GUARDED = ("optin_auditevent", "optin_auditseal")
_ON = {
    "postgresql": ("no_update", "no_early_delete", "no_truncate"),
    "sqlite": ("no_update", "no_early_delete", "no_replace"),
}
_TRIGGERS = """
    SELECT c.oid::regclass::text, t.tgname, t.tgenabled FROM pg_class c
    LEFT JOIN pg_trigger t ON t.tgrelid = c.oid
    WHERE c.oid = %s::regclass
    OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass)
"""
_FIRES = ("O", "A")


def triggers() -> Iterator[Finding]:
    """Those of the audit trail, and of each of its months, are there and enabled."""
    gone, off = [], []
    for table in GUARDED:
        state: dict[str, dict[str, str]] = {}
        if connection.vendor == "postgresql":
            for place, trigger, enabled in rows(_TRIGGERS, table, table):
                state.setdefault(str(place), {})[str(trigger)] = str(enabled)
        else:
            sql = "SELECT name, 'O' FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"
            state[table] = {str(name): str(on) for name, on in rows(sql, table)}
        for place, found in state.items():
            for end in _ON[connection.vendor]:
                trigger = f"{table}_{end}"
                if trigger not in found:
                    gone.append(f"{trigger} on {place}")
                elif found[trigger] not in _FIRES:
                    off.append((place, trigger))
    if gone:
        yield Finding(
            Level.FAULT,
            f"Nothing keeps the audit trail from being changed: {', '.join(gone)} is missing.",
            "pg_trigger does not have it.",
            "Find out who dropped it. Run manage verify_audit. Make it again as the owner, as in "
            "optin/migrations/0003_trail_and_roles.py.",
        )
    # To enable a trigger of a partitioned table enables those of its partitions.
    parents = {trigger for place, trigger in off if place in GUARDED}
    off = [(place, trigger) for place, trigger in off if place in GUARDED or trigger not in parents]
    if off:
        names = ", ".join(f"{trigger} on {place}" for place, trigger in off)
        yield Finding(
            Level.FAULT,
            f"Nothing keeps the audit trail from being changed: {names} is disabled.",
            "pg_trigger says so (tgenabled).",
            "Find out who disabled it. Run manage verify_audit. As the owner: "
            + " ".join(f"ALTER TABLE {place} ENABLE TRIGGER {name};" for place, name in off),
        )
