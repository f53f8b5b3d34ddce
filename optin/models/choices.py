"""A column with one of several words."""

from typing import Any

from django.db import models


class ChoiceField(models.CharField):  # type: ignore[type-arg]
    """Migrations do not list its choices: the database does not know them, so a new one needs no
    migration."""

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        kwargs.pop("choices", None)
        return name, "django.db.models.CharField", list(args), kwargs
