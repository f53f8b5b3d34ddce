"""S-66. The migrations since the last release: the release before goes on beside them."""

import pytest
from django.apps import apps
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from tests.upgrade.releases import last_release
from tests.upgrade.rules import faults, make_migration

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

CHECK = models.CheckConstraint(condition=~models.Q(reason="-"), name="audit_event_has_reason")


def found(*operations: Operation, atomic: bool = True) -> list[str]:
    """The codes of what is wrong with a migration, which is the next one after a release."""
    migration = make_migration(operations, atomic=atomic)
    present = MigrationLoader(connection).project_state()
    return [text.split(":")[0] for text in faults(migration, present.clone(), present)]


def test_the_migrations_since_the_last_release_keep_to_the_rules() -> None:
    """S-66."""
    released = last_release().migrations()
    loader = MigrationLoader(connection)
    last = max(name for app, name in loader.disk_migrations if app == "optin" and name in released)
    state = loader.project_state(("optin", last))
    wrong = {
        node[1]: faults(one, loader.project_state(node, False), state)
        for node, one in loader.disk_migrations.items()
        if node[0] == "optin" and node[1] not in released
    }
    assert {name: texts for name, texts in wrong.items() if texts} == {}


def test_a_new_word_needs_no_migration() -> None:
    fields = [
        field
        for model in apps.get_app_config("optin").get_models()
        for field in model._meta.local_fields
    ]
    assert [str(field) for field in fields if "choices" in field.deconstruct()[3]] == []


EMPTY = migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop)
COLUMN = migrations.AddField("auditevent", "x", models.IntegerField(null=True))

REFUSED: dict[str, tuple[list[Operation], list[str]]] = {
    "column without a default beside another": (
        [
            migrations.AddField("auditevent", "x", models.IntegerField(default=1)),
            migrations.AddField("auditevent", "y", models.IntegerField(db_default=1)),
        ],
        ["NOT_NULL"],
    ),
    "dropped column": ([migrations.RemoveField("auditevent", "reason")], ["DROP_COLUMN"]),
    "dropped table": ([migrations.DeleteModel("canary")], ["DROP_TABLE"]),
    "shorter text": (
        [migrations.AlterField("webhookevent", "reason", models.CharField(max_length=16))],
        ["ALTER_COLUMN"],
    ),
    "not null": (
        [migrations.AlterField("auditevent", "ip", models.GenericIPAddressField())],
        ["SET_NOT_NULL", "NOT_NULL"],
    ),
    "constraint": ([migrations.AddConstraint("auditevent", CHECK)], ["ADD_CONSTRAINT"]),
    "many tables": (
        [
            migrations.DeleteModel("canary"),
            *(
                migrations.AddField(model, "x", models.IntegerField(null=True))
                for model in ("user", "auditevent", "guard")
            ),
        ],
        ["DROP_TABLE", "TOO_MANY_LOCKS"],
    ),
    "rows and tables": ([COLUMN, EMPTY], ["DATA_AND_SCHEMA"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_the_release_before_is_refused(name: str) -> None:
    operations, codes = REFUSED[name]
    assert found(*operations) == codes


def test_a_lock_without_a_timeout_is_refused() -> None:
    assert found(COLUMN, atomic=False) == ["NOT_ATOMIC"]
