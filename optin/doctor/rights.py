"""What the role of the service may do in the database: as docs/deploy.md asks, and no more."""

from collections import defaultdict
from collections.abc import Iterator

from django.apps import apps

from optin.doctor.database import POSTGRESQL, rows
from optin.doctor.findings import Finding, fault, warning

EVERY_TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE")
BUT = {
    "django_migrations": {"INSERT", "UPDATE", "DELETE"},
    "optin_auditevent": {"UPDATE", "DELETE"},
    "optin_auditseal": {"UPDATE", "DELETE"},
}
"""What the service may not do with these tables."""


# -- the role ----------------------------------------------------------------------

_ROLE = """
    SELECT current_user, rolsuper, (SELECT pg_has_role(relowner, 'MEMBER') FROM pg_class
        WHERE oid = to_regclass('django_migrations'))
    FROM pg_roles WHERE rolname = current_user
"""


def role() -> Iterator[Finding]:
    """The service owns no table and is no superuser."""
    ((name, superuser, owns),) = rows(_ROLE)
    if superuser or owns:
        what = "a superuser" if superuser else "the owner of the tables"
        yield fault(
            f"The service runs as {name}, which is {what}: whoever takes it over can change the "
            "audit trail.",
            do=f"Put the role without tables into DATABASE_URL, and restart. {POSTGRESQL}",
        )


# -- its grants --------------------------------------------------------------------

# Of tables, the last one is whether one of its columns has the right.
_RIGHTS = """
    SELECT '', relname, right_, has_table_privilege(c.oid, right_),
        CASE WHEN right_ IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
        THEN has_any_column_privilege(c.oid, right_) ELSE has_table_privilege(c.oid, right_) END
    FROM pg_class c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE',
        'REFERENCES', 'TRIGGER']) AS right_
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    UNION ALL SELECT 'SEQUENCE ', relname, right_, has, has
    FROM pg_class c CROSS JOIN unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS right_,
        LATERAL has_sequence_privilege(c.oid, right_) AS has
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
    UNION ALL SELECT 'SCHEMA ', nspname, right_, has, has
    FROM pg_namespace n CROSS JOIN unnest(ARRAY['USAGE', 'CREATE']) AS right_,
        LATERAL has_schema_privilege(n.oid, right_) AS has
    WHERE nspname = 'public'
    UNION ALL SELECT 'DATABASE ', current_database(), right_, has, has
    FROM unnest(ARRAY['CREATE', 'TEMPORARY']) AS right_,
        LATERAL has_database_privilege(current_database(), right_) AS has
    ORDER BY 1, 2
"""


def granted() -> Iterator[Finding]:
    """The service has the rights of docs/deploy.md, no fewer and no more."""
    ((role,),) = rows("SELECT current_user")
    missing: Rights = defaultdict(set)
    extra: Rights = defaultdict(set)
    for kind, name, right, whole, some in _of_ours():
        is_wanted = _is_wanted(kind, name, right)
        if is_wanted and not whole:
            missing[kind, name].add(right)
        if some and not is_wanted:
            extra[kind, name].add(right)
    for what, lacks in _grouped(missing):
        yield fault(
            f"The role {role} lacks {lacks} on {what}: requests will fail.",
            do=f"As the owner: GRANT {lacks} ON {what} TO {role};  Or give all grants again: "
            + POSTGRESQL,
        )
    for what, has in _grouped(extra):
        yield (warning if has == "TEMPORARY" else fault)(
            f"The role {role} has {has} on {what}, which it must not have.",
            do=f"As the owner: REVOKE {has} ON {what} FROM {role};  If that changes nothing, it "
            "has the right by PUBLIC or by another role: revoke it there.",
        )


Rights = defaultdict[tuple[str, str], set[str]]


def _of_ours() -> Iterator[tuple[str, str, str, object, object]]:
    """Yield each right, and whether the role has it. Tables of others may have no grants."""
    ours = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    ours.add("django_migrations")
    for kind, name, right, whole, some in rows(_RIGHTS):
        if kind or name in ours or str(name).startswith("procrastinate_"):
            yield str(kind), str(name), str(right), whole, some


def _is_wanted(kind: str, name: str, right: str) -> bool:
    if kind:
        return right == "USAGE"
    return right in EVERY_TABLE and right not in BUT.get(name, ())


def _grouped(found: Rights) -> Iterator[tuple[str, str]]:
    """Give things with the same rights together: one that was forgotten is often many."""
    same: dict[tuple[str, str], list[str]] = {}
    for (kind, name), which in found.items():
        same.setdefault((kind, ", ".join(sorted(which))), []).append(name)
    for (kind, rights), names in same.items():
        yield f"{kind}{', '.join(names)}", rights


# -- the triggers of the audit trail -----------------------------------------------

GUARDED = ("optin_auditevent", "optin_auditseal")
_NAMES = ("no_update", "no_early_delete", "no_truncate")
_TRIGGERS = """
    SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = %s::regclass
"""
_FIRES = ("O", "A")


def triggers() -> Iterator[Finding]:
    """Those of the audit trail are there and enabled."""
    gone: list[str] = []
    off: list[tuple[str, str]] = []
    for table in GUARDED:
        found = {str(trigger): enabled for trigger, enabled in rows(_TRIGGERS, table)}
        for trigger in (f"{table}_{name}" for name in _NAMES):
            if trigger not in found:
                gone.append(f"{trigger} on {table}")
            elif found[trigger] not in _FIRES:
                off.append((table, trigger))
    if gone:
        yield fault(
            f"Nothing keeps the audit trail from being changed: {', '.join(gone)} is missing.",
            do="Find out who dropped it. Run manage verify_audit. Make it again as the owner, as "
            "in optin/migrations/0003_trail_and_roles.py.",
        )
    if off:
        names = ", ".join(f"{trigger} on {place}" for place, trigger in off)
        yield fault(
            f"Nothing keeps the audit trail from being changed: {names} is disabled.",
            do="Find out who disabled it. Run manage verify_audit. As the owner: "
            + " ".join(f"ALTER TABLE {place} ENABLE TRIGGER {name};" for place, name in off),
        )
