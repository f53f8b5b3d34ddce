"""Make tables in few words, and quickly."""

from collections.abc import Sequence
from typing import Any

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


def table(
    name: str,
    /,
    *,
    indexes: Sequence[models.Index] = (),
    constraints: Sequence[models.BaseConstraint] = (),
    options: dict[str, Any] | None = None,
    managers: Sequence[tuple[str, "models.Manager[Any]"]] = (),
    **fields: "models.Field[Any, Any]",
) -> migrations.CreateModel:
    """Return the operation that makes the model *name*, with an id if no field is its key."""
    if not any(field.primary_key for field in fields.values()):
        row_id: models.BigAutoField[Any, Any] = models.BigAutoField(
            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
        )
        fields = {"id": row_id, **fields}
    lists = {"indexes": [*indexes], "constraints": [*constraints]}
    options = {**{key: value for key, value in lists.items() if value}, **(options or {})}
    return migrations.CreateModel(
        name=name, fields=list(fields.items()), options=options, managers=managers
    )


class Together(Operation):
    """Do what changes several models, or fields, none of which needs another one.

    Django would build the classes of all related models again after each of them.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.__dict__.pop("apps", None)  # built again where it is read
        for operation in self.operations:
            operation.state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        for operation in self.operations:
            operation.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        for operation in reversed(self.operations):
            operation.database_backwards(app_label, schema_editor, from_state, to_state)
