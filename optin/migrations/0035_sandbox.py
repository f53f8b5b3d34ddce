"""Files that are sandboxes, and their members: test accounts."""

from typing import Any

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class AddConstraint(AddConstraintNotValid):
    """On PostgreSQL, add a constraint without reading all rows under a lock.

    It holds for them too: the column is new, and false in each.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        arguments = app_label, schema_editor, from_state, to_state
        if schema_editor.connection.vendor == "postgresql":
            super().database_forwards(*arguments)
        else:
            migrations.AddConstraint.database_forwards(self, *arguments)


class Migration(migrations.Migration):
    dependencies = [
        ("optin", "0034_webhook_endpoints"),
    ]

    operations = [
        migrations.AddField(
            model_name="file",
            name="is_sandbox",
            field=models.BooleanField(db_default=False, default=False, verbose_name="sandbox"),
        ),
        migrations.AddField(
            model_name="user",
            name="is_test",
            field=models.BooleanField(db_default=False, default=False, verbose_name="test account"),
        ),
        AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_test", False),
                    models.Q(("is_staff", False), ("is_superuser", False)),
                    _connector="OR",
                ),
                name="user_test_account_is_no_staff",
            ),
        ),
    ]
